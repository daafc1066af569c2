import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Simulator } from '../../src/simulator/index.ts';
import { startTestCloud } from '../support/cloud.ts';
import { hasDebianRoot, type TestPackage } from '../support/debian-root.ts';
import { until } from '../support/until.ts';
import { createPackageDevice, expectSame, type PackageDevice } from './package-device.ts';

/**
 * Packages on a real apt and dpkg (I1, I2, I5): whatever comes in the middle of it, the package database, /etc and the
 * packages' own files are as before, line by line.
 */

const app = (version: string, more: Partial<TestPackage> = {}): TestPackage => ({
  name: 'app',
  version,
  files: {
    '/srv/app/version': `${version}\n`,
    '/etc/app/app.conf': `release = ${version}\n`,
    '/etc/app/plain.conf': `plain = ${version}\n`,
  },
  ...more,
});
const LIBRARY: TestPackage = { name: 'library', version: '2.0', files: { '/srv/library/it': 'a library\n' } };
/** For a maintainer script that hangs. */
const DPKG_WAIT_SECONDS = 5;
const INSTALL = { name: 'install', type: 'installPackages', input: { packages: 'app' } };

let simulator: Simulator;
let device: PackageDevice;
beforeAll(async () => {
  if (hasDebianRoot) simulator = await startTestCloud();
});
afterAll(() => simulator?.close());

/** Its mark is there while it runs, and only one that is waited for ever is long. */
const waiting = (name: string): object => ({
  name: 'wait',
  type: 'runCommand',
  input: { command: ['/bin/sh', '-c', `touch ${device.marker(name)}; sleep 600`] },
  snapshotPaths: [device.marker(name)],
});

