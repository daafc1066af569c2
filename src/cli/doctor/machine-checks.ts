import type { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import type { Config } from '../../config/config.ts';
import { chooseProcesses } from '../../host/choose-processes.ts';
import { findHandler } from '../../steps/handler-file.ts';
import { builtAtMs } from '../version.ts';
import { type Finding, fail, ok, skipped, warn } from './finding.ts';
import type { DoctorHost } from './host.ts';

/** What jobs need of this machine: a clock, systemd, packages, handlers, users. */

/** LoadCredential= and `systemd-run -p` with all that steps use. */
const SYSTEMD_MIN = 247;
const EXECUTABLE = 0o111;
const DPKG_LOCKS = ['/var/lib/dpkg/lock-frontend', '/var/lib/dpkg/lock'];
const CLOCK_FIX =
  'set it (timedatectl set-time, or chronyc makestep), and have it kept: timedatectl set-ntp true; TLS fails with a wrong clock';

export async function machineChecks(
  config: Config,
  certificate: X509Certificate | undefined,
  host: DoctorHost,
): Promise<Finding[]> {
  return [
    await clockCheck(certificate, host),
    await systemdCheck(host),
    await processesCheck(config, host),
    await dpkgCheck(host),
    ...(await handlerChecks(config, host)),
    await attributesCheck(host),
    await usersCheck(config, host),
  ];
}

async function clockCheck(certificate: X509Certificate | undefined, host: DoctorHost): Promise<Finding> {
  const name = 'clock';
  const nowMs = host.clock.wallMs();
  const now = new Date(nowMs).toISOString();
  if (nowMs < builtAtMs()) {
    return fail(name, `the clock says ${now}, before this version was made: it was never set`, CLOCK_FIX);
  }
  if (certificate && nowMs < Date.parse(certificate.validFrom)) {
    return fail(
      name,
      `the clock says ${now}, before the client certificate was issued (${isoDay(certificate.validFrom)}): it is behind`,
      CLOCK_FIX,
    );
  }
  const synchronized = (await hasSystemd(host))
    ? (await host.output('timedatectl', ['show', '-p', 'NTPSynchronized', '--value']))?.trim()
    : undefined;
  if (synchronized === 'no')
    return warn(name, `${now}, and nothing keeps it right`, 'timedatectl set-ntp true');
  return ok(name, synchronized === 'yes' ? `${now}, synchronized` : now);
}

function isoDay(date: string): string {
  return new Date(date).toISOString().slice(0, 10);
}

/** sd_booted(3) */
async function hasSystemd({ disk }: DoctorHost): Promise<boolean> {
  return (await disk.lstat('/run/systemd/system'))?.kind === 'directory';
}

async function systemdCheck(host: DoctorHost): Promise<Finding> {
  const name = 'systemd';
  if (!(await hasSystemd(host))) {
    return skipped(name, 'PID 1 is not systemd: steps run as process groups of the agent');
  }
  const version = Number(
    /^systemd (\d+)/.exec((await host.output('systemctl', ['--version'])) ?? '')?.[1] ?? Number.NaN,
  );
  if (Number.isNaN(version))
    return fail(name, 'systemd is PID 1, and systemctl does not run', 'repair the systemd package');
  if (version < SYSTEMD_MIN) {
    return warn(
      name,
      `version ${version}: steps and credentials want ${SYSTEMD_MIN} or newer`,
      'upgrade the distribution',
    );
  }
  if (!(await host.findProgram('systemd-run'))) {
    return fail(name, `version ${version}, and systemd-run is missing`, 'repair the systemd package');
  }
  return ok(name, `version ${version}, with systemd-run`);
}

/** How steps would run if the agent were started by the unit that comes with it. */
async function processesCheck({ steps }: Config, host: DoctorHost): Promise<Finding> {
  const name = 'processes';
  const booted = await hasSystemd(host);
  const limits = [
    ...(steps.memoryMegabytesMax === undefined ? [] : ['steps.memoryMegabytesMax']),
    ...(steps.tasksMax === undefined ? [] : ['steps.tasksMax']),
  ];
  const systemd = { booted: () => Promise.resolve(booted), ownUnit: () => Promise.resolve('a service') };
  const { kind, reason } = await chooseProcesses(steps.processes, systemd, host.euid);
  if (kind === 'systemd') return ok(name, `each step is a transient service of its own: ${reason}`);
  if (steps.processes === 'systemd' || limits.length > 0) {
    const asked = limits.length > 0 ? limits.join(' and ') : 'steps.processes';
    return warn(
      name,
      `steps run as process groups (${reason}), so ${asked} cannot be kept`,
      'run the agent as root under systemd, or take it out of the configuration',
    );
  }
  return ok(name, `steps run as process groups: ${reason}`);
}

async function dpkgCheck(host: DoctorHost): Promise<Finding> {
  const name = 'dpkg';
  if (!(await host.findProgram('dpkg'))) return skipped(name, 'there is no dpkg here');
  const audit = await host.output('dpkg', ['--audit']);
  if (audit === undefined) return warn(name, 'dpkg --audit fails', 'run dpkg --audit and read what it says');
  const broken = [...audit.matchAll(/^ (\S+)/gm)].map(([, one]) => one);
  if (audit.trim() !== '') {
    return fail(
      name,
      `packages are half installed: ${broken.slice(0, 5).join(', ')}${broken.length > 5 ? ` and ${broken.length - 5} more` : ''}`,
      'dpkg --configure -a, then apt-get -f install',
    );
  }
  const holder = await lockHolder(host);
  if (holder !== undefined) {
    return warn(
      name,
      `process ${holder} holds its lock: a job with packages has to wait`,
      `ps -p ${holder} -f; unattended upgrades end by themselves`,
    );
  }
  return ok(name, 'nothing half installed, not locked');
}

/** The process with a lock on dpkg's database, by /proc/locks (man 5 proc). */
async function lockHolder({ disk, readText }: DoctorHost): Promise<string | undefined> {
  const locks = (await readText('/proc/locks')) ?? '';
  for (const path of DPKG_LOCKS) {
    const stat = await disk.lstat(path);
    const line = stat && locks.split('\n').find((one) => new RegExp(`:${stat.ino} `).test(one));
    if (line) return /WRITE\s+(\d+)/.exec(line)?.[1] ?? 'unknown';
  }
  return undefined;
}

async function handlerChecks({ steps }: Config, { disk }: DoctorHost): Promise<Finding[]> {
  const name = 'handlers';
  const directory = steps.handlerDirectory;
  const stat = await disk.lstat(directory);
  if (!stat) return [ok(name, `none: there is no ${directory}`)];
  const refused: Finding[] = [];
  let count = 0;
  for (const one of await disk.readDirectory(directory)) {
    const entry = await disk.lstat(join(directory, one));
    // A README beside them is nobody's handler.
    const isHandler =
      one.endsWith('.sh') || entry?.kind === 'link' || ((entry?.mode ?? 0) & EXECUTABLE) !== 0;
    if (entry?.kind === 'directory' || !isHandler) continue;
    count += 1;
    const found = await findHandler(disk, directory, one);
    if (found.kind !== 'usable')
      refused.push(fail(name, `${one} will not be run: ${found.reason}`, handlerFix(directory, one)));
  }
  return refused.length > 0 ? refused : [ok(name, `${count} in ${directory}`)];
}

function handlerFix(directory: string, name: string): string {
  const path = join(directory, name);
  return `chown root:root ${directory} ${path} && chmod 0755 ${directory} ${path}`;
}

async function attributesCheck({ findProgram }: DoctorHost): Promise<Finding> {
  const name = 'attributes';
  const missing: string[] = [];
  for (const program of ['getfattr', 'setfattr']) if (!(await findProgram(program))) missing.push(program);
  if (missing.length > 0) {
    return warn(
      name,
      `${missing.join(' and ')} not installed: ACLs and extended attributes are neither compared nor put back`,
      'apt-get install attr acl',
    );
  }
  return ok(name, 'ACLs and extended attributes are compared and put back');
}

async function usersCheck({ policy }: Config, { findUser }: DoctorHost): Promise<Finding> {
  const name = 'users';
  const missing: string[] = [];
  for (const user of policy.allowedUsers) if (!(await findUser(user))) missing.push(user);
  if (missing.length > 0) {
    return fail(
      name,
      `policy.allowedUsers names ${missing.join(', ')}, and this machine has no such user`,
      `useradd --system ${missing[0]}, or take the name out: a job that asks for it is REJECTED`,
    );
  }
  return policy.allowedUsers.length === 0
    ? ok(name, 'a job may name any user of this machine')
    : ok(name, policy.allowedUsers.join(', '));
}
