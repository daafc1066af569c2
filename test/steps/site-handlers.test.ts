import { createHash } from 'node:crypto';
import * as fs from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Admission, admit } from '../../src/agent/admission.ts';
import { defaultConfig } from '../../src/config/config.ts';
import { readDocument } from '../../src/document/document.ts';
import type { PlanStep } from '../../src/document/plan.ts';
import { nodeDisk } from '../../src/host/node-disk.ts';
import { stepTypeOf } from '../../src/steps/registry.ts';
import { withSiteHandlers } from '../../src/steps/site-handlers.ts';
import { STOCK_HASHES } from '../../src/steps/stock-hashes.ts';
import { memorySystemd } from '../support/memory-systemd.ts';
import { type Bench, createBench } from './bench.ts';

/** Handlers as a site has them: stock ones, changed ones, and its own with a manifest beside them. */

let bench: Bench;
let handlers: string;
beforeEach(async () => {
  bench = await createBench();
  handlers = join(bench.root, 'handlers');
  await fs.mkdir(handlers, { mode: 0o755 });
});
afterEach(() => bench.remove());

async function script(name: string, text: string, mode = 0o700): Promise<void> {
  await fs.writeFile(join(handlers, name), text);
  await fs.chmod(join(handlers, name), mode);
}

const documentOf = (handler: string, args: string[], more: object = {}): object => ({
  version: '1.0',
  steps: [{ action: { name: 'it', type: 'runHandler', input: { handler, args, path: 'default' }, ...more } }],
});

async function admitted(document: object, policy: object = {}): Promise<Admission> {
  const any = bench.step({ type: 'check', input: { command: 'true' } });
  return await admit(document, {
    facts: {},
    policy: { ...defaultConfig().policy, allowHttp: true, deniedPaths: [], ...policy },
    disk: nodeDisk,
    context: bench.context(any),
    reserveBytes: 0,
  });
}

async function planned(document: object): Promise<PlanStep> {
  const admission = await admitted(document);
  if (admission.kind !== 'admissible') throw new Error(JSON.stringify(admission));
  return admission.plan.steps[0]!;
}

const download = (): object => documentOf('download-file.sh', ['http://h/file?x=1', bench.path('file')]);
const OWN_DOWNLOAD = `#!/bin/sh\nprintf '%s\\n' "$@" > "$3"\nmkdir -p "$3.d"\n`;