/** Without root or without apt there is no Debian to throw away; in CI there is. */
describe.skipIf(!hasDebianRoot)('packages', { timeout: 240_000 }, () => {
  beforeEach(async () => {
    device = await createPackageDevice(simulator);
    await device.publish(app('1.0'), app('2.0', { depends: 'library' }), LIBRARY);
    await device.sh('apt-get install -y app=1.0');
    await device.sh('echo "changed = here" >> /etc/app/app.conf; chmod 600 /etc/app/app.conf');
  });
  afterEach(() => device.end());

  test('an upgrade that brings a dependency is undone by a cancel in a later step', async () => {
    const before = await device.world();
    device.createJob(INSTALL, waiting('later'));
    await device.start();
    await device.mark('later');
    expect(await device.sh('cat /srv/app/version /srv/library/it; ls /etc/app; apt-mark showauto')).toBe(
      '2.0\na library\napp.conf\napp.conf.dpkg-dist\nplain.conf\nlibrary\n',
    );
    device.cancel();
    expect((await device.closed()).verdict).toMatchObject({ items: [], notUndone: [] });
    expectSame(await device.world(), before);
    expect(device.receipt()).toMatchObject({ outcome: 'rolledBack', deviceState: 'old', verified: true });
  });

  test('left alone it stays, with the marks that apt gives, and nothing of ours', async () => {
    device.createJob(INSTALL);
    await device.start();
    await device.closed();
    expect([device.status(), device.reason()]).toEqual(['SUCCEEDED', expect.anything()]);
    expect(await device.sh('apt-mark showauto; apt-mark showmanual; cat /srv/app/version')).toBe(
      'library\napp\n2.0\n',
    );
    expect(await device.sh('find /etc /srv -name "*evenkeel*"; dpkg --audit')).toBe('');
  });

  test('a removal keeps changed conffiles until the commit, and brings all back before it', async () => {
    const before = await device.world();
    const remove = { name: 'remove', type: 'removePackages', input: { packages: ['app'], purge: true } };
    device.createJob(remove, waiting('removed'));
    await device.start();
    await device.mark('removed');
    expect(await device.sh('ls /srv; cat /etc/app/app.conf')).toBe('release = 1.0\nchanged = here\n');
    device.cancel();
    await device.closed();
    expectSame(await device.world(), before);
    expect(device.receipt()).toMatchObject({ outcome: 'rolledBack', deviceState: 'old', verified: true });
  });

  test('the stock handler remove-packages.sh purges, once the job has succeeded', async () => {
    device.createJob({
      name: 'remove',
      type: 'runHandler',
      input: { handler: 'remove-packages.sh', args: ['app'] },
    });
    await device.start();
    await device.closed();
    expect([device.status(), device.reason()]).toEqual(['SUCCEEDED', expect.anything()]);
    expect(await device.sh('dpkg-query -W; ls -d /etc/app /srv/app 2>&1 | wc -l')).toBe('2\n');
  });

  test('a mark that apt changes along the way comes back', async () => {
    await device.sh('apt-mark auto app');
    const before = await device.world();
    device.createJob({ ...INSTALL, input: { packages: 'app=1.0' } }, waiting('later'));
    await device.start();
    await device.mark('later');
    expect(await device.sh('apt-mark showauto; apt-mark showmanual')).toBe('app\n');
    expect(await device.sh('apt-mark showauto')).toBe('');
    device.cancel();
    await device.closed();
    expectSame(await device.world(), before);
    expect(device.receipt()).toMatchObject({ outcome: 'rolledBack', deviceState: 'old', verified: true });
  });

  test('a held package is refused, and nothing changes', async () => {
    await device.sh('apt-mark hold app');
    const before = await device.world();
    device.createJob(INSTALL);
    await device.start();
    await rejected(/Held packages were changed/);
    expectSame(await device.world(), before);
  });

  test('what would take the agent itself away is refused, and says why', async () => {
    const main = new URL('../../dist/cli/main.js', import.meta.url).pathname;
    await device.publish({ name: 'agent', version: '1', files: { [main]: await device.sh(`cat ${main}`) } });
    await device.sh('apt-get install -y agent');
    device.createJob({ name: 'remove', type: 'removePackages', input: { packages: 'agent' } });
    await device.start();
    await rejected(/remove agent, which this agent runs from/);
  });

  test('a lock that another process holds is waited for', async () => {
    const lock = await holdLock();
    device.createJob(INSTALL);
    await device.start();
    await until('the agent to meet the lock', () => device.log().includes('lock'), 60_000);
    expect(device.status()).toBe('QUEUED');
    lock.kill();
    await device.closed();
    expect([device.status(), device.reason()]).toEqual(['SUCCEEDED', expect.anything()]);
  });

  test('a lock that stays is a failure once its time is over, with nothing changed', async () => {
    const before = await device.world();
    const first = {
      ...waiting('first'),
      name: 'first',
      input: { command: ['/bin/sh', '-c', untilGone('first')] },
    };
    device.createJob(first, { ...INSTALL, timeoutSeconds: 3 });
    await device.start();
    await device.mark('first');
    const lock = await holdLock();
    await device.sh(`rm ${device.marker('first')}`);
    await device.closed();
    lock.kill();
    expect(device.status()).toBe('FAILED');
    expect(device.reason()).toMatch(/stays locked for 3 s/);
    expectSame(await device.world(), before);
  });

  describe.each(['preinst', 'postinst'] as const)('in the middle of dpkg, in %s', (script) => {
    const slow = async (): Promise<string[]> => {
      const mark = device.marker('in-dpkg');
      await device.publish(
        app('3.0', {
          depends: 'library',
          scripts: { [script]: `touch ${mark}; sleep 4; touch ${mark}-ended` },
        }),
      );
      const before = await device.world();
      device.createJob(INSTALL, waiting('later'));
      await device.start();
      await device.mark('in-dpkg');
      return before;
    };

    test('a cancel waits until dpkg has ended, and undoes', async () => {
      const before = await slow();
      device.cancel();
      await device.closed();
      expect(existsSync(device.marker('in-dpkg-ended'))).toBe(true);
      expectSame(await device.world(), before);
      expect(device.receipt()).toMatchObject({ outcome: 'rolledBack', deviceState: 'old', verified: true });
    });

    test('I5: dpkg outlives an agent that is killed, is waited for by the next, and undone', async () => {
      const before = await slow();
      await device.kill();
      device.cancel();
      await device.start();
      await device.closed();
      expect(existsSync(device.marker('in-dpkg-ended'))).toBe(true);
      expectSame(await device.world(), before);
      expect(device.receipt()).toMatchObject({ outcome: 'rolledBack', deviceState: 'old', verified: true });
    });

    test('a power cut: the agent and dpkg die at once, and the undo repairs first', async () => {
      const before = await slow();
      await device.cut();
      device.cancel();
      await device.start();
      await device.closed();
      expect(existsSync(device.marker('in-dpkg-ended'))).toBe(false);
      expectSame(await device.world(), before);
      expect(device.receipt()).toMatchObject({ outcome: 'rolledBack', deviceState: 'old', verified: true });
    });
  });

  test('a step that a power cut has interrupted is tried again from the old state', async () => {
    const mark = device.marker('in-dpkg');
    const once = `[ -e ${mark} ] || { touch ${mark}; sleep 30; }`;
    await device.publish(app('3.0', { scripts: { postinst: once } }));
    device.createJob(INSTALL);
    await device.start();
    await device.mark('in-dpkg');
    await device.cut();
    await device.start();
    await device.closed();
    expect([device.status(), device.reason()]).toEqual(['SUCCEEDED', expect.anything()]);
    expect(await device.sh("cat /srv/app/version; dpkg --audit; dpkg-query -W -f '${Status}' app")).toBe(
      '3.0\ninstall ok installed',
    );
  });

  test('maintainer scripts that fail: the job fails, and the undo gets by without them', async () => {
    const broken = { postinst: 'exit 1', prerm: 'exit 1' };
    await device.publish(app('3.0', { depends: 'library', scripts: broken }));
    const before = await device.world();
    device.createJob(INSTALL);
    await device.start();
    await device.closed();
    expect(device.status()).toBe('FAILED');
    expectSame(await device.world(), before);
  });

  test('a full disk: the job fails, and the undo needs no room', async () => {
    await device.sh(
      'mkdir -p /srv/small; mount -t tmpfs -o size=1m tmpfs /srv/small; echo old > /srv/small/kept',
    );
    const big = 'x'.repeat(3 * 1024 * 1024);
    await device.publish(
      app('3.0', { depends: 'library', files: { '/srv/small/big': big, '/etc/app/app.conf': '3' } }),
    );
    const before = await device.world();
    device.createJob(INSTALL);
    await device.start();
    await device.closed();
    expect(device.status()).toBe('FAILED');
    expect(device.reason()).toMatch(/No space left/);
    expectSame(await device.world(), before);
  });

  test('an old archive that cannot be had: made of what is installed, worth less', async () => {
    await device.unpublish('app', '1.0');
    const before = await device.world();
    device.createJob(INSTALL, waiting('later'));
    await device.start();
    await device.mark('later');
    expect(device.reason()).toContain('bestEffort');
    device.cancel();
    await device.closed();
    // What app 1.0 shipped in the conffile that was changed is not known any more.
    const known = (lines: string[]) => lines.map((line) => line.replace(/(app\.conf) [0-9a-f]{32}/, '$1'));
    expectSame(known(await device.world()), known(before));
  });
});

