import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { until } from './until.ts';

/** A real headless Chromium, spoken to by the DevTools protocol over two pipes: no port, no library. */
export interface Browser {
  open(url: string, size?: { width: number; height: number }): Promise<Page>;
  close(): Promise<void>;
}

export interface Page {
  /** What went wrong: uncaught errors, console errors, violations of the content security policy. */
  readonly problems: string[];
  /** Every address that was asked for. */
  readonly requests: string[];
  evaluate<T>(expression: string): Promise<T>;
  /** Keys by name (`Enter`, `Escape`, `Tab`, `Shift+Tab`) or as a character. */
  press(...keys: string[]): Promise<void>;
  type(text: string): Promise<void>;
  /** Clicks the middle of the first element that the selector finds, as a mouse does. */
  click(selector: string): Promise<void>;
  /** Waits until the text of `selector` (the whole page by default) contains `text`. */
  sees(text: string, selector?: string): Promise<void>;
  emulate(media: { scheme?: 'light' | 'dark'; width?: number; height?: number }): Promise<void>;
  /** Writes a PNG where `EVENKEEL_SCREENSHOTS` names a folder. */
  screenshot(name: string): Promise<void>;
  close(): Promise<void>;
}

type Params = Record<string, unknown>;
interface Message {
  id?: number;
  method?: string;
  sessionId?: string;
  params?: Params;
  result?: Params;
  error?: { message: string };
}

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
  '--force-color-profile=srgb',
  '--remote-debugging-pipe',
];

