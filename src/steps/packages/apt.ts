import type { ProcessIdentity, ProcessSpec } from '../../host/processes.ts';
import { readFileBounded, writeFileAtomic } from '../../store/atomic-file.ts';
import type { Attempt, StepContext } from '../step.ts';
import { type PackageFiles, packageFiles } from './files.ts';

/** How apt and dpkg are run: by argument lists alone, in C, asking nobody anything. */

/** What a program ended with and said. */
export interface Said {
  /** `null`: it was ended by a signal, or by us. */
  exitCode: number | null;
  ended: 'timeout' | 'abort' | null;
  stdout: string;
  stderr: string;
}

/** One piece of work on the package database: of which step, until when, and where its processes are recorded. */
export interface Work {
  index: number;
  context: StepContext;
  signal: AbortSignal;
  files: PackageFiles;
  /** For waiting: for a lock, and for a download. */
  limitMs: number;
  attempt?: Attempt;
}

/** Only the conffiles that nobody has changed are replaced; nothing but what was asked for is removed or purged. */
export const APT_GET = [
  'apt-get',
  ...['-y', '-q', '-o', 'Dpkg::Use-Pty=0', '-o', 'Dpkg::Options::=--force-confold'],
  ...[
    '-o',
    'APT::Cmd::Pattern-Only=true',
    '-o',
    'APT::Get::AutomaticRemove=false',
    '-o',
    'APT::Get::Purge=false',
  ],
  // The files are ours, and no other user can write into their directory.
  ...['-o', 'APT::Sandbox::User=root', '-o', 'Acquire::Retries=3', '-o', 'DPkg::Lock::Timeout=10'],
];

const ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  LC_ALL: 'C',
  DEBIAN_FRONTEND: 'noninteractive',
  DEBCONF_NONINTERACTIVE_SEEN: 'true',
  APT_LISTCHANGES_FRONTEND: 'none',
  // ucf keeps a changed file as dpkg does with confold (man 1 ucf).
  UCF_FORCE_CONFFOLD: '1',
};

const QUESTION_MS = 300_000;
const DPKG_WAIT_MS = 1_800_000;
const ANSWER_BYTES_MAX = 8 * 1024 * 1024;
const TRANSACTION_OUTPUT_BYTES = 64 * 1024;
const IDENTITY_BYTES_MAX = 65_536;
const LOCK_LOOK_MS = 1000;
const REASON_CHARS_MAX = 400;
const LOCKED = /Could not get lock|Unable to acquire the dpkg|lock was locked by another process/;

const NEVER = new AbortController().signal;

/** Asks something that changes nothing of the device (it may fetch into `cwd`). */
export async function ask(
  argv: readonly string[],
  { processes }: Pick<StepContext, 'processes'>,
  {
    signal = NEVER,
    cwd = '/',
    limitMs = QUESTION_MS,
  }: { signal?: AbortSignal; cwd?: string; limitMs?: number } = {},
): Promise<Said> {
  const spec = { ...specOf(argv), cwd, timeoutMs: limitMs, outputBytesMax: ANSWER_BYTES_MAX };
  const { exitCode, ended, stdoutTail, stderrTail } = await processes.run(
    spec,
    () => Promise.resolve(),
    signal,
  );
  return { exitCode, ended, stdout: stdoutTail, stderr: stderrTail };
}

/**
 * Changes the package database. Its process is durable in a file of the execution before it begins, is never ended in
 * its middle, and outlives the agent; `awaitFormer` waits for it in the next life.
 */
export async function change(argv: readonly string[], work: Work): Promise<Said> {
  const { context, files, attempt, limitMs } = work;
  const record = async (identity: ProcessIdentity): Promise<void> => {
    await writeFileAtomic(context.disk, files.process, Buffer.from(JSON.stringify(identity)));
    if (attempt && !recorded.has(attempt)) {
      recorded.add(attempt);
      await attempt.record(identity);
    }
  };
  const spec: ProcessSpec = {
    ...specOf(argv),
    // Ended only then: something in it hangs.
    timeoutMs: Math.max(limitMs, context.settings.dpkgWaitMs ?? DPKG_WAIT_MS),
    outputBytesMax: TRANSACTION_OUTPUT_BYTES,
    unbroken: { outputPath: files.output },
  };
  const { exitCode, ended, stdoutTail } = await context.processes.run(spec, record, NEVER);
  return { exitCode, ended, stdout: stdoutTail, stderr: stdoutTail };
}

