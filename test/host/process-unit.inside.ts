import { execFile } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test } from 'vitest';
import { bootId } from '../../src/host/boot.ts';
import { systemClock } from '../../src/host/clock.ts';
import { createProcessUnits, systemdVersion } from '../../src/host/process-unit.ts';
import type { Processes, ProcessIdentity, ProcessResult, ProcessSpec } from '../../src/host/processes.ts';
import { processesWith } from '../support/device.ts';
import { until } from '../support/until.ts';
import { processesContract } from './processes-contract.ts';

/** Runs inside of a booted machine (`test/system/systemd.test.ts`). */

const create = async (): Promise<Processes> =>
  createProcessUnits({
    clock: systemClock,
    bootId: await bootId(),
    version: await systemdVersion(),
    ownUnit: undefined,
  });

processesContract('transient services', create);

const sh = async (...argv: string[]): Promise<string> => {
  const [program = '', ...args] = argv;
  return (await promisify(execFile)(program, args)).stdout.trim();
};
const never = new AbortController().signal;

describe('a transient service', () => {
  const identities: ProcessIdentity[] = [];
  afterEach(async () => {
    for (const identity of identities.splice(0)) await (await create()).fence(identity, 100);
    await rm('/var/tmp/evenkeel-unit', { force: true });
  });

  async function run(
    argv: readonly string[],
    more: Partial<ProcessSpec> = {},
    signal: AbortSignal = never,
  ): Promise<ProcessResult> {
    const spec: ProcessSpec = {
      name: 'key-1-do-1',
      argv,
      cwd: '/',
      env: { PATH: '/usr/bin:/bin', ONLY: 'this' },
      timeoutMs: 30_000,
      graceMs: 500,
      outputBytesMax: 20_000,
      ...more,
    };
    const record = (identity: ProcessIdentity): Promise<void> => {
      identities.push(identity);
      return Promise.resolve();
    };
    return await (await create()).run(spec, record, signal);
  }

  test('has the environment that was asked for, and no other', async () => {
    const { stdoutTail } = await run(['/usr/bin/env']);
    const [token, ...rest] = stdoutTail.trim().split('\n').sort();
    expect(token).toMatch(/^EVENKEEL_TOKEN=[0-9a-f-]{36}$/);
    expect(rest).toEqual(['ONLY=this', 'PATH=/usr/bin:/bin']);
  });

  test('I9: neither systemd nor a shell reads what stands in its arguments', async () => {
    const odd = ['$HOME', '${PATH}', '$$', '%n %i', '\\x41', '"', "'", ';', '--', '-p', 'a=b', '', 'ü\n\t'];
    const { stdoutTail } = await run(['/usr/bin/printf', '[%s]', ...odd]);
    expect(stdoutTail).toBe(odd.map((one) => `[${one}]`).join(''));
  });

  test('runs as its user with all groups of that user, and gains no rights', async () => {
    await sh('/usr/sbin/useradd', '--create-home', '--groups', 'audio,video', 'worker').catch(() => '');
    const script = 'id -un; id -Gn; grep NoNewPrivs /proc/self/status';
    const { stdoutTail } = await run(['/bin/sh', '-c', script], { user: 'worker', noNewPrivileges: true });
    expect(stdoutTail).toBe('worker\nworker audio video\nNoNewPrivs:\t1\n');
    const other = await run(['/bin/sh', '-c', script], { user: 'worker' });
    expect(other.stdoutTail).toContain('NoNewPrivs:\t0');
  });

  test('has the limits of memory and of processes that were asked for', async () => {
    const stop = new AbortController();
    const limits = { memoryBytesMax: 64 * 1024 * 1024, tasksMax: 17 };
    const running = run(['/bin/sleep', '60'], { limits }, stop.signal);
    const unit = await until('its unit', () => identities[0]?.unit);
    await until(
      'its start',
      async () => (await sh('systemctl', 'is-active', unit).catch(() => '')) === 'active',
    );
    const said = await sh('systemctl', 'show', '--property=MemoryMax,TasksMax,KillMode', unit);
    expect(said.split('\n').sort()).toEqual(['KillMode=control-group', 'MemoryMax=67108864', 'TasksMax=17']);
    stop.abort(new Error('stop'));
    expect(await running).toMatchObject({ ended: 'abort' });
  });

  test('its name is free again when it has ended, however it ended', async () => {
    await run(['/bin/true']);
    await run(['/bin/sh', '-c', 'exit 9']);
    await run(['/bin/sh', '-c', 'kill -SEGV $$']);
    await run(['/bin/sleep', '60'], { timeoutMs: 100 });
    await run(['/usr/bin/env'], { user: 'nobody-there' }).catch(() => undefined);
    expect(await sh('systemctl', 'list-units', '--all', '--plain', '--no-legend', 'evenkeel-key-*')).toBe('');
  });

  test("exit codes that systemd has words for are the program's own", async () => {
    for (const code of [127, 203, 255]) {
      expect((await run(['/bin/sh', '-c', `exit ${code}`])).exitCode).toBe(code);
    }
  });

  test('what cannot be executed is said as such', async () => {
    await promisify(execFile)('/bin/sh', [
      '-c',
      'printf "#!/no/interpreter\\n" > /var/tmp/evenkeel-unit; chmod 755 /var/tmp/evenkeel-unit',
    ]);
    await expect(run(['/var/tmp/evenkeel-unit'])).rejects.toThrow(/cannot run \/var\/tmp\/evenkeel-unit/);
  });
});