describe.skipIf(!hasDebianRoot)('packages in the field', { timeout: 240_000 }, () => {
  beforeEach(async () => {
    device = await createPackageDevice(simulator, {}, DPKG_WAIT_SECONDS);
    await device.publish(app('1.0'), app('2.0'), LIBRARY);
    await device.sh('apt-get install -y app=1.0');
  });
  afterEach(() => device.end());

  test('lists that have grown stale are fetched anew where the document says so', async () => {
    // Of a source that is a file apt keeps no lists of its own.
    await device.sh('sed -i s/file:/copy:/ /etc/apt/sources.list; apt-get update');
    await device.publishUnseen(app('2.1'));
    await device.sh(`rm ${device.marker('repository')}/app_2.0_all.deb`);
    await expect(device.sh('cd /tmp && apt-get download app')).rejects.toThrow(/app_2\.0_all\.deb/);
    const before = await device.world();
    device.createJob({ ...INSTALL, input: { packages: 'app', update: true } }, waiting('later'));
    await device.start();
    await device.mark('later');
    expect(await device.sh('cat /srv/app/version')).toBe('2.1\n');
    device.cancel();
    await device.closed();
    expectSame(await device.world(), before);
  });

  test('a maintainer script that hangs is ended when its time is over, and undone', async () => {
    await device.publish(app('3.0', { depends: 'library', scripts: { postinst: 'sleep 600' } }));
    const before = await device.world();
    device.createJob({ ...INSTALL, timeoutSeconds: 1 });
    await device.start();
    await device.closed();
    expect(device.status()).toBe('FAILED');
    expectSame(await device.world(), before);
    expect(device.receipt() ?? { verified: true }).toMatchObject({ verified: true });
  });

  test('a package of another architecture comes and goes beside the one of this machine', async () => {
    const native = (await device.sh('dpkg --print-architecture')).trim();
    const foreign = native === 'arm64' ? 'amd64' : 'arm64';
    const both = { ...LIBRARY, name: 'shared', multiArch: 'same' as const };
    await device.sh(`dpkg --add-architecture ${foreign}`);
    await device.publish({ ...both, architecture: native }, { ...both, architecture: foreign });
    await device.sh('apt-get install -y shared');
    const before = await device.world();
    const install = { ...INSTALL, input: { packages: `shared:${foreign}` } };
    const remove = {
      name: 'remove',
      type: 'removePackages',
      input: { packages: [`shared:${native}`], purge: true },
    };
    device.createJob(install, remove, waiting('later'));
    await device.start();
    await device.mark('later');
    expect(await device.sh("dpkg-query -W -f '${Architecture} ${db:Status-Status}\\n' shared")).toBe(
      `${foreign} installed\n`,
    );
    device.cancel();
    await device.closed();
    expectSame(await device.world(), before);
    expect(device.receipt()).toMatchObject({ outcome: 'rolledBack', deviceState: 'old', verified: true });
  });

  test('an empty directory that was there stays when the package that has it goes', async () => {
    await device.sh('mkdir -p -m 750 /srv/empty/deeper; chown 1:1 /srv/empty');
    await device.publish(app('3.0', { files: { '/srv/empty/deeper/file': 'x' } }));
    const before = await device.world();
    device.createJob({ ...INSTALL, input: { packages: 'app=3.0' } }, waiting('later'));
    await device.start();
    await device.mark('later');
    device.cancel();
    await device.closed();
    expectSame(await device.world(), before);
  });
});

