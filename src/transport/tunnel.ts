import { connect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';

/** What a proxy may say before the tunnel is open; more is no answer to CONNECT. */
const ANSWER_BYTES_MAX = 16 * 1024;
const DEFAULT_PORT = 80;

/** A proxy refused, or said something that is no answer to CONNECT. */
export class ProxyRefused extends Error {
  /** HTTP status; `undefined` when it did not speak HTTP. */
  readonly status: number | undefined;
  constructor(message: string, status?: number) {
    super(message);
    this.name = 'ProxyRefused';
    this.status = status;
  }
}

/** Where a proxy listens, and what it wants to hear; throws when the URL is none. */
export function parseProxy(url: string): {
  host: string;
  port: number;
  user?: { name: string; password: string };
} {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed?.protocol !== 'http:' || parsed.hostname === '') {
    // Not the URL itself: it may hold a password.
    throw new Error('cannot use the proxy url: it must look like http://host:port');
  }
  const { username, password } = parsed;
  return {
    host: parsed.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: parsed.port === '' ? DEFAULT_PORT : Number(parsed.port),
    ...(username !== '' && {
      user: { name: decodeURIComponent(username), password: decodeURIComponent(password) },
    }),
  };
}

/**
 * A stream to `host:port` through an HTTP proxy (CONNECT, RFC 9110 section 9.3.6). What is written before the tunnel is
 * open waits; it emits `connect` when it is. Throws only when the URL is none.
 */
export function openTunnel(proxyUrl: string, host: string, port: number, attemptTimeoutMs: number): Duplex {
  const proxy = parseProxy(proxyUrl);
  const target = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const raw = connect({
    host: proxy.host,
    port: proxy.port,
    autoSelectFamilyAttemptTimeout: attemptTimeoutMs,
  });
  raw.once('connect', () => {
    raw.setNoDelay(true);
    const { user } = proxy;
    const plain = user && Buffer.from(`${user.name}:${user.password}`);
    const authorization = plain ? `Proxy-Authorization: Basic ${plain.toString('base64')}\r\n` : '';
    raw.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${authorization}\r\n`);
  });
  return new Tunnel(raw, `the proxy ${proxy.host}:${proxy.port}`, target);
}

/** Opens a tunnel and closes it again: whether it can be had, and if not, why. Rejects when `signal` ends it, too. */
export function tryTunnel(
  proxyUrl: string,
  host: string,
  port: number,
  attemptTimeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const tunnel = openTunnel(proxyUrl, host, port, attemptTimeoutMs);
    const giveUp = (): void => void tunnel.destroy(new Error('given up'));
    signal.addEventListener('abort', giveUp, { once: true });
    tunnel.once('connect', () => {
      resolve();
      tunnel.destroy();
    });
    tunnel.on('error', reject);
    tunnel.once('close', () => signal.removeEventListener('abort', giveUp));
  });
}

class Tunnel extends Duplex {
  readonly #raw: Socket;
  readonly #proxy: string;
  readonly #target: string;
  #isOpen = false;
  #answer = Buffer.alloc(0);
  /** A write that came before the tunnel was open. */
  #waiting: (() => void) | undefined;

  constructor(raw: Socket, proxy: string, target: string) {
    super({ allowHalfOpen: false });
    this.#raw = raw;
    this.#proxy = proxy;
    this.#target = target;
    raw.on('data', (chunk: Buffer) => this.#received(chunk));
    raw.on('error', (error: Error) =>
      this.destroy(new Error(this.#isOpen ? error.message : `cannot reach ${proxy}: ${error.message}`)),
    );
    raw.once('end', () => {
      if (this.#isOpen) this.push(null);
      else this.destroy(new ProxyRefused(`${proxy} hung up before it had opened a tunnel to ${target}`));
    });
    raw.once('close', () => this.destroy());
  }

  override _read(): void {
    this.#raw.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const write = (): void => void this.#raw.write(chunk, done);
    if (this.#isOpen) write();
    else this.#waiting = write;
  }

  override _final(done: () => void): void {
    this.#raw.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#raw.destroy();
    done(error);
  }

  #received(chunk: Buffer): void {
    if (this.#isOpen) {
      if (!this.push(chunk)) this.#raw.pause();
      return;
    }
    this.#answer = Buffer.concat([this.#answer, chunk]);
    const end = this.#answer.indexOf('\r\n\r\n');
    if (end < 0) {
      if (this.#answer.length > ANSWER_BYTES_MAX) this.#refused('said something that is no HTTP');
      return;
    }
    const [line = ''] = this.#answer.subarray(0, end).toString('latin1').split('\r\n');
    const status = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(line)?.[1];
    if (status === undefined) this.#refused('said something that is no HTTP');
    else if (!status.startsWith('2'))
      this.#refused(`refuses a tunnel to ${this.#target}: ${line.slice(9)}`, Number(status));
    else this.#open(this.#answer.subarray(end + 4));
  }

  #open(rest: Buffer): void {
    this.#isOpen = true;
    this.#answer = Buffer.alloc(0);
    this.emit('connect');
    if (rest.length > 0) this.push(rest);
    this.#waiting?.();
    this.#waiting = undefined;
  }

  #refused(what: string, status?: number): void {
    this.destroy(new ProxyRefused(`${this.#proxy} ${what}`, status));
  }
}
