import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openReadSocket } from '../../src/cli/control/read-socket.ts';
import { type ControlCommands, forReaders, serveControl } from '../../src/cli/control/server.ts';
import { systemClock } from '../../src/host/clock.ts';
import { nodeDisk } from '../../src/host/node-disk.ts';
import { findGroup } from '../../src/host/users.ts';
import { acquireStateLock } from '../../src/store/state-lock.ts';

/** Who may ask the agent what: its owner everything, a group what changes nothing, everybody else nothing at all. */

const GROUP = 'daemon';
const NOBODY = 65_534;
const isRoot = process.geteuid?.() === 0;

let root: string;
const ends: (() => Promise<void>)[] = [];
const warnings: object[] = [];

beforeEach(async () => {
  // Others must be able to walk to the sockets; what keeps them out are the sockets' own directories.
  root = await mkdtemp('/var/tmp/evenkeel-readers-');
  await chmod(root, 0o755);
  await mkdir(join(root, 'state'), { mode: 0o700 });
  warnings.length = 0;
});
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
  await rm(root, { recursive: true });
});

const log = { info: () => undefined, warn: (fields: object) => void warnings.push(fields) };
const reads: ControlCommands = { status: () => Promise.resolve('idle') };
const acts: ControlCommands = { cancel: () => Promise.resolve('cancelled') };
const readers = (): { group: string; directory: string } => ({ group: GROUP, directory: join(root, 'run') });

async function serve(settings = readers()): Promise<void> {
  const deps = { clock: systemClock, log };
  const lock = await acquireStateLock(
    nodeDisk,
    join(root, 'state'),
    serveControl({ ...reads, ...acts }, deps),
  );
  ends.push(() => lock.release());
  ends.push(await openReadSocket(settings, serveControl(forReaders(reads, acts), deps), { log }));
}

/** What a user is answered, by the very code that the commands ask with. */
async function asked(command: string, who: { uid: number; gid: number }): Promise<unknown> {
  const script = `
    import { askAgent } from '${new URL('../../src/cli/control/client.ts', import.meta.url).pathname}';
    import { systemClock } from '${new URL('../../src/host/clock.ts', import.meta.url).pathname}';
    import { nodeDisk } from '${new URL('../../src/host/node-disk.ts', import.meta.url).pathname}';
    process.setgroups([]);
    process.setgid(${who.gid});
    process.setuid(${who.uid});
    const deps = { disk: nodeDisk, clock: systemClock, readers: ${JSON.stringify(readers())} };
    const answer = await askAgent('${join(root, 'state')}', { command: '${command}' }, deps)
      .catch((error) => error.message);
    console.log(JSON.stringify(answer ?? null));`;
  const args = ['--import', 'tsx', '--input-type=module', '-e', script];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return JSON.parse(stdout) as unknown;
}

test.skipIf(!isRoot)(
  'the owner may act, the group may only ask, everybody else may neither (needs root, to be others)',
  { timeout: 60_000 },
  async () => {
    await serve();
    const gid = (await findGroup(GROUP)) ?? -1;
    expect(gid).toBeGreaterThan(0);
    const owner = { uid: 0, gid: 0 };
    const member = { uid: NOBODY, gid };
    const stranger = { uid: NOBODY, gid: NOBODY };
    expect(await asked('cancel', owner)).toEqual({ ok: true, value: 'cancelled' });
    expect(await asked('status', member)).toEqual({ ok: true, value: 'idle' });
    expect(await asked('cancel', member)).toMatchObject({
      ok: false,
      error: { code: 'notAllowed', message: expect.stringContaining('sudo') as string },
    });
    expect(await asked('status', stranger)).toMatch(/cannot ask the agent of .*member of the group daemon/);
    const modes = await Promise.all(
      ['run', 'run/read.sock', 'state/agent.sock'].map(async (name) => (await stat(join(root, name))).mode),
    );
    expect(modes.map((mode) => (mode & 0o777).toString(8))).toEqual(['750', '660', '600']);
  },
);

test('without the group nobody may ask, and nothing is made', async () => {
  await serve({ ...readers(), group: 'no-such-group' });
  await expect(stat(join(root, 'run'))).rejects.toThrow('ENOENT');
  expect(warnings).toEqual([]);
});

test.skipIf(!isRoot)('a directory that others may write to, or that is a link, gets no socket', async () => {
  await mkdir(join(root, 'open'));
  await chmod(join(root, 'open'), 0o777);
  await symlink(join(root, 'open'), join(root, 'run'));
  await serve();
  await serveOnly(join(root, 'open'));
  expect(warnings).toHaveLength(2);
  await expect(stat(join(root, 'open', 'read.sock'))).rejects.toThrow('ENOENT');
});

test.skipIf(!isRoot)('two agents on one machine: the second leaves the first its socket', async () => {
  await serve();
  await serveOnly(join(root, 'run'));
  expect(warnings).toMatchObject([{ error: 'another agent listens there' }]);
});

async function serveOnly(directory: string): Promise<void> {
  ends.push(await openReadSocket({ ...readers(), directory }, (socket) => socket.destroy(), { log }));
}