/** Forks twice, leaves the session and the environment, ignores TERM, and never stops writing. */
const ESCAPEE = `
  trap "" TERM HUP INT
  setsid sh -c 'trap "" TERM HUP INT; env -i sh -c "trap \\"\\" TERM HUP INT; while :; do echo flood >&2; done; : $0" "$0" &' "$0" &
  while :; do echo flood >&2; done`;

test('I5: who escapes, ignores TERM and floods stderr is dead and drained within the grace, every time', {
  timeout: 120_000,
}, async () => {
  for (let time = 1; time <= 5; time += 1) {
    const mark = `/var/tmp/evenkeel-escape-${time}`;
    const stop = new AbortController();
    const spec: ProcessSpec = {
      name: `escape-${time}`,
      argv: ['/bin/sh', '-c', ESCAPEE, mark],
      cwd: '/',
      env: { PATH: '/usr/bin:/bin' },
      timeoutMs: 60_000,
      graceMs: 300,
      outputBytesMax: 1000,
    };
    const running = (await create()).run(spec, () => Promise.resolve(), stop.signal);
    await until('the escapee', async () => (await processesWith(mark)).length >= 2);
    stop.abort(new Error('stop'));
    const result = await running;
    expect(result).toMatchObject({ ended: 'abort' });
    expect(result.stderrTail).toMatch(/(flood\n)+/);
    expect(await processesWith(mark)).toEqual([]);
  }
});

test('I5: what a killed agent has left is found by its record alone, and ended', {
  timeout: 120_000,
}, async () => {
  const mark = '/var/tmp/evenkeel-orphan';
  const script = `
    const { createProcessUnits, systemdVersion } = await import('${new URL('../../dist/host/process-unit.js', import.meta.url).pathname}');
    const { systemClock } = await import('${new URL('../../dist/host/clock.js', import.meta.url).pathname}');
    const { bootId } = await import('${new URL('../../dist/host/boot.js', import.meta.url).pathname}');
    const processes = createProcessUnits({ clock: systemClock, bootId: await bootId(), version: await systemdVersion(), ownUnit: undefined });
    const spec = { name: 'orphan', argv: ['/bin/sh', '-c', process.argv[1], process.argv[2]], cwd: '/', env: { PATH: '/usr/bin:/bin' }, timeoutMs: 60000, graceMs: 300, outputBytesMax: 1000 };
    await processes.run(spec, (identity) => { console.log(JSON.stringify(identity)); return Promise.resolve(); }, new AbortController().signal);`;
  const quiet = ESCAPEE.replaceAll('echo flood >&2', 'sleep 0.2');
  const agent = execFile(process.execPath, ['--input-type=module', '-e', script, quiet, mark]);
  let said = '';
  agent.stdout?.on('data', (chunk: string) => {
    said += chunk;
  });
  await until(
    'its processes',
    async () => (await processesWith(mark)).filter((pid) => pid !== agent.pid).length >= 2,
  );
  agent.kill('SIGKILL');
  await until('the end of the agent', () => agent.signalCode !== null);
  expect((await processesWith(mark)).length).toBeGreaterThanOrEqual(2);
  const identity = JSON.parse(said) as ProcessIdentity;
  expect(identity.unit).toBeDefined();
  expect((await (await create()).fence(identity, 300)).ended).toBeGreaterThanOrEqual(2);
  expect(await processesWith(mark)).toEqual([]);
  expect(await (await create()).fence(identity, 300)).toEqual({ ended: 0 });
  expect(await readFile('/proc/1/comm', 'utf8')).toBe('systemd\n');
});
