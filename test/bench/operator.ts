import { Agent, request } from 'node:http';

/** Calls of the control plane, many at once: what the SDK does, without what it costs. */
export type Call = (method: string, path: string, body?: object) => Promise<Record<string, unknown>>;

const AT_ONCE = 32;

export function operatorOf(httpUrl: string): { call: Call; close(): void } {
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
  const call: Call = (method, path, body) =>
    new Promise((resolve, reject) => {
      const sent = request(new URL(path, httpUrl), { method, agent }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('error', reject);
        answer.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          if (answer.statusCode !== 200) reject(new Error(`${method} ${path}: ${answer.statusCode} ${text}`));
          else resolve(text === '' ? {} : (JSON.parse(text) as Record<string, unknown>));
        });
      });
      sent.on('error', (error: NodeJS.ErrnoException) => {
        // A connection that was kept and has just been closed for its age: nothing was sent.
        if (sent.reusedSocket && error.code === 'ECONNRESET') call(method, path, body).then(resolve, reject);
        else reject(error);
      });
      sent.end(body && JSON.stringify(body));
    });
  return { call, close: () => agent.destroy() };
}

/** As many at once as there are connections. */
export async function forEach<T>(all: readonly T[], act: (one: T) => Promise<unknown>): Promise<void> {
  const queue = [...all].reverse();
  const worker = async (): Promise<void> => {
    for (let one = queue.pop(); one !== undefined; one = queue.pop()) await act(one);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

/** Every page of a list. */
export async function listed(call: Call, path: string, member: string): Promise<unknown[]> {
  const items: unknown[] = [];
  let token = '';
  do {
    const page = await call(
      'GET',
      `${path}${token && `${path.includes('?') ? '&' : '?'}nextToken=${token}`}`,
    );
    items.push(...(page[member] as unknown[]));
    token = typeof page['nextToken'] === 'string' ? encodeURIComponent(page['nextToken']) : '';
  } while (token !== '');
  return items;
}
