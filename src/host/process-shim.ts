import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { TOKEN_VARIABLE } from './process-table.ts';
import { CannotRunError, type ProcessSpec } from './processes.ts';
import type { FindUser, User } from './users.ts';

/**
 * The command that is really spawned: a shell that waits on descriptor 3 and then becomes the program. The program
 * and its arguments are positional parameters, so no shell reads them. When the pipe closes without a line (the
 * agent died or changed its mind) it ends and the program never began.
 */
const SHIM = 'read -r EVENKEEL_GO <&3 || exit 125; unset EVENKEEL_GO PWD OLDPWD SHLVL; exec "$@" 3<&-';
const UNIT_SHIM = 'unset PWD OLDPWD SHLVL; exec "$@"';
/** What the shim waits for. */
export const GO = 'go\n';

const SHELL_PATH = '/bin/sh';
const SYSTEM_PATH = '/usr/bin:/bin:/usr/sbin:/sbin';
/** Exit codes of a shell and of setpriv that could not start the program (found, but not executable; not found). */
const CANNOT_EXECUTE = [126, 127];

export interface ShimCommand {
  file: string;
  args: readonly string[];
  cwd: string;
  env: Record<string, string>;
  /** Absolute path of the program itself. */
  program: string;
}

/** Checks what can be checked before anything is spawned. Throws `CannotRunError`. */
export async function shimCommand(
  spec: ProcessSpec,
  token: string,
  findUser: FindUser,
): Promise<ShimCommand> {
  const program = await checkedProgram(spec);
  const asUser = await userSwitch(spec.argv[0] ?? '', spec, findUser);
  return {
    file: SHELL_PATH,
    args: ['-c', SHIM, 'sh', ...asUser, program, ...spec.argv.slice(1)],
    cwd: spec.cwd,
    env: { ...spec.env, [TOKEN_VARIABLE]: token },
    program,
  };
}

/** As the first of a unit: no gate, since PID 1 starts it only behind its record. */
export function unitShim(argv: readonly string[]): string[] {
  return [SHELL_PATH, '-c', UNIT_SHIM, 'sh', ...argv];
}

/** Absolute path of the program, when nothing speaks against running it. Throws `CannotRunError`. */
export async function checkedProgram(spec: ProcessSpec): Promise<string> {
  const [name] = spec.argv;
  if (name === undefined || name === '') throw new CannotRunError('the command', 'it names no program');
  refuseUnspeakable(name, spec);
  await requireDirectory(name, spec.cwd);
  return await findProgram(name, spec);
}

/** The user to switch to; `undefined` where that is the agent's own. Throws `CannotRunError`. */
export async function otherUser(
  name: string,
  { user }: { user?: string | undefined },
  findUser: FindUser,
): Promise<User | undefined> {
  if (user === undefined) return undefined;
  const found = await findUser(user);
  const what = `${name} as ${user}`;
  if (!found) throw new CannotRunError(what, 'there is no such user');
  if (found.uid === process.geteuid?.()) return undefined;
  if (process.geteuid?.() !== 0)
    throw new CannotRunError(what, 'only an agent that runs as root can switch the user');
  return found;
}

/**
 * Why the shim could not become the program, if that is what `exitCode` and stderr say (an interpreter that is
 * missing, a directory that is closed to the user); `undefined` when the program ran.
 */
export function refusalIn(
  exitCode: number | null,
  stderr: string,
  { program }: Pick<ShimCommand, 'program'>,
): string | undefined {
  if (exitCode === null || !CANNOT_EXECUTE.includes(exitCode)) return undefined;
  const line = stderr.trimEnd();
  const spoken = /^(?:sh|\/bin\/sh|setpriv): [^\n]*$/.test(line) && line.includes(program);
  return spoken ? line.slice(line.indexOf(': ') + 2) : undefined;
}

function refuseUnspeakable(name: string, { argv, env }: ProcessSpec): void {
  if (argv.some((argument) => argument.includes('\0'))) {
    throw new CannotRunError(name.replaceAll('\0', '\\0'), 'an argument contains a NUL character');
  }
  for (const [variable, value] of Object.entries(env)) {
    // A shell passes on only what it could have named itself; anything else would be lost on the way.
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(variable)) {
      throw new CannotRunError(name, `${JSON.stringify(variable)} is no name for an environment variable`);
    }
    if (value.includes('\0'))
      throw new CannotRunError(name, `the variable ${variable} contains a NUL character`);
  }
}

async function requireDirectory(name: string, cwd: string): Promise<void> {
  try {
    if (!(await stat(cwd)).isDirectory()) throw new Error('it is no directory');
  } catch (error) {
    throw new CannotRunError(name, `its working directory ${cwd} cannot be used: ${reasonOf(error)}`, error);
  }
}

/** As with execvp: a name with a slash is a path, any other is looked up in PATH. */
async function findProgram(name: string, { cwd, env }: ProcessSpec): Promise<string> {
  const searched = name.includes('/')
    ? [resolve(cwd, name)]
    : (env['PATH'] ?? SYSTEM_PATH).split(':').map((directory) => resolve(cwd, directory, name));
  let worst: unknown;
  for (const path of searched) {
    try {
      await requireExecutable(path);
      return path;
    } catch (error) {
      if (worst === undefined || codeOf(error) !== 'ENOENT') worst = error;
    }
  }
  const where = name.includes('/') ? '' : ' in PATH';
  throw new CannotRunError(name, `${reasonOf(worst)}${where}`, worst);
}

async function isExecutable(path: string): Promise<boolean> {
  return requireExecutable(path).then(
    () => true,
    () => false,
  );
}

async function requireExecutable(path: string): Promise<void> {
  if ((await stat(path)).isDirectory()) throw Object.assign(new Error('is a directory'), { code: 'EISDIR' });
  await access(path, constants.X_OK);
}

/** What makes a program run with another user's rights; nothing where none is named. Throws `CannotRunError`. */
export async function userSwitch(
  name: string,
  { user, noNewPrivileges }: Pick<ProcessSpec, 'user' | 'noNewPrivileges'>,
  findUser: FindUser,
): Promise<readonly string[]> {
  const found = await otherUser(name, { user }, findUser);
  if (!found) return [];
  return [
    await findSetpriv(`${name} as ${found.name}`),
    `--reuid=${found.uid}`,
    `--regid=${found.gid}`,
    '--init-groups',
    ...(noNewPrivileges === true ? ['--no-new-privs'] : []),
    '--',
  ];
}

async function findSetpriv(what: string): Promise<string> {
  for (const directory of SYSTEM_PATH.split(':')) {
    const path = join(directory, 'setpriv');
    if (await isExecutable(path)) return path;
  }
  throw new CannotRunError(what, 'setpriv (of util-linux) is not installed, which switches the user');
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

const REASONS: Record<string, string> = {
  ENOENT: 'not found (ENOENT)',
  EACCES: 'not permitted to execute it (EACCES)',
  EISDIR: 'it is a directory (EISDIR)',
  ENOTDIR: 'a part of its path is no directory (ENOTDIR)',
};

function reasonOf(error: unknown): string {
  return REASONS[codeOf(error) ?? ''] ?? (error instanceof Error ? error.message : String(error));
}