describe('a stock handler', () => {
  test('is a built-in step where the site has no such script', async () => {
    expect(await planned(download())).toMatchObject({ type: 'downloadFile', grade: 'full' });
    expect(await planned(download())).not.toHaveProperty('wrapped');
  });

  test.each(['as it is', 'behind a link'])(
    'is a built-in step where the site has it as it was shipped, %s',
    async (how) => {
      await script('download-file.sh', OWN_DOWNLOAD);
      if (how === 'behind a link') {
        await fs.rename(join(handlers, 'download-file.sh'), join(bench.root, 'shipped'));
        await fs.symlink(join(bench.root, 'shipped'), join(handlers, 'download-file.sh'));
      }
      const read = readDocument(download(), {});
      if (!read.ok) throw new Error('not read');
      const hash = createHash('sha256').update(OWN_DOWNLOAD).digest('hex');
      const { settings } = bench.context(read.plan.steps[0]!);
      const own = await withSiteHandlers(
        read.plan,
        { disk: nodeDisk, settings },
        { 'download-file.sh': [hash] },
      );
      expect(own).toEqual({ plan: read.plan, problems: [] });
    },
  );

  test('is known by every version that has been shipped, each once', () => {
    const all = Object.values(STOCK_HASHES).flat();
    expect(all.every((hash) => /^[0-9a-f]{64}$/.test(hash))).toBe(true);
    expect(new Set(all).size).toBe(all.length);
    expect(Object.keys(STOCK_HASHES).sort()).toEqual(
      [
        ...[
          'download-file',
          'health-check',
          'install-packages',
          'reboot',
          'remove-packages',
          'restart-services',
        ],
        ...[
          'shutdown',
          'start-services',
          'stop-services',
          'verify-packages-installed',
          'verify-packages-removed',
        ],
      ].map((name) => `${name}.sh`),
    );
  });

  test('that the site has changed runs as it wrote it, with a before-image around it', async () => {
    await script('download-file.sh', OWN_DOWNLOAD);
    await fs.writeFile(bench.path('file'), 'old');
    const before = await bench.tree();
    const step = await planned(
      documentOf('download-file.sh', ['http://h/file?x=1', bench.path('file')], { runAsUser: 'root' }),
    );
    expect(step).toMatchObject({
      type: 'downloadFile',
      wrapped: true,
      grade: 'bestEffort',
      idempotent: false,
    });
    expect((await bench.survey(step)).notes).toContain("runs the site's own download-file.sh");
    const image = await bench.prepare(step);
    const done = await bench.do(step, image);
    expect(done).toMatchObject({ result: 'ok' });
    expect(await fs.readFile(bench.path('file'), 'utf8')).toBe(
      `root\nhttp://h/file?x=1\n${bench.path('file')}\n`,
    );
    await bench.undo(step, image, done.result === 'ok' ? done.after : undefined);
    // What the script does besides, nobody has declared.
    await fs.rmdir(bench.path('file.d'));
    expect(await bench.tree()).toEqual(before);
  });

  test('that the site has changed leaves units whose state is known, as the built-in step does', async () => {
    await script('stop-services.sh', '#!/bin/sh\nexit 0\n');
    const read = readDocument(documentOf('stop-services.sh', ['app']), {});
    if (!read.ok) throw new Error('not read');
    const context = {
      ...bench.context(read.plan.steps[0]!),
      systemd: memorySystemd({ 'app.service': { up: true } }),
    };
    const [step] = (await withSiteHandlers(read.plan, context)).plan.steps;
    const attempt = { number: 1, record: () => Promise.resolve() };
    const prepared = await stepTypeOf(step!).prepare(step!, context);
    if (!prepared.ok) throw new Error(prepared.reason);
    const done = await stepTypeOf(step!).do(
      step!,
      prepared.before,
      attempt,
      context,
      new AbortController().signal,
    );
    // What it is, not what it should be: the script has done nothing.
    expect(done).toMatchObject({
      after: { resources: [{ id: 'unit:app.service', fingerprint: 'unit active' }] },
    });
    expect(context.systemd.asked).toEqual([]);
  });

  test('that the site has changed, and that fails, fails the step', async () => {
    await script('download-file.sh', '#!/bin/sh\necho broken >&2; exit 3\n');
    const step = await planned(download());
    expect(await bench.do(step, await bench.prepare(step))).toMatchObject({
      result: 'failed',
      reason: 'exit status 3',
      output: { stderr: 'broken\n' },
    });
  });

  test('that only looks may do anything where the site has changed it', async () => {
    await script('echo', '#!/bin/sh\nexit 0\n');
    await script('health-check.sh', '#!/bin/sh\nexit 0\n');
    for (const handler of ['echo', 'health-check.sh'])
      expect(await planned(documentOf(handler, ['x']))).toMatchObject({
        type: 'runHandler',
        handler,
        args: ['x'],
      });
    expect(await planned(documentOf('echo', ['x']))).not.toHaveProperty('check');
  });

  test.each<[string, (path: string) => Promise<void>, RegExp]>([
    ['others can write', (path) => fs.chmod(path, 0o777), /must not be writable/],
    ['belongs to a user', (path) => fs.chown(path, 65534, 65534), /must belong to root/],
    ['cannot be run', (path) => fs.chmod(path, 0o600), /is not executable/],
  ])('whose script %s is REJECTED, not run and not played by the built-in', async (_, spoil, reason) => {
    await script('download-file.sh', OWN_DOWNLOAD);
    await spoil(join(handlers, 'download-file.sh'));
    const admission = await admitted(download());
    expect(admission).toMatchObject({ kind: 'refused', reason: expect.stringMatching(reason) as string });
  });

  test('is judged as a handler by the policy where it is one', async () => {
    expect(await admitted(download(), { allowedHandlers: ['mine.sh'] })).toMatchObject({
      kind: 'admissible',
    });
    await script('download-file.sh', OWN_DOWNLOAD);
    expect(await admitted(download(), { allowedHandlers: ['mine.sh'] })).toMatchObject({
      kind: 'refused',
      reason: 'steps[0].action.input.handler: policy.allowedHandlers does not allow download-file.sh',
    });
  });

  test('behind a pivot it must be idempotent, which a manifest may say', async () => {
    const pivot = { action: { name: 'go', type: 'check', input: { command: 'true' }, pivot: true } };
    const { steps } = download() as { steps: object[] };
    const document = {
      version: '1.0',
      steps: [
        pivot,
        ...steps.map((one) => ({ action: { ...(one as { action: object }).action, idempotent: true } })),
      ],
    };
    await script('download-file.sh', OWN_DOWNLOAD);
    expect(await admitted(document)).toMatchObject({
      kind: 'refused',
      reason: expect.stringContaining('steps[1].action: must be idempotent') as string,
    });
    await fs.writeFile(join(handlers, 'download-file.manifest.json'), '{"idempotent":true}');
    expect(await admitted({ ...document, steps: document.steps.slice(1) })).toMatchObject({
      kind: 'admissible',
    });
  });

  test('a file goes into a directory that is there, by the name in its url without the query', async () => {
    await fs.mkdir(bench.path('into'));
    for (const target of [bench.path('into'), `${bench.path('into')}/`]) {
      const step = await planned(documentOf('download-file.sh', ['http://h/a%20b.bin?x=1', target]));
      expect(step).toMatchObject({
        target: bench.path('into/a b.bin'),
        touches: [`path:${bench.path('into/a b.bin')}`],
      });
    }
    for (const url of ['http://h/', 'http://h/..%2f..%2fetc', 'http://h/%2e%2e'])
      expect(await planned(documentOf('download-file.sh', [url, `${bench.path('into')}/`]))).toMatchObject({
        target: bench.path('into/index.html'),
      });
  });
});

