import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createLog, journalLine, journalStream } from '../../src/host/log.ts';
import { redactedText } from '../../src/host/redact.ts';
import { startTestCloud } from '../support/cloud.ts';
import { createDevice } from '../support/device.ts';
import { until } from '../support/until.ts';

/** The log: stable texts with fields, priorities in the journal, no secrets, and silence when nothing happens. */

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname;
const ROOT = new URL('../../src/', import.meta.url).pathname;
const TEXT = /\blog(?:\(\))?\??\.(debug|info|warn|error)\(/g;

/** Every text that the sources log with its level. */
async function textsIn(): Promise<{ texts: string[]; odd: string[] }> {
  const texts = new Set<string>();
  const odd: string[] = [];
  for (const file of await readdir(ROOT, { recursive: true })) {
    if (!file.endsWith('.ts') || file.startsWith('simulator')) continue;
    const source = await readFile(join(ROOT, file), 'utf8');
    for (const match of source.matchAll(TEXT)) {
      const call = source.slice(match.index, endOfCall(source, match.index + match[0].length));
      const [, text] = /,\s*'((?:[^'\\]|\\.)*)',?\s*\)$/.exec(call) ?? [];
      if (text !== undefined) texts.add(`${match[1]}: ${text}`);
      // What the transport says is named where it is said.
      else if (!/\(fields, event\)$/.test(call)) odd.push(`${file}: ${call}`);
    }
    for (const [, text] of source.matchAll(/#?\blog\('(transport\.\w+)'/g)) texts.add(`info: ${text}`);
  }
  return { texts: [...texts].sort(), odd };
}

function endOfCall(source: string, from: number): number {
  let depth = 1;
  for (let at = from; at < source.length; at += 1) {
    if (source[at] === '(') depth += 1;
    else if (source[at] === ')') depth -= 1;
    if (depth === 0) return at + 1;
  }
  return source.length;
}

test('every text is a fixed one: what varies stands in fields, and people search for these', async () => {
  const { texts, odd } = await textsIn();
  expect(odd).toEqual([]);
  expect(texts.filter((text) => text.length > 80 || /[.!:]$|\n|=/.test(text))).toEqual([]);
  // People's searches and alarms have these: one may be added, and none may change.
  const published = (await readFile(new URL('log-texts.txt', import.meta.url), 'utf8')).trim().split('\n');
  expect(published.length).toBeGreaterThan(50);
  expect(published.filter((text) => !texts.includes(text))).toEqual([]);
});

test('in the journal: one line, the priority of its level, the text first, then the fields', () => {
  const lines: string[] = [];
  const log = createLog('debug', journalStream({ write: (line) => void lines.push(line) }));
  const job = log.child({ jobId: 'update-1', executionNumber: 2 });
  job.info({ outcome: 'rolled back' }, 'job closed');
  job.warn({ step: 3, reason: 'line\nline <3>"x"=1' }, 'an undo failed');
  job.error({ list: ['a', 'b'] }, 'broken');
  job.debug({ evil: '\u001b[31m' }, 'quiet');
  expect(lines).toEqual([
    '<6>job closed jobId=update-1 executionNumber=2 outcome="rolled back"\n',
    '<4>an undo failed jobId=update-1 executionNumber=2 step=3 reason="line\\nline <3>\\"x\\"=1"\n',
    '<3>broken jobId=update-1 executionNumber=2 list="[\\"a\\",\\"b\\"]"\n',
    '<7>quiet jobId=update-1 executionNumber=2 evil="\\u001b[31m"\n',
  ]);
  expect(journalLine('{"level":30,"msg":"x","empty":""}')).toBe('<6>x empty=""');
});

const PLANTED: readonly [string, string][] = [
  [
    'a presigned URL',
    'GET https://b.s3.amazonaws.com/k?X-Amz-Credential=PLANTED&X-Amz-Signature=PLANTED failed',
  ],
  ['a password of a proxy', 'cannot connect by http://user:PLANTED@proxy:3128'],
  ['a key', 'read -----BEGIN RSA PRIVATE KEY-----\nPLANTED\n-----END RSA PRIVATE KEY----- there'],
  ['a key that was cut', 'x -----BEGIN PRIVATE KEY-----\nPLANTED'],
  ['a bearer token', 'Authorization: Bearer PLANTED'],
  ['a PIN', 'pin: "PLANTED"'],
  ['a command line', 'mysql --password=PLANTED --host=x'],
  ['JSON', '{"sessionToken":"PLANTED","a":1}'],
];

test.each(PLANTED)('a secret is taken out: %s', (_, text) => {
  expect(redactedText(text)).not.toContain('PLANTED');
  const lines: string[] = [];
  const log = createLog('info', { write: (line) => void lines.push(line) });
  log.info({ reason: text, deep: { list: [{ why: text }] }, error: text }, 'said');
  expect(lines.join('')).not.toContain('PLANTED');
  expect(lines.join('')).toContain('"msg":"said"');
});

test('a secret is taken out by the name of its field, and what is none stays', () => {
  const lines: string[] = [];
  const log = createLog('info', { write: (line) => void lines.push(line) });
  const token = { certificateOwnershipToken: 'PLANTED', nested: { pin: 'PLANTED', privateKey: 'PLANTED' } };
  log.info({ ...token, clientId: 'boat-1', url: 'https://host/path', path: '/etc/token' }, 'said');
  expect(lines.join('')).not.toContain('PLANTED');
  expect(JSON.parse(lines.join(''))).toMatchObject({
    clientId: 'boat-1',
    url: 'https://host/path',
    path: '/etc/token',
  });
});

test('it knows the journal by its stream, and not by a variable that outlived it', {
  timeout: 90_000,
}, async () => {
  const simulator = await startTestCloud();
  simulator.service.createThing('journal');
  const device = await createDevice('journal', simulator.mqttUrl);
  const file = join(device.root, 'stdout');
  const said = async (stream: string): Promise<string> => {
    const command = `exec >>${file}; JOURNAL_STREAM=${stream} exec ${process.execPath} ${MAIN} run --config ${device.config}`;
    const child = spawn('sh', ['-c', command]);
    await until('a word', async () =>
      (await readFile(file, 'utf8').catch(() => '')).includes('evenkeel runs'),
    );
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
    const text = await readFile(file, 'utf8');
    await truncate(file);
    return text;
  };
  try {
    expect(await said('1:1')).toMatch(/^\{"level":30,.*"msg":"evenkeel runs"/m);
    const { dev, ino } = await stat(file);
    const lines = (await said(`${dev}:${ino}`)).trimEnd().split('\n');
    expect(lines.find((line) => line.includes('evenkeel runs'))).toMatch(
      /^<6>evenkeel runs thing=journal version=/,
    );
    expect(lines.filter((line) => !/^<[3467]>/.test(line))).toEqual([]);
  } finally {
    await device.remove();
    await simulator.close();
  }
});

test('an idle agent says nothing', { timeout: 90_000 }, async () => {
  const simulator = await startTestCloud();
  simulator.service.createThing('quiet');
  const device = await createDevice('quiet', simulator.mqttUrl);
  try {
    await device.start();
    await until('the link', () => device.log().includes('transport.up'));
    await sleep(1500);
    const said = device.log();
    await sleep(5000);
    expect(device.log()).toBe(said);
  } finally {
    await device.stop('SIGKILL');
    await device.remove();
    await simulator.close();
  }
});
