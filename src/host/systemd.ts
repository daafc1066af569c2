import { execFile } from 'node:child_process';
import { access, readFile } from 'node:fs/promises';

/** systemd of this machine, through `systemctl`: argv only, never a shell, and names that no option can hide in. */
export interface Systemd {
  /** PID 1 is systemd (sd_booted(3)). */
  booted(): Promise<boolean>;
  /** The service that this process runs in; `undefined` where it runs in none. */
  ownUnit(): Promise<string | undefined>;
  /** The unit as systemd knows it now. Throws `SystemdFailed`. */
  show(unit: string): Promise<UnitState>;
  /** Queues a job for the unit and does not wait for it. Throws `SystemdFailed` where there is no such unit and the like. */
  queue(verb: UnitVerb, unit: string): Promise<void>;
  /** Forgets failures, and with them the limit of starts that they may have reached. */
  resetFailed(unit: string): Promise<void>;
  /** Asks for the end of this boot and returns at once. Throws `SystemdFailed`. */
  endBoot(how: 'reboot' | 'poweroff'): Promise<void>;
  /** Reads unit files again. */
  reload(): Promise<void>;
  /** What `systemctl status` says, with the last lines of its log; for people. */
  describe(unit: string): Promise<string>;
}

export type UnitVerb = 'start' | 'stop' | 'restart';

export interface UnitState {
  /** `loaded`, `not-found`, `masked`, … */
  load: string;
  /** `active`, `inactive`, `failed`, `activating`, `deactivating`, `reloading`. */
  active: string;
  sub: string;
  /** Of the last run: `success`, `exit-code`, `signal`, … */
  result: string;
  /** Of a service: `simple`, `oneshot`, `notify`, … */
  type: string;
  /** `enabled`, `disabled`, `static`, …; empty where there is no file. */
  file: string;
  /** Of this run; empty where it has not run. */
  invocationId: string;
  /** How often systemd has restarted it by itself. */
  restarts: number;
  /** A job for it is queued or running. */
  hasJob: boolean;
  /** Its file has changed since systemd read it. */
  needsReload: boolean;
}

export class SystemdFailed extends Error {
  constructor(what: string, reason: string, cause?: unknown) {
    super(`cannot ${what}: ${reason}`, { cause });
    this.name = 'SystemdFailed';
  }
}

const CALL_LIMIT_MS = 60_000;
const SAID_BYTES_MAX = 1_048_576;
const STATUS_LINES = 10;
const PROPERTIES =
  'LoadState,ActiveState,SubState,Result,Type,UnitFileState,InvocationID,NRestarts,Job,NeedDaemonReload';
/** No colours, no pager, no words of another language, no questions. */
export const CALL_ENV = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C',
  SYSTEMD_COLORS: '0',
  SYSTEMD_PAGER: '',
};

/** What a program said; never rejects. `code` is `null` when a signal ended it or it is not there. */
export function call(
  program: string,
  args: readonly string[],
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(
      program,
      args,
      { env: CALL_ENV, timeout: CALL_LIMIT_MS, maxBuffer: SAID_BYTES_MAX },
      (error, stdout, stderr) => {
        if (!error) resolve({ code: 0, stdout, stderr });
        else {
          const code = typeof error.code === 'number' ? error.code : null;
          resolve({ code, stdout, stderr: stderr === '' ? error.message : stderr });
        }
      },
    );
  });
}

/** The systemd that this process can talk to. */
export function createSystemd(): Systemd {
  return {
    async booted() {
      return access('/run/systemd/system').then(
        () => true,
        () => false,
      );
    },
    ownUnit: async () => ownUnitIn(await readFile('/proc/self/cgroup', 'utf8').catch(() => '')),
    async show(unit) {
      const text = await systemctl(`look at ${unit}`, ['show', `--property=${PROPERTIES}`, '--', unit]);
      return unitStateIn(text);
    },
    async queue(verb, unit) {
      await systemctl(`${verb} ${unit}`, [verb, '--no-block', '--no-ask-password', '--', unit]);
    },
    async resetFailed(unit) {
      // Of a unit that has not failed, or is not there, there is nothing to forget.
      await call('systemctl', ['reset-failed', '--', unit]);
    },
    async endBoot(how) {
      await systemctl(how, [how, '--no-block', '--no-wall', '--no-ask-password']);
    },
    async reload() {
      await systemctl('read unit files again', ['daemon-reload', '--no-ask-password']);
    },
    async describe(unit) {
      const args = ['status', '--no-pager', '--full', `--lines=${STATUS_LINES}`, '--', unit];
      const { stdout } = await call('systemctl', args);
      return stdout;
    },
  };
}

async function systemctl(what: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await call('systemctl', ['--no-pager', ...args]);
  if (code === 0) return stdout;
  const [line = ''] = stderr.trim().split('\n');
  throw new SystemdFailed(what, line === '' ? `systemctl ended with ${code ?? 'a signal'}` : line);
}

/** The innermost service of a text of the form of /proc/PID/cgroup (man 7 cgroups), v1 or v2. */
export function ownUnitIn(cgroups: string): string | undefined {
  for (const line of cgroups.split('\n')) {
    const [hierarchy, controllers, ...path] = line.split(':');
    if (hierarchy !== '0' && controllers !== 'name=systemd') continue;
    const found = path
      .join(':')
      .split('/')
      .findLast((part) => part.endsWith('.service'));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Reads what `systemctl show` prints; a property that a version does not know is empty. */
export function unitStateIn(text: string): UnitState {
  const said = propertiesIn(text);
  const of = (name: string): string => said.get(name) ?? '';
  return {
    load: of('LoadState'),
    active: of('ActiveState'),
    sub: of('SubState'),
    result: of('Result'),
    type: of('Type'),
    file: of('UnitFileState'),
    invocationId: of('InvocationID'),
    restarts: Number(of('NRestarts')) || 0,
    hasJob: !['', '0'].includes(of('Job')),
    needsReload: of('NeedDaemonReload') === 'yes',
  };
}

/** Lines of NAME=VALUE. */
export function propertiesIn(text: string): Map<string, string> {
  const lines = text.split('\n').filter((line) => line.includes('='));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
}
