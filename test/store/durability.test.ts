import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Disk } from '../../src/host/disk.ts';
import { ensureDirectory, writeFileAtomic } from '../../src/store/atomic-file.ts';
import {
  createExecutionDirectory,
  executionsDirectory,
  listExecutions,
} from '../../src/store/execution-directory.ts';
import { openJournal } from '../../src/store/journal.ts';
import { createForgetfulDisk } from '../support/forgetful-disk.ts';
import { randomFrom } from '../support/random.ts';

const CUTS = 40;

test('a directory that a killed life made is durable for the next one that needs it', async () => {
  for (let seed = 1; seed <= CUTS; seed += 1) {
    const forgetful = createForgetfulDisk();
    await new Promise<void>((resolve) => {
      const life = forgetful.begin(({ name }) =>
        name === 'mkdir' ? { kind: 'end', when: 'after', finish: resolve } : undefined,
      );
      void ensureDirectory(life.disk, '/state');
    });
    const { disk } = forgetful.begin();
    await ensureDirectory(disk, '/state');
    forgetful.cut(randomFrom(seed));
    expect(forgetful.files.readDirectory('/')).toEqual(['state']);
  }
});

test('a directory is found below a link, and below one that must not be opened', async () => {
  const { files, begin } = createForgetfulDisk();
  files.mkdir('/real', 0o755);
  files.symlink('/real', '/link');
  await ensureDirectory(begin().disk, '/link/state/executions');
  expect(files.readDirectory('/real/state')).toEqual(['executions']);
  const { disk } = begin();
  const closed: Disk = {
    ...disk,
    openDirectory: () => Promise.reject(Object.assign(new Error('no'), { code: 'EACCES' })),
  };
  await ensureDirectory(closed, '/real/state');
});

test('a file that is replaced as a whole is old or new, and durable when it is called written', async () => {
  const found = new Set<string>();
  for (let seed = 1; seed <= CUTS; seed += 1) {
    for (const operations of [3, 5, 6, 7, 99]) {
      const forgetful = createForgetfulDisk();
      const { disk } = forgetful.begin();
      await writeFileAtomic(disk, '/file', Buffer.from('old'.repeat(400)));
      let count = 0;
      const done = await new Promise<boolean>((resolve) => {
        const life = forgetful.begin(() => {
          count += 1;
          if (count !== operations) return undefined;
          return { kind: 'end', when: 'after', finish: () => resolve(false) };
        });
        void writeFileAtomic(life.disk, '/file', Buffer.from('new'.repeat(500))).then(() => resolve(true));
      });
      forgetful.cut(randomFrom(seed));
      const text = Buffer.from(forgetful.files.open('/file', 0).content()).toString();
      if (done) expect(text).toBe('new'.repeat(500));
      found.add(text);
    }
  }
  expect([...found].sort()).toEqual(['new'.repeat(500), 'old'.repeat(400)]);
});

test('an execution whose directory a killed life had just named keeps that name', async () => {
  for (let seed = 1; seed <= CUTS; seed += 1) {
    const forgetful = createForgetfulDisk();
    const name = { thing: 't', jobId: 'j', executionNumber: 1, queuedAt: 1 };
    const execution = { plan: {}, capacityBlocks: 4, head: () => ({ type: 'received' }) };
    await new Promise<void>((resolve) => {
      const life = forgetful.begin(({ name: operation, path }) =>
        operation === 'rename' && !path.includes('plan.json')
          ? { kind: 'end', when: 'after', finish: resolve }
          : undefined,
      );
      void createExecutionDirectory(life.disk, '/state', name, execution);
    });
    const { disk } = forgetful.begin();
    const [key] = await listExecutions(disk, '/state');
    const opened = await openJournal(disk, join(executionsDirectory('/state'), key!, 'journal'));
    expect(opened.kind).toBe('ok');
    forgetful.cut(randomFrom(seed));
    expect(await listExecutions(forgetful.begin().disk, '/state')).toEqual([key]);
  }
});