export async function startChromium(): Promise<Browser> {
  const profile = await mkdtemp(join(tmpdir(), 'evenkeel-chromium-'));
  const command = process.env['CHROMIUM'] ?? 'chromium';
  const child = spawn(command, [...FLAGS, `--user-data-dir=${profile}`, 'about:blank'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
  });
  const wire = createWire(child);
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  await wire.send('Browser.getVersion');
  return {
    open: (url, size = { width: 1280, height: 800 }) => openPage(wire, url, size),
    async close() {
      await Promise.race([wire.send('Browser.close').catch(() => undefined), ended]);
      await ended;
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

interface Wire {
  send(method: string, params?: Params, sessionId?: string): Promise<Params>;
  on(listener: (message: Message) => void): void;
}

/** Messages are JSON, each ended by a zero byte. */
function createWire(child: ChildProcess): Wire {
  const [, , , toBrowser, fromBrowser] = child.stdio as unknown as [null, null, null, Writable, Readable];
  const waiting = new Map<number, { resolve: (result: Params) => void; reject: (error: Error) => void }>();
  const listeners: ((message: Message) => void)[] = [];
  let last = 0;
  let gone: Error | undefined;
  const fail = (error: Error): void => {
    gone ??= error;
    for (const { reject } of waiting.values()) reject(gone);
    waiting.clear();
  };
  child.once('error', (error) => fail(new Error(`cannot start chromium: ${error.message}`)));
  child.once('close', () => fail(new Error('chromium has ended')));
  toBrowser.on('error', () => undefined);
  let text = '';
  fromBrowser.setEncoding('utf8');
  fromBrowser.on('data', (chunk: string) => {
    const parts = (text + chunk).split('\0');
    text = parts.pop() ?? '';
    for (const part of parts) {
      const message = JSON.parse(part) as Message;
      const answered = waiting.get(message.id ?? 0);
      if (!answered) for (const listener of listeners) listener(message);
      else if (message.error) answered.reject(new Error(message.error.message));
      else answered.resolve(message.result ?? {});
      waiting.delete(message.id ?? 0);
    }
  });
  return {
    on: (listener) => void listeners.push(listener),
    send: (method, params = {}, sessionId) =>
      new Promise((resolve, reject) => {
        if (gone) return reject(gone);
        last += 1;
        waiting.set(last, { resolve, reject });
        toBrowser.write(`${JSON.stringify({ id: last, method, params, sessionId })}\0`);
      }),
  };
}

async function openPage(wire: Wire, url: string, size: { width: number; height: number }): Promise<Page> {
  const { targetId } = await wire.send('Target.createTarget', { url: 'about:blank' });
  const { sessionId } = await wire.send('Target.attachToTarget', { targetId, flatten: true });
  const send = (method: string, params?: Params): Promise<Params> =>
    wire.send(method, params, sessionId as string);
  const problems: string[] = [];
  const requests: string[] = [];
  wire.on(({ sessionId: from, method = '', params = {} }) => {
    if (from !== sessionId) return;
    if (method === 'Network.requestWillBeSent') requests.push((params['request'] as { url: string }).url);
    const problem = problemIn(method, params);
    if (problem !== undefined) problems.push(problem);
  });
  for (const domain of ['Page', 'Runtime', 'Network', 'Log', 'Audits']) await send(`${domain}.enable`);
  const metrics = { ...size, deviceScaleFactor: 1, mobile: false };
  await send('Emulation.setDeviceMetricsOverride', metrics);
  await send('Emulation.setFocusEmulationEnabled', { enabled: true });
  const origin = new URL(url).origin;
  await wire.send('Browser.grantPermissions', {
    permissions: ['clipboardReadWrite', 'clipboardSanitizedWrite'],
    origin,
  });
  await send('Page.navigate', { url });

  const evaluate = async <T>(expression: string): Promise<T> => {
    const { result, exceptionDetails } = await send('Runtime.evaluate', {
      expression,
      awaitPromise: true,
      returnByValue: true,
      userGesture: true,
    });
    if (exceptionDetails) throw new Error(`in the page: ${JSON.stringify(exceptionDetails)}`);
    return (result as { value: T }).value;
  };
  return {
    problems,
    requests,
    evaluate,
    async press(...keys) {
      for (const key of keys) await pressKey(send, key);
    },
    async type(text) {
      await send('Input.insertText', { text });
    },
    async click(selector) {
      const find = `document.querySelector(${JSON.stringify(selector)})`;
      await until(`element ${selector}`, () => evaluate<boolean>(`${find} !== null`));
      const { x, y } = await evaluate<{ x: number; y: number }>(`(() => {
        const element = ${find};
        element.scrollIntoView({ block: 'nearest' });
        const { left, top, width, height } = element.getBoundingClientRect();
        return { x: left + width / 2, y: top + height / 2 };
      })()`);
      const button = { x, y, button: 'left', clickCount: 1 };
      await send('Input.dispatchMouseEvent', { ...button, type: 'mousePressed' });
      await send('Input.dispatchMouseEvent', { ...button, type: 'mouseReleased' });
    },
    async sees(text, selector = 'body') {
      const read = `document.querySelector(${JSON.stringify(selector)})?.innerText ?? ''`;
      await until(`"${text}" in ${selector}`, async () =>
        (await evaluate<string>(read)).includes(text),
      ).catch(async (error: unknown) => {
        throw new Error(`${(error as Error).message}; it reads: ${await evaluate<string>(read)}`);
      });
    },
    async emulate({ scheme, width = size.width, height = size.height }) {
      const features = scheme === undefined ? [] : [{ name: 'prefers-color-scheme', value: scheme }];
      await send('Emulation.setEmulatedMedia', { features });
      await send('Emulation.setDeviceMetricsOverride', { ...metrics, width, height });
    },
    async screenshot(name) {
      const folder = process.env['EVENKEEL_SCREENSHOTS'];
      if (folder === undefined) return;
      const { data } = await send('Page.captureScreenshot', { format: 'png' });
      await writeFile(join(folder, `${name}.png`), Buffer.from(data as string, 'base64'));
    },
    async close() {
      await wire.send('Target.closeTarget', { targetId });
    },
  };
}

function problemIn(method: string, params: Params): string | undefined {
  const isError = ['error', 'assert'].includes(String(params['type']));
  if (method === 'Runtime.consoleAPICalled' && isError) return JSON.stringify(params['args']);
  if (method === 'Runtime.exceptionThrown') return JSON.stringify(params['exceptionDetails']);
  if (method === 'Audits.issueAdded') return JSON.stringify(params['issue']);
  const entry = params['entry'] as { level: string; text: string; url?: string } | undefined;
  return method === 'Log.entryAdded' && entry?.level === 'error'
    ? `${entry.text} ${entry.url ?? ''}`
    : undefined;
}

const CODES: Record<string, { code: string; windowsVirtualKeyCode: number; text?: string }> = {
  Enter: { code: 'Enter', windowsVirtualKeyCode: 13, text: '\r' },
  Escape: { code: 'Escape', windowsVirtualKeyCode: 27 },
  Tab: { code: 'Tab', windowsVirtualKeyCode: 9 },
  Backspace: { code: 'Backspace', windowsVirtualKeyCode: 8 },
  ' ': { code: 'Space', windowsVirtualKeyCode: 32, text: ' ' },
  ArrowDown: { code: 'ArrowDown', windowsVirtualKeyCode: 40 },
  ArrowUp: { code: 'ArrowUp', windowsVirtualKeyCode: 38 },
  Home: { code: 'Home', windowsVirtualKeyCode: 36 },
  End: { code: 'End', windowsVirtualKeyCode: 35 },
};

async function pressKey(
  send: (method: string, params: Params) => Promise<Params>,
  name: string,
): Promise<void> {
  const shift = name.startsWith('Shift+');
  const key = shift ? name.slice('Shift+'.length) : name;
  const known = CODES[key] ?? { code: '', windowsVirtualKeyCode: key.toUpperCase().charCodeAt(0), text: key };
  const event = { key, ...known, modifiers: shift ? 8 : 0 };
  await send('Input.dispatchKeyEvent', {
    ...event,
    type: known.text === undefined ? 'rawKeyDown' : 'keyDown',
  });
  await send('Input.dispatchKeyEvent', { ...event, type: 'keyUp' });
}
