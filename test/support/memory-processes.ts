import type { Processes, ProcessIdentity, ProcessResult, ProcessSpec } from '../../src/host/processes.ts';
import type { Random } from './random.ts';

/** What a program does, one operation after the other, each of which may be its last. */
export interface Program {
  operations: readonly (() => void)[];
  exitCode: number;
  /** Ends it by a signal that nobody here sent, before its last operation. */
  killedBy?: string;
}

/** The processes of a machine in memory. They outlive the agent, and nothing outlives a power cut. */
export interface MemoryProcesses {
  /** As one life of the agent sees them; `point` is passed before each operation and may never resolve. */
  begin(bootId: string, point: (what: string) => Promise<void>): { processes: Processes; end(): void };
  /** A moment in which those whose agent has died go on. */
  goOn(random: Random): void;
  /** Of all that run. */
  names(): string[];
  /** Power cut. */
  cut(): void;
}

interface Running {
  identity: ProcessIdentity;
  program: Program;
  next: number;
  orphaned: boolean;
  broken: boolean;
}

export function createMemoryProcesses(
  programOf: (spec: ProcessSpec) => Program,
  random: Random,
): MemoryProcesses {
  let running: Running[] = [];
  let pid = 100;

  const step = (one: Running): void => {
    const operation = one.program.operations[one.next];
    one.next += 1;
    try {
      if (operation) operation();
    } catch {
      // What it was to work on is not as it expects, as where it has run before: it says so, and ends.
      one.broken = true;
      one.next = one.program.operations.length;
    }
    if (one.next >= one.program.operations.length) running = running.filter((other) => other !== one);
  };

  const resultOf = (change: Partial<ProcessResult>): ProcessResult => ({
    exitCode: null,
    signal: null,
    ended: null,
    stdoutTail: '',
    stderrTail: '',
    stderrLines: 0,
    survivors: 0,
    ...change,
  });

  return {
    begin(bootId, point) {
      const own = new Set<Running>();
      const processes: Processes = {
        async run(spec, record, signal) {
          pid += 1;
          const identity = { name: spec.name, pid, startTime: String(pid), bootId, token: `token-${pid}` };
          await record(identity);
          const one: Running = {
            identity,
            program: programOf(spec),
            next: 0,
            orphaned: false,
            broken: false,
          };
          running.push(one);
          own.add(one);
          const { operations, exitCode, killedBy } = one.program;
          while (one.next < operations.length) {
            await point(`process ${spec.name} operation ${one.next + 1}/${operations.length}`);
            const last = one.next === operations.length - 1;
            if (signal.aborted || (killedBy !== undefined && last)) {
              running = running.filter((other) => other !== one);
              own.delete(one);
              return signal.aborted
                ? resultOf({ signal: 'SIGTERM', ended: 'abort' })
                : resultOf({ signal: killedBy ?? null });
            }
            step(one);
          }
          own.delete(one);
          return resultOf({ exitCode: one.broken ? 1 : exitCode });
        },
        async fence(identity) {
          const found = running.filter((one) => one.identity.token === identity.token);
          // Until the signal arrives it works on.
          for (const one of found) if (random.chance(0.5)) step(one);
          running = running.filter((one) => !found.includes(one));
          return { ended: found.length };
        },
      };
      return {
        processes,
        end() {
          for (const one of own) one.orphaned = true;
        },
      };
    },
    goOn(chance) {
      for (const one of running.filter(({ orphaned }) => orphaned)) if (chance.chance(0.15)) step(one);
    },
    names: () => running.map(({ identity }) => identity.name),
    cut() {
      running = [];
    },
  };
}
