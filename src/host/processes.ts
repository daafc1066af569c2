/**
 * The processes of a step (design section 8): started only after their identity is durable, drained, bounded, and
 * findable after the agent itself has died. Every adapter passes one contract suite.
 */
export interface Processes {
  /**
   * Runs one program to its end. `record` is called with the identity while the program is still held back; the
   * program begins only when that promise resolves, and never begins when it rejects.
   * Aborting `signal` sends TERM to all its processes, after `graceMs` KILL, and the call settles only when none
   * is alive. Rejects with `CannotRunError` when the program cannot be started at all, or with what `record` threw.
   */
  run(
    spec: ProcessSpec,
    record: (identity: ProcessIdentity) => Promise<void>,
    signal: AbortSignal,
  ): Promise<ProcessResult>;
  /** Ends every process that an earlier `run` left, also one of a former agent; resolves when none is alive. */
  fence(identity: ProcessIdentity, graceMs: number): Promise<FenceResult>;
}

export interface ProcessSpec {
  /** Execution key, step, direction and attempt. Part of the name of the unit under systemd. */
  name: string;
  /** Program (absolute, or looked up in `env.PATH`) and arguments; never through a shell. */
  argv: readonly string[];
  /** User to run as, with that user's groups; absent: the agent's own. */
  user?: string;
  cwd: string;
  env: Readonly<Record<string, string>>;
  timeoutMs: number;
  /** Between TERM and KILL. */
  graceMs: number;
  /** Kept of each of stdout and stderr; the last bytes win. */
  outputBytesMax: number;
  /**
   * For what must not be stopped in its middle (dpkg): neither an abort nor a fence ends it, both wait for its end, for
   * `timeoutMs` at most. Both outputs go to this file, since a pipe would break, and it with it, when the agent dies.
   */
  unbroken?: { outputPath: string };
  /** Of all its processes together; only systemd can hold them to it. */
  limits?: { memoryBytesMax?: number; tasksMax?: number };
  /** With another user: setuid programs give it no more rights. */
  noNewPrivileges?: boolean;
}

/** Plain JSON: it stands in a journal record. */
export interface ProcessIdentity {
  name: string;
  pid: number;
  /** Field 22 of /proc/PID/stat: tells a reused pid apart. */
  startTime: string;
  bootId: string;
  /** Random; in the environment of the program, so that escapees of `setsid` are found. */
  token: string;
  /** It is `unbroken`: a fence waits for its end for so long before it ends it. */
  patienceMs?: number;
  /** The transient service that it is, under systemd; pid and start time say nothing then. */
  unit?: string;
}

export interface ProcessResult {
  /** `null` when a signal ended it. */
  exitCode: number | null;
  signal: string | null;
  /** Why it was ended by us, if it was. */
  ended: 'timeout' | 'abort' | null;
  stdoutTail: string;
  stderrTail: string;
  /** Lines seen on stderr in all, also beyond the tail. */
  stderrLines: number;
  /** Processes that the program left running when it finished by itself. */
  survivors: number;
  /** The kernel ended one of its processes, since all together took more memory than they may. */
  outOfMemory?: true;
}

export interface FenceResult {
  /** How many processes had to be ended. */
  ended: number;
}

/** The program could not be started: absent, not executable, no such user. Never a downgrade to something else. */
export class CannotRunError extends Error {
  constructor(what: string, reason: string, cause?: unknown) {
    super(`cannot run ${what}: ${reason}`, { cause });
    this.name = 'CannotRunError';
  }
}
