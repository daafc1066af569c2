import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { pageOf } from '../../src/cli/story/page/page.ts';
import { paintFor, storyLines } from '../../src/cli/story/paper.ts';
import { type Story, storyOf } from '../../src/cli/story/story.ts';
import { readDocument } from '../../src/document/document.ts';
import type { Plan } from '../../src/document/plan.ts';
import { fold } from '../../src/execution/progress.ts';
import type { ExecutionRecord, StampedRecord } from '../../src/execution/records.ts';
import type { Images } from '../../src/execution/verdict.ts';
import { type Browser, startChromium } from '../support/chromium.ts';

/** `show JOB --html`: one page that asks for nothing and runs nothing, whatever a document has put into it. */

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const EVIL = `"><script>document.title='owned'</script><img src=http://127.0.0.1:9/x onerror=alert(1)>`;
const BEFORE = `file 640 0:0 ${'a'.repeat(64)}`;
const AFTER = `file 600 0:0 ${'b'.repeat(64)}`;

let site: Server;
/** What the site serves; it sends no policy of its own. */
let served = '';
let browser: Browser;

beforeAll(async () => {
  site = createServer((request, response) => {
    if (request.url !== '/') response.writeHead(404).end();
    else response.setHeader('content-type', 'text/html').end(served);
  }).listen(0, '127.0.0.1');
  await once(site, 'listening');
  browser = await startChromium();
});
afterAll(async () => {
  await browser.close();
  site.closeAllConnections();
  site.close();
});

function planOf(names: readonly string[]): Plan {
  const steps = names.map((name, index) => ({
    action: { name, type: 'writeFile', input: { path: `/etc/app/${index}.conf`, content: 'x' } },
  }));
  const read = readDocument({ version: '1.0', steps }, { thing: 'boat-1' });
  if (!read.ok) throw new Error(JSON.stringify(read));
  return read.plan;
}

/** The story that these records tell; each is a second and a half after the one before. */
function storyFrom(jobId: string, plan: Plan, records: readonly ExecutionRecord[]): Story {
  const received: ExecutionRecord = {
    type: 'received',
    format: 1,
    identity: { thing: 'boat-1', jobId, executionNumber: 1, queuedAt: 1_700_000_000 },
    origin: { endpoint: 'x', machineId: 'm' },
    agentVersion: '0.1.0',
    bootId: 'b',
    planSha256: '',
    grades: plan.steps.map(() => 'full'),
    versionNumber: 1,
  };
  const stamped = [received, ...records].map((record, index) => ({
    ...record,
    at: Date.UTC(2026, 10, 24, 3, 12, 4) + index * 1500,
  })) as StampedRecord[];
  const resources = (index: number, fingerprint: string) => ({
    resources: [{ id: `path:/etc/app/${index}.conf`, fingerprint, image: null }],
  });
  const attempted = plan.steps.filter(({ index }) =>
    records.some((one) => 'step' in one && one.step === index),
  );
  const done = plan.steps.filter(({ index }) =>
    records.some((one) => one.type === 'done' && one.step === index),
  );
  const images = {
    before: new Map(attempted.map(({ index }) => [index, resources(index, BEFORE)])),
    after: new Map(done.map(({ index }) => [index, resources(index, AFTER)])),
  } as unknown as Images;
  return storyOf({ key: 'k', records: stamped, progress: fold(stamped) }, plan, images);
}

const image = { inline: null };
const step = (index: number): ExecutionRecord[] => [
  { type: 'ready', step: index, before: image },
  { type: 'attempt', step: index, attempt: 1, bootId: 'b' },
  { type: 'done', step: index, after: image },
];
const undo = (index: number): ExecutionRecord[] => [
  { type: 'undo', step: index, attempt: 1 },
  { type: 'undone', step: index, kept: [{ id: 'path:/etc/app/0.conf', keptAs: 'kept/0-0' }] },
];

const STARTED: ExecutionRecord = { type: 'started', versionNumber: 2 };

function inconsistent(jobId: string, names: readonly string[]): Story {
  return storyFrom(jobId, planOf(names), [
    STARTED,
    ...step(0),
    ...step(1),
    { type: 'ready', step: 2, before: image },
    { type: 'attempt', step: 2, attempt: 1, bootId: 'b' },
    { type: 'failed', step: 2, reason: `exit status 3 ${names[2]}` },
    { type: 'aborted', cause: { by: 'step', step: 2, reason: `exit status 3 ${names[2]}` } },
    ...undo(2),
    ...undo(1),
    ...undo(0),
    { type: 'settled' },
    {
      type: 'judged',
      verdict: {
        outcome: 'inconsistent',
        verified: false,
        items: [{ id: 'path:/etc/app/0.conf', found: 'neither' }],
        notUndone: [],
      },
    },
    { type: 'reported', cloudStatus: 'REJECTED' },
    { type: 'closed' },
  ]);
}

const outputs = (text: string) => ({
  key: 'k',
  jobId: 'j',
  executionNumber: 1,
  runs: [
    { step: 3, name: text, direction: 'do' as const, attempt: 1, at: 0, stdout: text, stderr: `${text}\n` },
  ],
});