describe.skipIf(!hasDebianRoot)('packages under a policy', { timeout: 240_000 }, () => {
  beforeEach(async () => {
    device = await createPackageDevice(simulator, { minGrade: 'full' });
    await device.publish(app('1.0'), app('2.0'));
    await device.sh('apt-get install -y app=1.0');
  });
  afterEach(() => device.end());

  test('minGrade refuses what has no old archive, before anything is done', async () => {
    await device.unpublish('app', '1.0');
    const before = await device.world();
    device.createJob(INSTALL);
    await device.start();
    await rejected(/policy.minGrade is full/);
    expectSame(await device.world(), before);
  });
});

async function rejected(reason: RegExp): Promise<void> {
  await until('the job to be rejected', () => device.status() === 'REJECTED', 60_000);
  expect(device.reason()).toMatch(reason);
}

/** A shell's text that makes a mark and waits until somebody takes it away. */
function untilGone(name: string): string {
  const mark = device.marker(name);
  return `touch ${mark}; while [ -e ${mark} ]; do sleep 0.1; done`;
}

/** As apt holds it. */
async function holdLock(): Promise<ChildProcess> {
  const held = device.marker('held');
  const hold =
    'import fcntl, sys, time; f = open("/var/lib/dpkg/lock-frontend", "w"); fcntl.lockf(f, fcntl.LOCK_EX); ' +
    'open(sys.argv[1], "w"); time.sleep(1000)';
  const [program, ...args] = [...device.inside, '/usr/bin/python3', '-c', hold, held];
  const holder = spawn(program, args, { stdio: 'ignore' });
  await device.mark('held');
  return holder;
}
