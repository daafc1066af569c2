import { dirname, join } from 'node:path';
import type { Config } from '../../config/config.ts';
import { TMPFS_TYPE } from '../../store/state-lock.ts';
import { askAgent } from '../control/client.ts';
import type { LiveCheck } from '../control/commands.ts';
import { readAll, type Told } from '../story/journals.ts';
import { type Finding, fail, ok, skipped, warn } from './finding.ts';
import type { DoctorHost } from './host.ts';

/** What the state directory must be: durable, the agent's own, with room, and readable by this version. */

const MEGABYTE = 1_048_576;
const OTHERS = 0o077;
/** It asks the broker twice, and each may take `jobs.requestTimeoutSeconds`. */
const CHECK_LIMIT_MS = 30_000;

export type Owner = { kind: 'none' } | { kind: 'agent'; check: LiveCheck } | { kind: 'mute'; reason: string };

/** Who owns the directory now. A running agent has checked its link for us. */
export async function findOwner({ state }: Config, host: DoctorHost): Promise<Owner> {
  try {
    const answer = await askAgent<LiveCheck>(state.directory, { command: 'check' }, host, CHECK_LIMIT_MS);
    if (!answer) return { kind: 'none' };
    if (answer.ok) return { kind: 'agent', check: answer.value };
    return { kind: 'mute', reason: `it answers: ${answer.error.message}` };
  } catch (error) {
    return { kind: 'mute', reason: (error as Error).message };
  }
}

export async function stateChecks(config: Config, owner: Owner, host: DoctorHost): Promise<Finding[]> {
  const { directory } = config.state;
  const place = await existingPart(directory, host);
  const isThere = place === directory;
  return [
    await kindOf(directory, place, host),
    await ownershipOf(directory, isThere, host),
    ownerFinding(directory, owner),
    await roomIn(place, config, host),
    ...(isThere ? await journalsIn(config, host) : [skipped('journals', 'there is no state yet')]),
  ];
}

async function kindOf(directory: string, place: string, host: DoctorHost): Promise<Finding> {
  const name = 'state directory';
  const { type } = await host.disk.room(place);
  if (type === TMPFS_TYPE) {
    return fail(
      name,
      `${directory} is on tmpfs, which a restart of the device empties: a job could not be undone after a power cut`,
      'set state.directory to a path on a disk, such as /var/lib/evenkeel',
    );
  }
  const stat = await host.disk.lstat(place);
  if (stat?.kind !== 'directory') {
    return fail(name, `${place} is no directory, but a ${stat?.kind ?? 'missing entry'}`, `remove ${place}`);
  }
  try {
    await host.mayWrite(place);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EROFS')
      return fail(name, `${place} is on a file system that is mounted read-only`, remountFix(place));
    return fail(name, `${place} cannot be written: ${message}`, 'run it as root, as the unit does');
  }
  return place === directory
    ? ok(name, directory)
    : ok(name, `${directory} will be made when the agent starts`);
}

function remountFix(place: string): string {
  return `look for disk errors (dmesg), then: mount -o remount,rw $(findmnt -n -o TARGET -T ${place})`;
}

async function ownershipOf(directory: string, isThere: boolean, host: DoctorHost): Promise<Finding> {
  const name = 'owner and mode';
  const stat = isThere ? await host.disk.lstat(directory) : undefined;
  if (!stat) return skipped(name, 'there is no state yet');
  const mode = `0${stat.mode.toString(8)}`;
  if (stat.uid !== host.euid) {
    return fail(
      name,
      `${directory} belongs to user ${stat.uid}, and this is user ${host.euid}`,
      `chown -R ${host.euid} ${directory}, if the agent runs as this user`,
    );
  }
  if ((stat.mode & OTHERS) !== 0) {
    return warn(
      name,
      `${directory} has mode ${mode}: others may read what jobs wrote, and talk to the agent`,
      `chmod 0700 ${directory}`,
    );
  }
  return ok(name, `user ${stat.uid}, mode ${mode}`);
}

function ownerFinding(directory: string, owner: Owner): Finding {
  const name = 'single owner';
  switch (owner.kind) {
    case 'none':
      return ok(name, 'no agent runs on it now');
    case 'agent':
      return ok(
        name,
        `an agent runs: pid ${owner.check.pid}, version ${owner.check.version}, ${owner.check.agent.state}`,
      );
    case 'mute':
      return fail(
        name,
        `something holds ${join(directory, 'agent.sock')} and does not answer: ${owner.reason}`,
        'systemctl restart evenkeel; an older version or a stopped process answers nothing',
      );
  }
}

async function roomIn(place: string, { state }: Config, { disk }: DoctorHost): Promise<Finding> {
  const name = 'disk reserve';
  const { freeBytes } = await disk.room(place);
  const reserve = state.reserveMegabytes * MEGABYTE;
  const detail = `${megabytes(freeBytes)} free for ${state.directory}, and jobs must leave ${megabytes(reserve)} (state.reserveMegabytes)`;
  if (freeBytes < reserve)
    return fail(name, `the disk is full: ${detail}`, `free room: du -xh --max-depth=2 / | sort -h | tail`);
  if (freeBytes < 2 * reserve) return warn(name, `little room: ${detail}`, 'free room before the next job');
  return ok(name, detail);
}

function megabytes(bytes: number): string {
  return `${(bytes / MEGABYTE).toFixed(bytes < 10 * MEGABYTE ? 1 : 0)} MB`;
}

async function journalsIn(config: Config, { disk }: DoctorHost): Promise<Finding[]> {
  const name = 'journals';
  let told: Told[];
  try {
    told = await readAll(disk, config.state.directory);
  } catch (error) {
    return [fail(name, `cannot read them: ${(error as Error).message}`, 'look for disk errors: dmesg')];
  }
  const newer = told.filter(({ newerFormat }) => newerFormat !== undefined);
  const corrupt = told.filter(({ wrong, newerFormat }) => wrong !== undefined && newerFormat === undefined);
  const items = told.flatMap(({ progress }) =>
    progress?.verdict?.outcome === 'inconsistent' && !progress.resolved ? progress.verdict.items : [],
  );
  const found = [
    ...newer.map(({ key, newerFormat }) =>
      fail(
        name,
        `the journal ${key} has format ${newerFormat}, written by a newer version than this`,
        'install the newer version again: this one touches nothing',
      ),
    ),
    ...corrupt.map(({ key, wrong }) =>
      fail(
        name,
        `the journal ${key} is corrupt: ${(wrong ?? '').replace(/^internal error: /, '')}`,
        'the disk lost what was written; the device starts nothing but a repair job ("repair": true)',
      ),
    ),
    ...(items.length > 0
      ? [
          fail(
            name,
            `the device is INCONSISTENT, neither old nor new: ${items.map(({ id }) => id.replace(/^path:/, '')).join(' ')}`,
            'it starts nothing but a job with "repair": true that puts these right',
          ),
        ]
      : []),
  ];
  if (found.length > 0) return found;
  const open = told.filter(({ progress }) => progress && progress.phase !== 'closed').length;
  return [ok(name, `${told.length} readable, ${open} of a job under way`)];
}

/** The path itself, or what there is of it. */
async function existingPart(path: string, host: DoctorHost): Promise<string> {
  if (path === '/' || (await host.disk.lstat(path))) return path;
  return existingPart(dirname(path), host);
}
