import { readdir, readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';

/**
 * AWS IoT Device Client on this machine. It is known by the name of its program; its thing stands on its command line
 * or in its configuration. Two agents on one thing take each other's session, and run the same job twice.
 */
export interface Rival {
  pid: number;
  /** Absent: nobody can tell. */
  thing?: string;
  /** Its jobs are off. */
  jobsOff: boolean;
}

const PROGRAM = 'aws-iot-device-client';
/** What the kernel keeps of a name. */
const COMM = PROGRAM.slice(0, 15);
const USUAL_CONFIGS = [
  '/etc/.aws-iot-device-client/aws-iot-device-client.conf',
  '/root/.aws-iot-device-client/aws-iot-device-client.conf',
];

export async function findRivals(proc = '/proc'): Promise<Rival[]> {
  const found: Rival[] = [];
  for (const name of await readdir(proc).catch(() => [])) {
    if (!/^\d+$/.test(name)) continue;
    const rival = await rivalOf(proc, Number(name));
    if (rival) found.push(rival);
  }
  return found;
}

async function rivalOf(proc: string, pid: number): Promise<Rival | undefined> {
  const read = (file: string): Promise<string> =>
    readFile(join(proc, String(pid), file), 'utf8').catch(() => '');
  const comm = (await read('comm')).trim();
  const args = (await read('cmdline')).split('\0');
  if (comm !== COMM || !args.slice(0, 2).some((arg) => basename(arg) === PROGRAM)) return undefined;
  const cwd = join(proc, String(pid), 'cwd');
  const config = await configOf(argumentOf(args, '--config-file'), cwd);
  const jobs = config['jobs'] as { enabled?: unknown } | undefined;
  const thing = argumentOf(args, '--thing-name') ?? config['thing-name'];
  return {
    pid,
    ...(typeof thing === 'string' && { thing }),
    jobsOff: (argumentOf(args, '--enable-jobs') ?? String(jobs?.enabled)) === 'false',
  };
}

function argumentOf(args: readonly string[], name: string): string | undefined {
  const at = args.indexOf(name);
  return at < 0 ? undefined : args[at + 1];
}

async function configOf(named: string | undefined, cwd: string): Promise<Record<string, unknown>> {
  for (const path of named === undefined ? USUAL_CONFIGS : [resolve(cwd, named)]) {
    try {
      const value = JSON.parse(await readFile(path, 'utf8')) as unknown;
      if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
    } catch {
      // The next one may be it.
    }
  }
  return {};
}

/** Why the agent must not start beside them; `undefined` where it may. */
export function inTheWay(rivals: readonly Rival[], thing: string, clientId: string): string | undefined {
  const rival = rivals.find((one) => one.thing === thing && !(one.jobsOff && clientId !== thing));
  if (!rival) return undefined;
  const why = rival.jobsOff ? 'with its name as client id' : 'and its jobs';
  return `cannot serve ${thing}: AWS IoT Device Client (pid ${rival.pid}) serves it, ${why}; stop it first: systemctl disable --now aws-iot-device-client`;
}
