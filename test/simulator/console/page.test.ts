import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import { promisify } from 'node:util';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { loadConfig } from '../../../src/config/load.ts';
import { systemClock } from '../../../src/host/clock.ts';
import { type Simulator, startSimulator } from '../../../src/simulator/index.ts';
import { thingArn } from '../../../src/simulator/service/jobs-service.ts';
import { type Browser, type Page, startChromium } from '../../support/chromium.ts';
import { until } from '../../support/until.ts';

/** The console as a person has it: in a real browser, with a real device at the other end. */

let browser: Browser;
let simulator: Simulator;
let page: Page;
const devices: MqttClient[] = [];

beforeAll(async () => {
  browser = await startChromium();
});
afterAll(async () => {
  await browser.close();
});
beforeEach(async () => {
  simulator = await startSimulator({ clock: systemClock });
  page = await browser.open(`${simulator.httpUrl}/`);
  await page.sees('Live', '#link');
});
afterEach(async () => {
  // Whatever a test does: no error, no broken policy, nobody else asked.
  const { problems, requests } = page;
  await page.close();
  for (const device of devices.splice(0)) await device.endAsync(true);
  await simulator.close();
  expect(problems).toEqual([]);
  expect(requests.filter((url) => !url.startsWith(simulator.httpUrl))).toEqual([]);
});

async function connectDevice(thing: string): Promise<MqttClient> {
  const device = await connectAsync(simulator.mqttUrl, { clientId: thing });
  devices.push(device);
  await device.subscribeAsync(`$aws/things/${thing}/jobs/notify-next`, { qos: 1 });
  return device;
}

const publish = (device: MqttClient, topic: string, body: object) =>
  device.publishAsync(`$aws/things/${topic}`, JSON.stringify(body), { qos: 1 });

const createJob = (jobId: string, things: string[], document: object = { a: 1 }) =>
  simulator.service.createJob({ jobId, targets: things.map(thingArn), document: JSON.stringify(document) });

const receipt = (jobId: string) => ({
  state: {
    reported: {
      condition: 'well',
      receipt: {
        jobId,
        executionNumber: 1,
        outcome: 'rolledBack',
        deviceState: 'old',
        verified: true,
        undone: ['switch', 'download'],
        notUndone: [],
        items: [],
        cause: { kind: 'cloud', reason: 'CANCELED' },
      },
    },
  },
});

/** Texts whose contrast with what lies behind them is below WCAG AA. */
const FAINT = `(() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const [r, g, b, a = 1] = rgb(getComputedStyle(one).backgroundColor);
      if (a > 0.99) return [r, g, b];
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('body *')].filter((one) => one.checkVisibility())
    .filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.nodeValue.trim() !== ''))
    .flatMap((one) => {
      const [a, b] = [light(rgb(getComputedStyle(one).color)), light(behind(one))].sort((x, y) => y - x);
      const ratio = (a + 0.05) / (b + 0.05);
      return ratio < 4.5 ? [one.className + ' ' + one.textContent.slice(0, 40) + ' ' + ratio.toFixed(2)] : [];
    });
})()`;

test('an empty simulator says what to do first, with commands that can be copied', async () => {
  await page.sees('aws iot create-thing');
  await page.sees(simulator.mqttUrl);
  await page.screenshot('empty-light');
  await page.emulate({ scheme: 'dark' });
  await page.screenshot('empty-dark');
  await page.click('#detail .command button');
  await page.sees('Copied', '#detail .command button');
  expect(await page.evaluate('navigator.clipboard.readText()')).toBe(
    `aws iot create-thing --thing-name my-thing --endpoint-url ${simulator.httpUrl}`,
  );
});

test('the line that runs the agent gives it a configuration that it takes, for the thing that is shown', async () => {
  simulator.service.createThing('pump-1');
  await page.evaluate(`location.hash = '#/things/pump-1'`);
  await page.sees('Connect it', '#detail-body');
  const line = await page.evaluate<string>(
    `document.querySelector('#detail-body .command code').textContent`,
  );
  const [config = '', run] = line.split(' > evenkeel.yaml && ');
  expect(run).toBe('evenkeel run -c evenkeel.yaml');
  const written = await promisify(execFile)('sh', ['-c', config], { cwd: tmpdir() });
  expect(loadConfig(written.stdout)).toMatchObject({
    ok: true,
    config: { thing: 'pump-1', connection: { url: simulator.mqttUrl } },
  });
});

