import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Report } from '../../src/cli/doctor/finding.ts';
import { thisMachine } from '../../src/cli/doctor/host.ts';
import { systemClock } from '../../src/host/clock.ts';
import { nodeDisk } from '../../src/host/node-disk.ts';
import { writeRefusals } from '../../src/receipts/refusals.ts';
import { encodeBlock } from '../../src/store/block.ts';
import { createPatient, finding, HURRIED, type Patient } from './patient.ts';

/** Faults of the device itself: configuration, state directory, machine. The link has nobody to talk to here. */

const IS_ROOT = process.geteuid?.() === 0;
const KEY = 'a'.repeat(32);
const run = promisify(execFile);

let patient: Patient;
beforeEach(async () => {
  patient = await createPatient();
  await patient.configure({ connection: NOBODY });
});
afterEach(() => patient.remove());

const NOBODY = { url: 'mqtt://127.0.0.1:1' };
const matching = (pattern: RegExp): string => expect.stringMatching(pattern) as string;

function expectCause(report: Report, name: string, detail: RegExp, fix: RegExp): void {
  expect(report.cause).toEqual({ name, result: 'fail', detail: matching(detail), fix: matching(fix) });
}

test('a device without a fault: nothing fails before the link', async () => {
  const report = await patient.examined();
  const device = report.sections.slice(0, 3).flatMap(({ findings }) => findings);
  expect(device.filter(({ result }) => result === 'fail')).toEqual([]);
  expect(finding(report, 'state directory')).toEqual({
    name: 'state directory',
    result: 'ok',
    detail: patient.state,
  });
  expect(finding(report, 'journals')).toMatchObject({ result: 'ok' });
});

test('a misspelt key and a wrong value, each with its place', async () => {
  await writeFile(patient.config, 'thing: a\nconnection:\n  urll: x\n  proxy: ftp://x\n');
  const report = await patient.examined();
  expectCause(report, 'file', /evenkeel\.yaml:\d:3: connection\.(urll|proxy): /, /config\/evenkeel\.yaml/);
  expect(report.sections[0]?.findings).toHaveLength(2);
});

test('no configuration is given, and one is there', async () => {
  const { examine } = await import('../../src/cli/doctor/examine.ts');
  const machine = thisMachine();
  const disk = {
    ...nodeDisk,
    lstat: (path: string) => nodeDisk.lstat(path === '/etc/evenkeel/evenkeel.yaml' ? patient.config : path),
  };
  const report = await examine({ configPath: undefined, write: false }, { ...machine, disk, clock: HURRIED });
  expect(report && finding(report, 'file')).toMatchObject({
    result: 'warn',
    fix: matching(/--config \/etc\/evenkeel/),
  });
});

test('the state directory is on tmpfs', async () => {
  const directory = await mkdtemp('/dev/shm/evenkeel-');
  patient.onEnd(() => rm(directory, { recursive: true }));
  await patient.configure({ state: { directory: join(directory, 'state') }, connection: NOBODY });
  expectCause(await patient.examined(), 'state directory', /on tmpfs/, /a path on a disk/);
});

test('the state directory is a file', async () => {
  await rm(patient.state, { recursive: true });
  await writeFile(patient.state, '');
  expectCause(await patient.examined(), 'state directory', /is no directory, but a file/, /remove /);
});

test.runIf(IS_ROOT)('the disk is full, and the disk is read-only: real file systems', async () => {
  const image = join(patient.root, 'disk.img');
  const mounted = join(patient.root, 'disk');
  await mkdir(mounted);
  await run('truncate', ['-s', '8M', image]);
  await run('mkfs.ext4', ['-q', image]);
  await run('mount', ['-o', 'loop', image, mounted]);
  patient.onEnd(() => run('umount', [mounted]));
  await patient.configure({ state: { directory: join(mounted, 'state') }, connection: NOBODY });
  expectCause(
    await patient.examined(),
    'disk reserve',
    /the disk is full: \d\.\d MB free .* leave 16 MB/,
    /free room/,
  );
  await run('mount', ['-o', 'remount,ro', mounted]);
  expectCause(await patient.examined(), 'state directory', /mounted read-only/, /remount,rw/);
});