describe("a handler of the site's own", () => {
  const own = (more: object = {}): object => documentOf('own.sh', ['x'], more);
  const manifest = (said: object): Promise<void> =>
    fs.writeFile(join(handlers, 'own.manifest.json'), JSON.stringify(said));
  beforeEach(() => script('own.sh', `#!/bin/sh\necho "$2" > ${bench.path('data')}\n`));

  test('has no undo where nothing declares one', async () => {
    expect(await admitted(own())).toMatchObject({ kind: 'admissible', grade: 'none' });
  });

  test('is undone by what its manifest declares', async () => {
    await manifest({ snapshotPaths: [bench.path('data')], timeoutSeconds: 60, idempotent: true });
    expect(await admitted(own())).toMatchObject({ kind: 'admissible', grade: 'full' });
    const step = await planned(own());
    expect(step).toMatchObject({
      touches: [`path:${bench.path('data')}`],
      timeoutSeconds: 60,
      idempotent: true,
    });
    const before = await bench.tree();
    const image = await bench.prepare(step);
    const done = await bench.do(step, image);
    expect(await fs.readFile(bench.path('data'), 'utf8')).toBe('x\n');
    await bench.undo(step, image, done.result === 'ok' ? done.after : undefined);
    expect(await bench.tree()).toEqual(before);
  });

  test('its undo is the one of the manifest, unless the document has one', async () => {
    await manifest({ undo: ['/bin/rm', bench.path('data')] });
    expect(await planned(own())).toMatchObject({ undo: ['/bin/rm', bench.path('data')] });
    expect(await admitted(own(), { allowedCommands: ['/bin/true'] })).toMatchObject({ grade: 'bestEffort' });
    expect(await planned(own({ undo: 'true' }))).toMatchObject({ undo: ['true'] });
    expect(await admitted(own({ undo: 'true' }), { allowedCommands: ['/bin/true'] })).toMatchObject({
      reason: 'steps[0].action.undo: policy.allowedCommands does not allow true',
    });
  });

  test('the policy holds for what a manifest declares, and names the handler', async () => {
    await manifest({ snapshotPaths: [bench.path('data')] });
    const refused = await admitted(own({ snapshotPaths: ['/srv/x'] }), { allowedPaths: ['/opt'] });
    expect(refused).toMatchObject({
      reason: [
        'steps[0].action.snapshotPaths: policy.allowedPaths does not allow /srv/x',
        `steps[0].action.input.handler: policy.allowedPaths does not allow ${bench.path('data')}`,
      ].join('; '),
    });
  });

  test.each<[string, () => Promise<void>, RegExp]>([
    [
      'a key that is misspelt',
      () => manifest({ snapshotPath: [] }),
      /own.manifest.json: snapshotPath is not known/,
    ],
    [
      'a path that leads elsewhere',
      () => manifest({ snapshotPaths: ['/a/../b'] }),
      /snapshotPaths\[0\] must be a path/,
    ],
    [
      'what is no JSON',
      () => fs.writeFile(join(handlers, 'own.manifest.json'), '{'),
      /cannot read .*own.manifest.json/,
    ],
    ['what is no object', () => fs.writeFile(join(handlers, 'own.manifest.json'), '7'), /must be an object/],
    [
      'others that can write',
      async () => {
        await manifest({});
        await fs.chmod(join(handlers, 'own.manifest.json'), 0o666);
      },
      /must not be writable/,
    ],
    [
      'a link out of the directory',
      async () => {
        await fs.writeFile(join(bench.root, 'elsewhere'), '{}');
        await fs.symlink(join(bench.root, 'elsewhere'), join(handlers, 'own.manifest.json'));
      },
      /leads out of/,
    ],
  ])('a manifest with %s is REJECTED', async (_, make, reason) => {
    await make();
    expect(await admitted(own())).toMatchObject({
      kind: 'refused',
      reason: expect.stringMatching(reason) as string,
    });
  });
});

test("the built-in's own undo is not replaced by a manifest", async () => {
  await script('download-file.sh', OWN_DOWNLOAD);
  await fs.writeFile(join(handlers, 'download-file.manifest.json'), JSON.stringify({ undo: 'true' }));
  expect(await admitted(download())).toMatchObject({
    kind: 'refused',
    reason: expect.stringContaining('undo is not for a handler whose undo is built in') as string,
  });
  await fs.writeFile(
    join(handlers, 'download-file.manifest.json'),
    JSON.stringify({ snapshotPaths: [bench.path('file.d')] }),
  );
  const before = await bench.tree();
  const step = await planned(download());
  const image = await bench.prepare(step);
  const done = await bench.do(step, image);
  expect(done).toMatchObject({ result: 'ok' });
  await bench.undo(step, image, done.result === 'ok' ? done.after : undefined);
  expect(await bench.tree()).toEqual(before);
});
