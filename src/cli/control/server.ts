import type { Socket } from 'node:net';
import type { Clock } from '../../host/clock.ts';
import { within } from '../../host/within.ts';
import { type Answer, BadRequest, REQUEST_BYTES_MAX, type Request, readLine, writeLine } from './protocol.ts';

/** What the agent does when it is asked; one entry for each command of the protocol. */
export type ControlCommands = Readonly<Record<string, (request: Request) => Promise<unknown>>>;

/** A command that will not do what it was asked: an answer, not a fault. */
export class ControlRefused extends Error {}

/** On the readers' socket: the ones that act are known there, and refused. */
export function forReaders(reads: ControlCommands, acts: ControlCommands): ControlCommands {
  const refuse = (): Promise<never> => Promise.reject(new NotAllowed());
  return { ...Object.fromEntries(Object.keys(acts).map((name) => [name, refuse])), ...reads };
}

class NotAllowed extends Error {
  constructor() {
    super('only root and the owner of the state directory may do this (try sudo)');
  }
}

export interface ControlDeps {
  clock: Pick<Clock, 'sleep'>;
  log: { warn(fields: object, message: string): void };
}

const CONNECTIONS_MAX = 16;
const REQUEST_LIMIT_MS = 10_000;
const QUOTED_CHARS_MAX = 80;

/** Serves one connection after the other, each with one request. Nothing that comes in can end the agent (I9). */
export function serveControl(
  commands: ControlCommands,
  { clock, log }: ControlDeps,
): (socket: Socket) => void {
  let open = 0;
  const serve = async (socket: Socket): Promise<void> => {
    const ended = new AbortController();
    socket.once('close', () => ended.abort(new Error('closed')));
    let isReading = true;
    const line = await within(REQUEST_LIMIT_MS, clock, ended.signal, (signal) => {
      // The signal aborts in the end in any case.
      signal.addEventListener('abort', () => isReading && socket.destroy(), { once: true });
      return readLine(socket, REQUEST_BYTES_MAX).finally(() => {
        isReading = false;
      });
    }).catch((error: unknown) => {
      writeLine(socket, refusal('badRequest', `cannot read the request: ${(error as Error).message}`));
      return undefined;
    });
    if (line !== undefined) writeLine(socket, await answerTo(line, commands, log));
  };
  return (socket) => {
    socket.on('error', () => undefined);
    if (open >= CONNECTIONS_MAX) {
      socket.destroy();
      return;
    }
    open += 1;
    socket.once('close', () => {
      open -= 1;
    });
    void serve(socket);
  };
}

async function answerTo(line: string, commands: ControlCommands, log: ControlDeps['log']): Promise<Answer> {
  const request = parse(line);
  if (!request) return refusal('badRequest', 'a request is an object with a "command", on one line of JSON');
  const command = Object.hasOwn(commands, request.command) ? commands[request.command] : undefined;
  if (!command) {
    const known = Object.keys(commands).join(', ');
    const asked = request.command.slice(0, QUOTED_CHARS_MAX);
    return refusal('unknownCommand', `the agent does not know "${asked}"; it knows ${known}`);
  }
  try {
    return { ok: true, value: await command(request) };
  } catch (error) {
    if (error instanceof BadRequest) return refusal('badRequest', error.message);
    if (error instanceof NotAllowed) return refusal('notAllowed', error.message);
    if (error instanceof ControlRefused) return refusal('refused', error.message);
    log.warn({ command: request.command, error: String(error) }, 'a control command failed');
    return refusal('failed', (error as Error).message);
  }
}

function parse(line: string): Request | undefined {
  try {
    const value = JSON.parse(line) as Partial<Request> | null;
    return typeof value === 'object' && typeof value?.command === 'string' ? (value as Request) : undefined;
  } catch {
    return undefined;
  }
}

function refusal(code: Extract<Answer, { ok: false }>['error']['code'], message: string): Answer {
  return { ok: false, error: { code, message } };
}