test('little room is a warning', async () => {
  const room = async (path: string) => ({ ...(await nodeDisk.room(path)), freeBytes: 20 * 1_048_576 });
  const report = await patient.examined({ disk: { ...nodeDisk, room } });
  expect(finding(report, 'disk reserve')).toMatchObject({ result: 'warn', detail: matching(/20 MB free/) });
});

test('others may read the state, or it belongs to another user', async () => {
  await chmod(patient.state, 0o755);
  expect(finding(await patient.examined(), 'owner and mode')).toMatchObject({
    result: 'warn',
    fix: `chmod 0700 ${patient.state}`,
  });
  expectCause(
    await patient.examined({ euid: 12_345 }),
    'owner and mode',
    /belongs to user \d+, and this is user 12345/,
    /chown -R 12345/,
  );
});

test('something holds the socket and says nothing', async () => {
  const server = createServer(() => undefined).listen(join(patient.state, 'agent.sock'));
  patient.onEnd(() => server.close());
  const report = await patient.examined({ clock: HURRIED });
  expectCause(report, 'single owner', /does not answer/, /systemctl restart evenkeel/);
});

async function journal(bytes: Uint8Array): Promise<void> {
  const directory = join(patient.state, 'executions', KEY);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await writeFile(join(directory, 'journal'), bytes);
}

test('a journal of a newer version', async () => {
  const block = Buffer.from(encodeBlock(0, [{ type: 'received' }]));
  block.writeUInt32LE(7, 4);
  const length = block.readUInt32LE(12);
  block.writeUInt32LE(crc32(block.subarray(20, 20 + length), crc32(block.subarray(0, 16))), 16);
  await journal(block);
  expectCause(
    await patient.examined(),
    'journals',
    /has format 7, written by a newer version/,
    /install the newer version/,
  );
});

test('a journal with a rotten block, one without a first block, and one that tells an impossible story', async () => {
  const good = (sequence: number): Uint8Array => encodeBlock(sequence, [{ type: 'done', step: 0 }]);
  await journal(Buffer.concat([good(0), Buffer.alloc(4096, 7), good(2)]));
  expectCause(await patient.examined(), 'journals', /is corrupt/, /"repair": true/);
  await journal(Buffer.alloc(4096, 7));
  expectCause(await patient.examined(), 'journals', /is corrupt: its first block is bad/, /"repair": true/);
  await journal(good(0));
  expectCause(
    await patient.examined(),
    'journals',
    /is corrupt: a journal begins with its received record/,
    /"repair": true/,
  );
});

test('the clock was never set', async () => {
  const clock = { ...systemClock, wallMs: () => 5_000_000 };
  expectCause(
    await patient.examined({ clock }),
    'clock',
    /1970-01-01T01:23:20.*was never set/,
    /timedatectl/,
  );
});

test('nothing keeps the clock right', async () => {
  const output = (program: string) =>
    Promise.resolve(
      program === 'timedatectl' ? 'no\n' : program === 'systemctl' ? 'systemd 252 (252.39)\n' : '',
    );
  const report = await patient.examined({ output, disk: booted() });
  expect(finding(report, 'clock')).toMatchObject({ result: 'warn', fix: matching(/set-ntp true/) });
  expect(finding(report, 'systemd')).toMatchObject({ result: 'ok', detail: matching(/252/) });
});

/** A disk on which systemd is PID 1. */
function booted(): typeof nodeDisk {
  return { ...nodeDisk, lstat: (path) => nodeDisk.lstat(path === '/run/systemd/system' ? '/' : path) };
}

test('systemd is too old, or has no systemd-run', async () => {
  const says = (text: string) => (program: string) => Promise.resolve(program === 'systemctl' ? text : '');
  const old = await patient.examined({ output: says('systemd 232\n+PAM'), disk: booted() });
  expect(finding(old, 'systemd')).toMatchObject({ result: 'warn', detail: matching(/version 232/) });
  const findProgram = (name: string) => Promise.resolve(name === 'systemd-run' ? undefined : `/bin/${name}`);
  const report = await patient.examined({ output: says('systemd 252\n'), disk: booted(), findProgram });
  expectCause(report, 'systemd', /systemd-run is missing/, /systemd package/);
});

