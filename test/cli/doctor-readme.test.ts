import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { drawn } from '../../src/cli/doctor/table.ts';
import { answering, brokerThat, createPatient, finding, HURRIED, type Patient } from './patient.ts';

/** The transcript of the README, and other faults of which thing this is. */

const README = new URL('../../README.md', import.meta.url);
const TEST_MS = 60_000;

let patient: Patient;
beforeEach(async () => {
  patient = await createPatient();
});
afterEach(() => patient.remove());

/** A broker whose policy lacks one filter. */
async function withoutNotifyNext(): Promise<string> {
  const port = await brokerThat((packet) => {
    if (packet.cmd !== 'subscribe') return answering(packet);
    const denied = packet.subscriptions.some(({ topic }) => topic.endsWith('/notify-next'));
    return { cmd: 'suback', messageId: packet.messageId ?? 0, granted: [denied ? 0x87 : 1] };
  }, patient);
  return `mqtt://127.0.0.1:${port}`;
}

test('the README shows what doctor prints of the link', { timeout: TEST_MS }, async () => {
  await patient.configure({ thing: 'boat-1', connection: { url: await withoutNotifyNext() } });
  const report = await patient.examined();
  const lines = drawn(report, { columns: 100, colour: false }).split('\n');
  const from = lines.findIndex((line) => line.includes('✓ CONNECT'));
  // Warnings are of the machine that the test runs on.
  const made = lines
    .slice(from)
    .join('\n')
    .trimEnd()
    .replace(/(; \d+ more below it may only follow)?(, \d+ to look at)?$/, '');
  const [, shown = ''] = /```text\nlink\n([\s\S]*?)\n```/.exec(await readFile(README, 'utf8')) ?? [];
  expect(shown).toBe(made);
});

test.each([80, 120])(
  'at %i columns no line is longer, but for what is to be copied',
  { timeout: TEST_MS },
  async (columns) => {
    await patient.configure({ thing: 'boat-1', connection: { url: await withoutNotifyNext() } });
    const report = await patient.examined();
    const copied = (line: string): boolean => /[{/]\S{20,}/.test(line);
    for (const colour of [false, true]) {
      const text = drawn(report, { columns, colour });
      expect(text.includes('\u001b')).toBe(colour);
      const plain = text.replaceAll(/\u001b\[\d+m/g, '');
      const long = plain.split('\n').filter((line) => line.length > columns && !copied(line));
      expect(long).toEqual([]);
    }
  },
);

test('the thing of the configuration is not the one that the cloud knows', { timeout: TEST_MS }, async () => {
  const port = await brokerThat(
    (packet) => (packet.cmd === 'publish' ? { cmd: 'puback', messageId: packet.messageId ?? 0 } : undefined),
    patient,
  );
  await patient.configure({ thing: 'boat-one', connection: { url: `mqtt://127.0.0.1:${port}` } });
  const report = await patient.examined({ clock: HURRIED });
  expect(report.cause).toMatchObject({ name: 'PUBLISH $next/get' });
  expect(report.cause?.detail).toContain('the thing boat-one does not exist');
  expect(report.cause?.fix).toContain('describe-thing --thing-name boat-one');
  expect(finding(report, 'CONNECT')).toMatchObject({ result: 'ok' });
});
