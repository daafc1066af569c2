import { readFile, rm } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Processes, ProcessIdentity, ProcessSpec } from '../../src/host/processes.ts';
import { processesWith } from '../support/device.ts';
import { until } from '../support/until.ts';

/** What every adapter of `Processes` promises (design: I5, and started only after its record). */
export function processesContract(name: string, create: () => Promise<Processes>): void {
  describe(name, () => {
    let processes: Processes;
    let mark: string;
    let serial = 0;
    beforeEach(async () => {
      processes = await create();
      serial += 1;
      mark = `/var/tmp/evenkeel-mark-${process.pid}-${serial}`;
    });
    afterEach(() => rm(mark, { force: true }));

    const spec = (script: string, more: Partial<ProcessSpec> = {}): ProcessSpec => ({
      name: 'contract',
      argv: ['/bin/sh', '-c', script, mark],
      cwd: '/',
      env: { PATH: '/usr/bin:/bin' },
      timeoutMs: 20_000,
      graceMs: 200,
      outputBytesMax: 1000,
      ...more,
    });
    const never = new AbortController().signal;
    const run = (script: string, more?: Partial<ProcessSpec>) =>
      processes.run(spec(script, more), () => Promise.resolve(), never);
    const alive = async (): Promise<boolean> => (await processesWith(mark)).length > 0;

    test('tells the end of a program, and keeps the tail of what it said', async () => {
      const result = await run('echo out; echo err >&2; echo err >&2; exit 7');
      expect(result).toMatchObject({
        exitCode: 7,
        signal: null,
        ended: null,
        stdoutTail: 'out\n',
        stderrLines: 2,
      });
    });

    test('output without end neither blocks the program nor fills the memory', async () => {
      const result = await run(
        'head -c 20000000 /dev/zero | tr "\\0" x; head -c 20000000 /dev/zero >&2; echo end',
      );
      expect(result.exitCode).toBe(0);
      expect(result.stdoutTail.length).toBeLessThanOrEqual(1000);
      expect(result.stdoutTail.endsWith('end\n')).toBe(true);
    });

    test('arguments are arguments, whatever they contain', async () => {
      const odd = '$(touch /var/tmp/never) `x`; "quoted" \'single\' \n ü *';
      const result = await run('', { argv: ['/usr/bin/printf', '%s', odd] });
      expect(result.stdoutTail).toBe(odd);
    });

    test('I4: the program has not begun while its record is written, and never begins when that fails', async () => {
      let begunBefore = true;
      await processes.run(
        spec('echo begun > "$0"'),
        async () => {
          begunBefore = await readFile(mark).then(
            () => true,
            () => false,
          );
        },
        never,
      );
      expect(begunBefore).toBe(false);
      await rm(mark);
      await expect(
        processes.run(spec('echo begun > "$0"'), () => Promise.reject(new Error('disk')), never),
      ).rejects.toThrow('disk');
      await expect(readFile(mark)).rejects.toThrow('ENOENT');
    });

    test('I5: an abort ends all of it: children, those who ignore TERM, and those who left the session', async () => {
      const stop = new AbortController();
      const script = `trap "" TERM; sh -c 'trap "" TERM; sleep 60' "$0" & setsid sh -c 'sleep 60; : '"$0" & sleep 60`;
      const running = processes.run(spec(script), () => Promise.resolve(), stop.signal);
      await until('its processes', async () => (await processesWith(mark)).length >= 3);
      stop.abort(new Error('stop'));
      expect(await running).toMatchObject({ ended: 'abort' });
      expect(await alive()).toBe(false);
    });

    test('a timeout ends it too', async () => {
      expect(await run('sleep 60', { timeoutMs: 100 })).toMatchObject({ ended: 'timeout' });
      expect(await alive()).toBe(false);
    });

    test('a signal from outside is told as one', async () => {
      expect(await run('kill -9 $$')).toMatchObject({ exitCode: null, signal: 'SIGKILL', ended: null });
    });

    test('what a finished program left running is counted, kept, and found by its identity', async () => {
      let identity: ProcessIdentity | undefined;
      const result = await processes.run(
        spec(`setsid sh -c 'sleep 60; : '"$0" > /dev/null 2>&1 & sleep 0.2`),
        (recorded) => {
          identity = recorded;
          return Promise.resolve();
        },
        never,
      );
      expect(result.exitCode).toBe(0);
      expect(result.survivors).toBeGreaterThan(0);
      expect(await alive()).toBe(true);
      // As after a restart: plain JSON, another instance.
      const restored = JSON.parse(JSON.stringify(identity)) as ProcessIdentity;
      await (await create()).fence(restored, 200);
      expect(await alive()).toBe(false);
      expect(await (await create()).fence(restored, 200)).toEqual({ ended: 0 });
    });

    test('what is unbroken is ended by neither an abort nor a fence: both wait, and what it said is in its file', async () => {
      const outputPath = `${mark}-output`;
      const unbroken = { outputPath };
      const stop = new AbortController();
      const running = processes.run(
        spec('echo begun; (sleep 1; echo more; sleep 0.2; echo end >&2; echo done > "$0")', { unbroken }),
        () => Promise.resolve(),
        stop.signal,
      );
      const begun = async (): Promise<boolean> => (await readFile(outputPath, 'utf8').catch(() => '')) !== '';
      await until('its first word', begun);
      stop.abort(new Error('stop'));
      expect(await running).toMatchObject({ exitCode: 0, ended: null, stdoutTail: 'begun\nmore\nend\n' });
      await rm(mark);
      await rm(outputPath);

      let identity: ProcessIdentity | undefined;
      // A daemon that it leaves is not waited for.
      const again = processes.run(
        spec('setsid sleep 60 & echo begun; sleep 1; echo done > "$0"', { unbroken }),
        (recorded) => {
          identity = recorded;
          return Promise.resolve();
        },
        never,
      );
      await until('its first word', begun);
      await (await create()).fence(JSON.parse(JSON.stringify(identity)) as ProcessIdentity, 200);
      expect(await readFile(mark, 'utf8')).toBe('done\n');
      expect(await again).toMatchObject({ exitCode: 0 });
      await rm(outputPath);
    });

    test('what is unbroken is ended all the same once its time is over', async () => {
      const outputPath = `${mark}-output`;
      const result = await run('sleep 60', { timeoutMs: 300, unbroken: { outputPath } });
      expect(result).toMatchObject({ ended: 'timeout' });
      expect(await alive()).toBe(false);
      await rm(outputPath);
    });

    test('an identity of another boot, or of a pid that is another process now, ends nothing', async () => {
      const innocent = { name: 'x', pid: process.pid, startTime: '1', bootId: 'another', token: 'none' };
      expect(await processes.fence(innocent, 100)).toEqual({ ended: 0 });
    });

    test('what cannot be run is said, and nothing else is run instead', async () => {
      await expect(run('', { argv: ['/no/such/program'] })).rejects.toThrow(/cannot run \/no\/such\/program/);
      await expect(run('true', { user: 'nobody-of-that-name' })).rejects.toThrow(/cannot run/);
      await expect(run('', { argv: ['/bin/echo', 'a\0b'] })).rejects.toThrow(/NUL/);
    });
  });
}