test('a thing and a job are created, and the execution is cancelled by force, by keyboard alone', async () => {
  await page.press('t');
  await page.sees('New thing', 'dialog');
  await page.type('pump-1');
  await page.press('Enter');
  await page.sees('pump-1', '#detail');
  const device = await connectDevice('pump-1');
  await page.sees('connected', '#detail .presence[data-connected="true"]');

  await page.press('n');
  await page.sees('New job', 'dialog');
  await page.press('Shift+Tab', 'Backspace');
  await page.type('rollout-7');
  await page.screenshot('new-job');
  await page.press('Enter');
  await page.sees('rollout-7 on pump-1', '#detail h2');
  await page.sees('QUEUED', '#detail h2');

  const update = 'pump-1/jobs/rollout-7/update';
  await publish(device, update, { status: 'IN_PROGRESS', statusDetails: { step: 'download' } });
  await page.sees('Started by the device', '.timeline');
  await publish(device, update, { status: 'IN_PROGRESS', statusDetails: { step: 'switch', progress: '40' } });
  await page.sees('switch', '.timeline');

  await page.press('c');
  await page.sees('Force cancel the execution', 'dialog');
  await page.screenshot('cancel-dialog');
  await page.press(' ', 'Tab', 'Tab');
  await page.type('why');
  await page.press('Tab');
  await page.type('wrong build');
  await page.press('Enter');
  await page.sees('CANCELED', '#detail h2');
  await page.sees('Cancelled by force', '.timeline');
  await page.sees('wrong build', '.timeline');
  await page.sees('No receipt yet', '#detail');
  expect(simulator.service.execution('pump-1', 'rollout-7')).toMatchObject({
    status: 'CANCELED',
    forceCanceled: true,
    versionNumber: 4,
    statusDetails: { why: 'wrong build' },
  });

  await publish(device, update, { status: 'SUCCEEDED' });
  await page.sees('Update refused: InvalidStateTransition', '.timeline');
  await publish(device, 'pump-1/shadow/name/evenkeel/update', receipt('rollout-7'));
  await page.sees('Receipt: rolledBack', '.timeline');
  await page.sees('switch, download', '.receipt');
  const told = await page.evaluate<string[]>(
    `[...document.querySelectorAll('.timeline strong')].map((one) => one.textContent)`,
  );
  expect(told).toEqual([
    'Queued',
    'Started by the device',
    'Update',
    'Cancelled by force',
    'Update refused: InvalidStateTransition',
    'Receipt: rolledBack',
  ]);
  await page.screenshot('cancelled-light');
  expect(await page.evaluate(FAINT)).toEqual([]);
  await page.emulate({ scheme: 'dark' });
  expect(await page.evaluate(FAINT)).toEqual([]);
  await page.screenshot('cancelled-dark');
  await page.emulate({ scheme: 'light', width: 390, height: 844 });
  await page.screenshot('cancelled-narrow');
});

test('what the service refuses is said in the dialog, in its words, and the dialog keeps the focus', async () => {
  simulator.service.createThing('pump-1');
  createJob('busy', ['pump-1']);
  simulator.service.startNext('pump-1', {});
  await page.evaluate(`location.hash = '#/executions/pump-1/busy/1'`);
  await page.sees('busy on pump-1', '#detail h2');
  await page.click('#detail .buttons button');
  await page.sees('Cancel the execution', 'dialog h2');
  await page.press('Enter');
  await page.sees('InvalidStateTransitionException', 'dialog .error');
  await page.screenshot('refused');
  // The browser itself writes each answer that is no success to its console.
  expect(page.problems.splice(0)).toEqual([expect.stringContaining('409')]);
  for (let stop = 0; stop < 12; stop += 1) {
    await page.press('Tab');
    const inside = `document.activeElement === document.body || document.activeElement.closest('dialog') !== null`;
    expect(await page.evaluate(inside)).toBe(true);
  }
  await page.press('Escape');
  await until('no dialog', () => page.evaluate<boolean>(`document.querySelector('dialog') === null`));
  expect(await page.evaluate('document.activeElement.textContent')).toBe('Cancel…');
});

