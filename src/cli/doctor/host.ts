import { execFile } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { access, constants, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Clock, systemClock } from '../../host/clock.ts';
import type { Disk } from '../../host/disk.ts';
import { nodeDisk } from '../../host/node-disk.ts';
import { type FindUser, findUser } from '../../host/users.ts';

/** This machine, as the checks see it; tests put a sick one in its place. */
export interface DoctorHost {
  clock: Clock;
  disk: Disk;
  env: NodeJS.ProcessEnv;
  euid: number;
  findUser: FindUser;
  /** `undefined` where it cannot be read. */
  readText(path: string): Promise<string | undefined>;
  /** Throws with `code` when this process may not write there. */
  mayWrite(path: string): Promise<void>;
  /** Every address of a name, in the order of the system's resolver. Throws as Node's resolver does. */
  lookup(host: string): Promise<readonly { address: string; family: number }[]>;
  /** Standard output of a program; `undefined` when it is not there or fails. */
  output(program: string, args: readonly string[]): Promise<string | undefined>;
  /** Where a program lies, by PATH. */
  findProgram(name: string): Promise<string | undefined>;
}

const PROGRAM_LIMIT_MS = 20_000;
const USUAL_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export function thisMachine(): DoctorHost {
  return {
    clock: systemClock,
    disk: nodeDisk,
    env: process.env,
    euid: process.geteuid?.() ?? 0,
    findUser,
    readText: (path) => readFile(path, 'utf8').catch(() => undefined),
    mayWrite: (path) => access(path, constants.W_OK | constants.X_OK),
    lookup: (host) => lookup(host, { all: true, verbatim: true }),
    output: (program, args) =>
      promisify(execFile)(program, args, { timeout: PROGRAM_LIMIT_MS }).then(
        ({ stdout }) => stdout,
        () => undefined,
      ),
    async findProgram(name) {
      for (const directory of (process.env['PATH'] ?? USUAL_PATH).split(':')) {
        const path = join(directory, name);
        const isThere = await access(path, constants.X_OK).then(
          () => true,
          () => false,
        );
        if (isThere) return path;
      }
      return undefined;
    },
  };
}