test('packages are half installed', async () => {
  const audit =
    'The following packages are only half configured, probably due to problems\n libfoo  a library\n bar  a tool\n';
  const output = (program: string) => Promise.resolve(program === 'dpkg' ? audit : '');
  const findProgram = (name: string) => Promise.resolve(`/bin/${name}`);
  expectCause(
    await patient.examined({ output, findProgram }),
    'dpkg',
    /half installed: libfoo, bar$/,
    /dpkg --configure -a/,
  );
});

test('another process holds the lock of dpkg', async () => {
  const lock = join(patient.root, 'lock');
  await writeFile(lock, '');
  const stat = await nodeDisk.lstat(lock);
  const disk = {
    ...nodeDisk,
    lstat: (path: string) => nodeDisk.lstat(path === '/var/lib/dpkg/lock-frontend' ? lock : path),
  };
  const readText = (path: string) =>
    path === '/proc/locks'
      ? Promise.resolve(`1: POSIX  ADVISORY  WRITE 4711 fe:00:${stat?.ino} 0 EOF\n`)
      : thisMachine().readText(path);
  const output = () => Promise.resolve('');
  const findProgram = (name: string) => Promise.resolve(`/bin/${name}`);
  const report = await patient.examined({ disk, readText, output, findProgram });
  expect(finding(report, 'dpkg')).toMatchObject({
    result: 'warn',
    detail: matching(/process 4711 holds its lock/),
  });
});

test('handlers that will not be run: writable by others, another owner, not executable, out of the directory', async () => {
  const handlers = join(patient.root, 'handlers');
  await mkdir(handlers);
  const put = async (name: string, mode: number): Promise<string> => {
    await writeFile(join(handlers, name), '#!/bin/sh\n');
    await chmod(join(handlers, name), mode);
    return join(handlers, name);
  };
  await put('good.sh', 0o755);
  await put('README', 0o644);
  expect(finding(await patient.examined(), 'handlers')).toMatchObject({
    result: 'ok',
    detail: matching(/^1 in /),
  });
  await put('open.sh', 0o777);
  expectCause(
    await patient.examined(),
    'handlers',
    /open\.sh will not be run: .*mode 777/,
    /chmod 0755 .*open\.sh/,
  );
  await rm(join(handlers, 'open.sh'));
  await put('text.sh', 0o644);
  expectCause(await patient.examined(), 'handlers', /text\.sh.*not executable/, /chmod 0755/);
  await rm(join(handlers, 'text.sh'));
  await symlink('/bin/true', join(handlers, 'away.sh'));
  expectCause(await patient.examined(), 'handlers', /away\.sh.*leads out of/, /./);
  await rm(join(handlers, 'away.sh'));
  if (!IS_ROOT) return;
  await chown(await put('theirs.sh', 0o755), 1234, 1234);
  expectCause(await patient.examined(), 'handlers', /theirs\.sh.*belongs to user 1234/, /chown root:root/);
});

test('a user of the policy does not exist', async () => {
  await patient.configure({ policy: { allowedUsers: ['root', 'nobody-by-this-name'] }, connection: NOBODY });
  expectCause(
    await patient.examined(),
    'users',
    /names nobody-by-this-name, and this machine has no such user/,
    /useradd/,
  );
});

test('getfattr and setfattr are not installed', async () => {
  const report = await patient.examined({ findProgram: () => Promise.resolve(undefined) });
  expect(finding(report, 'attributes')).toMatchObject({ result: 'warn', fix: 'apt-get install attr acl' });
  expect(finding(report, 'dpkg')).toMatchObject({ result: 'skipped' });
});

test('a channel of receipts that the policy forbids', async () => {
  const topic = '$aws/things/x/shadow/name/evenkeel/update';
  await writeRefusals(nodeDisk, patient.state, { shadow: { topic, since: 0, reason: 'the link ended' } });
  expect(finding(await patient.examined(), 'receipts')).toMatchObject({
    result: 'warn',
    detail: matching(/refused since 1970.*the link ended/),
  });
});