test('the trace is filtered by the simulator, holds still while paused, and a message is copied whole', async () => {
  simulator.service.createThing('pump-1');
  simulator.service.createThing('valve-2');
  const pump = await connectDevice('pump-1');
  const valve = await connectDevice('valve-2');
  const subjects = (): Promise<string[]> =>
    page.evaluate(`[...document.querySelectorAll('.message .subject')].map((one) => one.textContent)`);
  await publish(pump, 'pump-1/jobs/get', { clientToken: 'one' });
  await page.sees('jobs/get', '#trace-rows');
  await publish(valve, 'valve-2/jobs/get', { clientToken: 'two' });
  await page.sees('valve-2/jobs/get', '#trace-rows');

  await page.press('f');
  await page.type('VALVE-2 get');
  await until('the filter', async () => (await subjects()).every((one) => one.includes('valve-2/jobs/get')));
  await publish(pump, 'pump-1/jobs/get', {});
  await publish(valve, 'valve-2/jobs/get', { clientToken: 'x'.repeat(3000) });
  await until('the new one', async () => (await subjects()).length === 4);

  await page.press('Escape', 'Escape', 'p');
  await page.sees('Resume', '#trace-pause');
  await until('all again', async () => (await subjects()).length > 4);
  const before = (await subjects()).length;
  await publish(pump, 'pump-1/jobs/get', {});
  await page.sees('Resume (2 new)', '#trace-pause');
  expect((await subjects()).length).toBe(before);
  await page.press('p');
  await until('what had waited', async () => (await subjects()).length === before + 2);

  await page.press('f');
  await page.type('xxxx');
  await until('two with it', async () => (await subjects()).length === 2);
  await page.press('Tab', 'Enter');
  await page.sees('xxx', '.payload pre');
  await page.screenshot('trace');
  await page.click('.payload button');
  await page.sees('Copied', '.payload button');
  const copied = JSON.parse(await page.evaluate<string>('navigator.clipboard.readText()')) as object;
  expect(copied).toMatchObject({ client: 'valve-2', payload: { clientToken: 'x'.repeat(3000) } });
});

test('what devices and documents say is text, whatever it looks like', async () => {
  const evil = '<img src=x onerror=document.title="taken"><script>document.title="taken"</script>';
  simulator.service.createThing('pump-1');
  createJob('evil', ['pump-1'], { [evil]: evil });
  const device = await connectDevice('pump-1');
  await publish(device, 'pump-1/jobs/evil/update', { status: 'IN_PROGRESS', statusDetails: { html: evil } });
  const written = receipt('evil');
  Object.assign(written.state.reported.receipt, { outcome: evil, undone: [evil], cause: { kind: evil } });
  Object.assign(written.state.reported, { condition: evil });
  await publish(device, 'pump-1/shadow/name/evenkeel/update', written);
  await page.evaluate(`location.hash = '#/executions/pump-1/evil/1'`);
  await page.sees(evil, '.timeline');
  await page.sees(evil, '.receipt .outcome');
  await page.evaluate(`document.querySelectorAll('details').forEach((one) => { one.open = true; })`);
  await page.sees(evil.replaceAll('"', '\\"'), '#detail-body > div > .source pre');
  await page.evaluate(`document.querySelectorAll('.message > button').forEach((one) => one.click())`);
  await page.evaluate(`location.hash = '#/things/pump-1'`);
  await page.sees(evil, '#detail h2');
  expect(await page.evaluate(`document.querySelectorAll('img, main script').length`)).toBe(0);
  expect(await page.evaluate('document.title')).toBe('pump-1 – Evenkeel simulator');
});

test('ten thousand things are a list that can be walked, searched, and watched', {
  timeout: 60_000,
}, async () => {
  for (let n = 1; n <= 10_000; n += 1) simulator.service.createThing(`pump-${n}`);
  await page.sees('10000', '#things-count');
  createJob(
    'all',
    Array.from({ length: 300 }, (_, n) => `pump-${n + 1}`),
  );
  const rows = `document.querySelectorAll('#things .row').length`;
  expect(await page.evaluate<number>(rows)).toBeLessThan(60);
  await page.press('g', 'End');
  await page.sees('pump-10000', '#things .row[data-active="true"]');
  await page.press('/');
  await page.type('pump-77');
  await page.sees('111', '#things-count');
  await page.press('Enter', 'j', 'Enter');
  await page.sees('pump-770', '#detail h2');
  await page.press('/', 'Escape');
  await page.sees('10000', '#things-count');

  await page.evaluate(`location.hash = '#/jobs/all'`);
  await page.sees('300', '#executions-count');
  const device = await connectDevice('many');
  for (let n = 1; n <= 300; n += 1) {
    await publish(device, `pump-${n}/jobs/all/update`, {
      status: n % 3 === 0 ? 'FAILED' : n % 3 === 1 ? 'SUCCEEDED' : 'IN_PROGRESS',
      statusDetails: { step: String(n) },
    });
  }
  await page.sees('100 in progress', '#jobs');
  await page.sees('SUCCEEDED', '#executions .row');
  await page.screenshot('busy-light');
  expect(await page.evaluate(FAINT)).toEqual([]);
  await page.emulate({ scheme: 'dark' });
  expect(await page.evaluate(FAINT)).toEqual([]);
  await page.screenshot('busy-dark');
  await page.evaluate(`(() => {
    const select = document.querySelector('#executions-status');
    select.value = 'FAILED';
    select.dispatchEvent(new Event('change'));
  })()`);
  await page.sees('100', '#executions-count');
  await page.emulate({ scheme: 'light', width: 390, height: 844 });
  await page.screenshot('busy-narrow');
  await page.click('.panes [data-pane="lists"]');
  await page.screenshot('lists-narrow');
  expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390);
});

