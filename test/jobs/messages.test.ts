import { fc, test as property } from '@fast-check/vitest';
import { expect, test } from 'vitest';
import { legalDetails, minimalDetails } from '../../src/jobs/details.ts';
import {
  parseJson,
  readDescribed,
  readNotify,
  readPending,
  readRejected,
  readUpdateAccepted,
} from '../../src/jobs/messages.ts';
import { jobsFilters } from '../../src/jobs/topics.ts';
import { fitReceipt, receiptSchema } from '../../src/receipts/receipt.ts';

const EXECUTION = { jobId: 'j', status: 'QUEUED', queuedAt: 1, versionNumber: '1', executionNumber: 1 };

test('N1: every form of "nothing pending" is the same', () => {
  for (const body of [{}, { execution: null }, { timestamp: 1 }]) expect(readDescribed(body)).toEqual({});
  const none = { inProgressJobs: [], queuedJobs: [] };
  for (const body of [{ jobs: {} }, { jobs: { QUEUED: [] } }, {}, { jobs: null }])
    expect(readNotify(body)).toEqual(none);
});

test('P6, P7: numbers and documents may be text', () => {
  const read = readDescribed({ execution: { ...EXECUTION, jobDocument: '{"a":1}' } });
  expect(read?.execution).toMatchObject({ versionNumber: 1, jobDocument: { a: 1 } });
});

test('P4: what is optional may be missing', () => {
  expect(readUpdateAccepted({ timestamp: 1 })).toBeDefined();
  expect(readDescribed({ execution: EXECUTION })?.execution?.jobId).toBe('j');
  expect(readRejected({ code: 'X' })).toMatchObject({ code: 'X', message: '' });
});

test('L20: one SUBSCRIBE packet holds all filters', () => {
  expect(jobsFilters('t').length).toBeLessThanOrEqual(8);
});

property.prop(
  [
    fc.oneof(
      fc.uint8Array(),
      fc.json().map((text) => new TextEncoder().encode(text)),
    ),
  ],
  { numRuns: 2000 },
)('I9: whatever bytes arrive, they are a message or nothing, never a throw', (bytes) => {
  const body = parseJson(bytes);
  for (const read of [readDescribed, readNotify, readPending, readRejected, readUpdateAccepted]) read(body);
});

property.prop([fc.dictionary(fc.string(), fc.string({ maxLength: 3000, unit: 'binary' }))], {
  numRuns: 1000,
})('L5-L7: details are legal, whatever was to be said', (details) => {
  for (const legal of [legalDetails(details), minimalDetails(details)]) {
    expect(Object.keys(legal).length).toBeLessThanOrEqual(10);
    for (const [key, value] of Object.entries(legal)) {
      expect(key).toMatch(/^[a-zA-Z0-9:_-]{1,128}$/);
      expect(value).toMatch(/^[^\p{C}]{1,1024}$/u);
    }
  }
});

property.prop([fc.array(fc.string({ maxLength: 400 }), { maxLength: 200 }), fc.string({ maxLength: 5000 })])(
  'a receipt has at most 4 KiB, and says how much was cut',
  (items, reason) => {
    const receipt = fitReceipt({
      format: 1,
      thing: 't',
      jobId: 'j',
      executionNumber: 1,
      queuedAt: 1,
      cloudStatus: 'CANCELED',
      outcome: 'rolledBack',
      deviceState: 'old',
      verified: true,
      cause: { kind: 'cloud', reason },
      undone: items,
      notUndone: [],
      items,
      kept: [],
      endedAt: 1,
      bootId: 'b',
      agentVersion: '1',
    });
    expect(Buffer.byteLength(JSON.stringify(receipt))).toBeLessThanOrEqual(4096);
    expect(receiptSchema.safeParse(receipt).success).toBe(true);
    expect(receipt.undone.length + receipt.items.length + (receipt.cut ?? 0)).toBe(2 * items.length);
  },
);