/** The journal gets one process for each attempt: it has room for no more. All of them are in the file. */
const recorded = new WeakSet<Attempt>();

/** I5: waits for the run of dpkg that an earlier life has left; a half-done one is never gone on from. */
export async function awaitFormer({ context, files }: Pick<Work, 'context' | 'files'>): Promise<void> {
  const bytes = await readFileBounded(context.disk, files.process, IDENTITY_BYTES_MAX);
  if (!bytes) return;
  const identity = JSON.parse(Buffer.from(bytes).toString()) as ProcessIdentity;
  await context.processes.fence(identity, context.settings.graceMs);
  await context.disk.unlink(files.process);
}

/** Waits until nobody else works on the package database; a reason where the limit comes first. */
export async function awaitLock({ context, signal, limitMs }: Work): Promise<string | undefined> {
  const begunMs = context.clock.monotonicMs();
  for (;;) {
    const held = await lockHolder(context);
    if (held === undefined) return undefined;
    if (signal.aborted) return (signal.reason as Error).message;
    if (context.clock.monotonicMs() - begunMs >= limitMs) {
      return `the package database stays locked for ${Math.round(limitMs / 1000)} s: ${held}`;
    }
    await context.clock.sleep(LOCK_LOOK_MS, signal).catch(() => undefined);
  }
}

/**
 * Fetches the package lists anew. apt itself goes on with old ones where a source does not answer; then the plan that it
 * makes of them decides. The lists are a cache, and no undo takes them back.
 */
export async function fetchLists(work: Work): Promise<string | undefined> {
  const { context, signal, limitMs, index } = work;
  for (let waited = 0; ; waited += LOCK_LOOK_MS) {
    const said = await ask([...APT_GET, 'update'], context, { signal, limitMs });
    if (said.exitCode === 0) return undefined;
    if (signal.aborted) return (signal.reason as Error).message;
    if (!isLocked(said) || waited >= limitMs)
      return `cannot fetch the package lists for step ${index + 1}: ${reasonOf(said)}`;
    await context.clock.sleep(LOCK_LOOK_MS, signal).catch(() => undefined);
  }
}

/** What apt says of a lock that somebody else holds; it takes and releases it itself to find out. */
export async function lockHolder(context: Pick<StepContext, 'processes'>): Promise<string | undefined> {
  const said = await ask(['apt-get', 'check', '-q', '-o', 'DPkg::Lock::Timeout=0'], context);
  return isLocked(said) ? reasonOf(said) : undefined;
}

export function isLocked({ exitCode, stderr }: Said): boolean {
  return exitCode !== 0 && LOCKED.test(stderr);
}

/** The errors of apt and dpkg in one line. */
export function reasonOf({ exitCode, ended, stderr }: Said): string {
  const lines = stderr.split('\n').filter((line) => /^(E:|dpkg[^:]*: error|W: Failed)/.test(line));
  const text = (lines.length > 0 ? lines.join(' ') : stderr.trim().slice(-REASON_CHARS_MAX)).replace(
    /\s+/g,
    ' ',
  );
  const how = ended ?? (exitCode === null ? 'ended by a signal' : `exit status ${exitCode}`);
  return text === '' ? how : text.slice(0, REASON_CHARS_MAX);
}

export function workOf(
  { index, timeoutSeconds }: { index: number; timeoutSeconds: number },
  context: StepContext,
  signal: AbortSignal = NEVER,
  attempt?: Attempt,
): Work {
  const files = packageFiles(index, context);
  return { index, context, signal, files, limitMs: timeoutSeconds * 1000, ...(attempt && { attempt }) };
}

function specOf(argv: readonly string[]): ProcessSpec {
  return {
    name: `packages-${argv[0] ?? ''}`,
    argv,
    cwd: '/',
    env: ENVIRONMENT,
    timeoutMs: QUESTION_MS,
    graceMs: 2000,
    outputBytesMax: ANSWER_BYTES_MAX,
  };
}