test('the keys are listed, and a page that has lost the simulator says so', async () => {
  await page.press('?');
  await page.sees('cancel what is shown', 'dialog');
  await page.screenshot('help');
  await page.press('Escape');
  await until('no dialog', () => page.evaluate<boolean>(`document.querySelector('dialog') === null`));
  const port = Number(new URL(simulator.httpUrl).port);
  await simulator.close();
  await page.sees('Not connected', '#link');
  // Then it comes back, with nothing in it but what is new.
  simulator = await startSimulator({ clock: systemClock, httpPort: port });
  simulator.service.createThing('fresh');
  await page.sees('Live', '#link');
  await page.sees('fresh', '#things');
  const others = page.problems
    .splice(0)
    .filter((one) => !one.includes('ERR_CONNECTION') && !one.includes('ERR_INCOMPLETE'));
  expect(others).toEqual([]);
});

test.each([
  ['is refused', `Promise.reject(new TypeError('Failed to fetch'))`],
  // The headers were there, the rest never came.
  [
    'ends in the middle',
    `Promise.resolve({ ok: true, text: () => Promise.reject(new TypeError('network')) })`,
  ],
])(
  'no read that %s is an error of the page, and what the reader asks for is still opened',
  async (_, how) => {
    simulator.service.createThing('pump-1');
    createJob('first', ['pump-1']);
    await page.sees('first', '#jobs');
    const device = await connectDevice('pump-1');
    await publish(device, 'pump-1/jobs/get', {});
    await page.sees('jobs/get', '#trace-rows');
    // Every read in turn: the overview, the lists, the trace, what is shown.
    await page.evaluate(`(() => {
    globalThis.asked = [];
    globalThis.fetchTruly = globalThis.fetch;
    globalThis.fetch = (path) => { asked.push(String(path)); return ${how}; };
  })()`);
    const asked = (path: string) =>
      until(path, () => page.evaluate<boolean>(`asked.some((one) => one.includes(${JSON.stringify(path)}))`));
    // A new filter opens the stream anew, and all is read again.
    await page.press('f');
    await page.type('jobs');
    for (const path of ['/overview', '/things?', '/jobs?', '/trace?']) await asked(path);
    await page.sees('first', '#jobs');
    await page.sees('jobs/get', '#trace-rows');
    await page.click('#jobs .row');
    await asked('/executions?');
    await until('the address of the job', () => page.evaluate<boolean>(`location.hash === '#/jobs/first'`));
    await page.press('n');
    await page.sees('New job', 'dialog');
    await page.press('Shift+Tab', 'Backspace');
    await page.type('second');
    await page.click('dialog input[name=targets]');
    await page.type('pump-1');
    await page.press('Enter');
    await page.sees('pump-1', 'dialog .chips');
    await page.click('dialog button[type=submit]');
    await page.sees('Unreachable: the simulator does not answer', 'dialog .error');
    await page.evaluate('globalThis.fetch = fetchTruly');
    await page.click('dialog button[type=submit]');
    await page.sees('second on pump-1', '#detail h2');
    await page.press('f');
    await page.type(' get');
    await page.sees('jobs/get', '#trace-rows');
  },
);

test('a managed template makes the form of its parameters, and the service fills in the document', async () => {
  simulator.service.createThing('pump-1');
  await page.evaluate(`location.hash = '#/things/pump-1'`);
  await page.sees('pump-1', '#detail h2');
  await page.press('n');
  await page.click('dialog input[value=template]');
  await page.sees('AWS-Download-File', 'dialog select[name=template]');
  await page.evaluate(`(() => {
    const select = document.querySelector('dialog select[name=template]');
    select.value = 'AWS-Download-File';
    select.dispatchEvent(new Event('change'));
  })()`);
  await page.sees('downloadUrl', 'dialog');
  await page.sees('runAsUser (optional)', 'dialog');
  await page.screenshot('template');
  await page.click('dialog button[type=submit]');
  await page.sees('downloadUrl', 'dialog .error');
  expect(await page.evaluate('document.activeElement.name')).toBe('downloadUrl');
  await page.type('https://example.com/app');
  await page.click('dialog input[name=filePath]');
  await page.type('/opt/app');
  await page.press('Enter');
  await page.sees('QUEUED', '#detail h2');
  const [job] = simulator.service.jobs();
  expect(JSON.parse(job?.document ?? '')).toMatchObject({
    steps: [{ action: { input: { args: ['https://example.com/app', '/opt/app'] } } }],
  });
});
