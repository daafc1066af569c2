import type { Socket } from 'node:net';

/**
 * What is said on the agent's sockets: one line of JSON to it, one line of JSON back, then it closes. On the one in the
 * state directory, where only its owner and root get to, everything can be asked; on the readers' only what changes
 * nothing (`read-socket.ts`).
 */

export interface Request {
  command: string;
  [argument: string]: unknown;
}

/** A refusal is a value: `code` for programs, `message` for people. */
export type Answer<T = unknown> =
  | { ok: true; value: T }
  | { ok: false; error: { code: ControlErrorCode; message: string } };

export type ControlErrorCode = 'badRequest' | 'unknownCommand' | 'notAllowed' | 'refused' | 'failed';

/** An argument that must be there, and be a text. */
export function wanted(request: Request, name: string): string {
  const value = request[name];
  if (typeof value !== 'string' || value === '') throw new BadRequest(`"${name}" must be a text`);
  return value;
}

export class BadRequest extends Error {}

export const REQUEST_BYTES_MAX = 64 * 1024;
export const ANSWER_BYTES_MAX = 4 * 1024 * 1024;

const NEWLINE = 0x0a;

/** The first line that comes; `undefined` when the peer ends before it has said one. Rejects when it is too long. */
export function readLine(socket: Socket, bytesMax: number): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    // Put out before anybody listened: its end will not be told again.
    if (socket.destroyed) {
      resolve(undefined);
      return;
    }
    const chunks: Buffer[] = [];
    let bytes = 0;
    const onData = (chunk: Buffer): void => {
      const end = chunk.indexOf(NEWLINE);
      chunks.push(end < 0 ? chunk : chunk.subarray(0, end));
      bytes += chunk.length;
      if (bytes > bytesMax) {
        socket.off('data', onData);
        reject(new Error(`longer than ${bytesMax} bytes`));
      } else if (end >= 0) {
        socket.off('data', onData);
        resolve(Buffer.concat(chunks).toString());
      }
    };
    socket.on('data', onData);
    socket.once('close', () => resolve(undefined));
    socket.once('error', () => resolve(undefined));
  });
}

export function writeLine(socket: Socket, value: object): void {
  socket.end(`${JSON.stringify(value)}\n`);
}