const here = (): string => `http://127.0.0.1:${(site.address() as { port: number }).port}/`;

async function opened(story: Story, said = outputs('all fine'), width = 1280) {
  served = pageOf(story, said);
  return await browser.open(here(), { width, height: 1500 });
}

test('hostile names, reasons and outputs are text: nothing is asked for, nothing runs', async () => {
  const page = await opened(
    inconsistent(EVIL, [EVIL, `${EVIL}2`, `${EVIL}3`]),
    outputs(`${EVIL}\u0007</pre>`),
  );
  await page.sees('neither old nor new');
  expect(await page.evaluate<string>('document.title')).toContain('<script>');
  expect(await page.evaluate<number>("document.querySelectorAll('script, img, link, iframe').length")).toBe(
    0,
  );
  expect(await page.evaluate<string>("document.querySelector('pre').textContent")).toBe(
    `${EVIL}\\u0007</pre>`,
  );
  expect(page.requests).toEqual([here()]);
  expect(page.problems).toEqual([]);
  await page.close();
});

test('its policy holds for what somebody would put in later', async () => {
  const page = await opened(inconsistent('job', ['a', 'b', 'c']));
  await page.sees('job#1');
  await page.evaluate(`{
    const script = document.createElement('script');
    script.textContent = "document.title = 'owned'";
    document.body.append(script);
    const style = document.createElement('style');
    style.textContent = 'body { display: none }';
    document.head.append(style);
  }`);
  expect(await page.evaluate<string>('document.title')).not.toBe('owned');
  expect(await page.evaluate<string>('getComputedStyle(document.body).display')).toBe('block');
  await page.close();
});

test('steps, resources and advice stand in it; what differs is marked', async () => {
  const page = await opened(inconsistent('update-7', ['configure', 'fetch', 'migrate']));
  await page.sees('update-7#1');
  await page.sees('evenkeel resolve update-7', '.advice');
  expect(await page.evaluate<number>("document.querySelectorAll('.resource.differs').length")).toBe(1);
  expect(await page.evaluate<string>("document.querySelector('.resource.differs code').textContent")).toBe(
    '/etc/app/0.conf',
  );
  const marks = "[...document.querySelectorAll('.resource.differs mark')].map((one) => one.textContent)";
  expect(await page.evaluate<string[]>(marks)).toEqual([
    '640',
    `${'a'.repeat(12)}…`,
    '600',
    `${'b'.repeat(12)}…`,
  ]);
  // Three rows of steps: forward and back of the first two, and a failure with its undo of the last.
  const bars =
    "[...document.querySelectorAll('.row')].map((row) => [...row.querySelectorAll('rect[class^=seg]')].map((one) => one.getAttribute('class')))";
  expect(await page.evaluate<string[][]>(bars)).toEqual([
    ['seg-do', 'seg-undo'],
    ['seg-do', 'seg-undo'],
    ['seg-do', 'seg-undo'],
    ['seg-bad', 'seg-undo'],
  ]);
  await page.close();
});

test('it can be read in the light, in the dark and on a phone', async () => {
  const grounds: string[] = [];
  for (const scheme of ['light', 'dark'] as const) {
    for (const width of [1280, 390]) {
      const page = await opened(
        inconsistent('update-7', ['configure', 'fetch-the-new-application', 'migrate']),
      );
      await page.emulate({ scheme, width });
      await page.sees('update-7#1');
      grounds.push(await page.evaluate<string>('getComputedStyle(document.body).backgroundColor'));
      expect(await page.evaluate<number>('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width);
      await page.screenshot(`story-${scheme}-${width}`);
      await page.close();
    }
  }
  expect(new Set(grounds).size).toBe(2);
});

test('a story of one moment, and one whose clock was set back, are drawn inside their bars', () => {
  const story = inconsistent('update-8', ['a', 'b', 'c']);
  const back = {
    ...story,
    events: story.events.map((event, index) => ({ ...event, sinceStartMs: index % 2 === 0 ? 0 : -5000 })),
  };
  for (const one of [{ ...story, events: story.events.slice(0, 1) }, back]) {
    const numbers = [...pageOf(one, undefined).matchAll(/ (?:x|x1|x2|width)="([^"]+)"/g)].map(([, value]) =>
      Number(value),
    );
    expect(numbers.every((value) => value >= 0 && value <= 1000)).toBe(true);
  }
});

test('the same story in a terminal: what to do comes last', () => {
  const lines = storyLines(inconsistent('update-7', ['configure', 'fetch', 'migrate']), paintFor({}));
  expect(lines[0]).toBe('update-7#1  the device is INCONSISTENT');
  expect(lines).toContain('  NEITHER  /etc/app/0.conf');
  expect(lines.indexOf('what to do')).toBeGreaterThan(lines.indexOf('what happened'));
  expect(lines.slice(lines.indexOf('what to do')).join('\n')).toContain('evenkeel resolve update-7');
});
