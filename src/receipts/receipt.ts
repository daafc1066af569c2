import { z } from 'zod';

/** How an execution ended, for whoever must know: the cloud refuses every further word after a cancel (section 9). */
export const receiptSchema = z.object({
  format: z.literal(1),
  thing: z.string(),
  jobId: z.string(),
  executionNumber: z.number().int(),
  /** Epoch seconds, as the cloud gave it. */
  queuedAt: z.number(),
  /**
   * The execution's status in the cloud, as far as this device knows; `deleted`, `unknown` and (of a local
   * job, which has none there) `none` besides AWS's words.
   */
  cloudStatus: z.string(),
  outcome: z.enum([
    'committed',
    'rolledBack',
    'notReversed',
    'inconsistent',
    'localStateLost',
    'observed',
    'resolved',
  ]),
  deviceState: z.enum(['old', 'new', 'unknown', 'inconsistent']),
  /** Fingerprints were compared. */
  verified: z.boolean(),
  /** The only ways in which device and cloud may differ (I2). */
  exception: z
    .enum([
      'pivotPassed',
      'endedInDoubt',
      'keptAfterVote',
      'notReversed',
      'inconsistent',
      'foreignSuccess',
      'finishIncomplete',
      'localStateLost',
    ])
    .optional(),
  grade: z.enum(['full', 'bestEffort', 'none']).optional(),
  cause: z.object({ kind: z.string(), reason: z.string() }),
  undone: z.array(z.string()),
  notUndone: z.array(z.string()),
  items: z.array(z.string()),
  kept: z.array(z.object({ id: z.string(), keptAs: z.string() })),
  /** How many entries were left out of the lists to stay within 4 KiB. */
  cut: z.number().int().optional(),
  /** Milliseconds since the epoch. */
  startedAt: z.number().optional(),
  endedAt: z.number(),
  durationMs: z.number().optional(),
  bootId: z.string(),
  agentVersion: z.string(),
});

export type Receipt = z.infer<typeof receiptSchema>;

const RECEIPT_BYTES_MAX = 4096;
const REASON_CHARS_MAX = 1024;
const LISTS = ['kept', 'items', 'undone', 'notUndone'] as const;

/** At most 4 KiB: the longest list loses its last entry until it fits; how many is said in `cut`. */
export function fitReceipt(receipt: Receipt): Receipt {
  let fitted: Receipt = {
    ...receipt,
    cause: { ...receipt.cause, reason: receipt.cause.reason.slice(0, REASON_CHARS_MAX) },
  };
  while (Buffer.byteLength(JSON.stringify(fitted)) > RECEIPT_BYTES_MAX) {
    const size = (list: (typeof LISTS)[number]): number => JSON.stringify(fitted[list]).length;
    const longest = LISTS.reduce((a, b) => (size(b) > size(a) ? b : a));
    if (fitted[longest].length === 0) return { ...fitted, cause: { ...fitted.cause, reason: 'cut' } };
    fitted = { ...fitted, [longest]: fitted[longest].slice(0, -1), cut: (fitted.cut ?? 0) + 1 };
  }
  return fitted;
}

/** What stands in `state.reported` of the named shadow: Fleet Indexing finds devices by `condition`. */
export function reportedOf(receipt: Receipt): object {
  return { condition: conditionOf(receipt), receipt };
}

function conditionOf({ outcome, deviceState, verified }: Receipt): 'well' | 'unverified' | 'inconsistent' {
  if (outcome === 'inconsistent') return 'inconsistent';
  return verified && deviceState !== 'unknown' ? 'well' : 'unverified';
}
