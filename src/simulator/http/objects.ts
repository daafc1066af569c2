import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { SimulatorClock } from '../service/types.ts';
import { type Credentials, faultOfQuery, presigned } from './signature.ts';

/**
 * A small S3 under `/s3/BUCKET/KEY`, so that presigned URLs of job documents lead somewhere (J13): GET and HEAD with
 * Range, PUT. Objects are files under `DIRECTORY/BUCKET/KEY`, and may as well be put there by hand.
 */

export interface ObjectAddress {
  bucket: string;
  key: string;
}

export const OBJECTS_PATH = '/s3';
/** Bounds what one upload may write. */
export const OBJECT_BYTES_MAX = 1024 * 1024 * 1024;
/** An object that is a job document. */
const TEXT_BYTES_MAX = 1024 * 1024;
const REGION = 'us-east-1';
/** Nothing secret: the signature only tells a URL that was made here from one that was not. */
const CREDENTIALS: Credentials = { accessKeyId: 'SIMULATOR', secretAccessKey: 'evenkeel simulator' };

export interface ObjectStoreDeps {
  directory: string;
  clock: Pick<SimulatorClock, 'wallMs'>;
  /** Such as `http://127.0.0.1:8080`. */
  baseUrl(): string;
}

export class ObjectStore {
  readonly #deps: ObjectStoreDeps;
  #uploads = 0;

  constructor(deps: ObjectStoreDeps) {
    this.#deps = deps;
  }

  urlOf({ bucket, key }: ObjectAddress): URL {
    const path = [bucket, ...key.split('/')].map(encodeURIComponent).join('/');
    return new URL(`${this.#deps.baseUrl()}${OBJECTS_PATH}/${path}`);
  }

  presign(method: 'GET' | 'PUT', address: ObjectAddress, expiresInSec: number): string {
    const request = { method, url: this.urlOf(address), expiresInSec, nowMs: this.#deps.clock.wallMs() };
    return presigned(request, CREDENTIALS, REGION);
  }

  /** Where an S3 URL, or one of this store, points; `undefined` when it is neither. */
  addressOf(text: string): ObjectAddress | undefined {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (!url) return undefined;
    const path = decodedPath(url.pathname);
    if (path === undefined) return undefined;
    if (url.origin === new URL(this.#deps.baseUrl()).origin)
      return path.startsWith(`${OBJECTS_PATH}/`) ? split(path.slice(OBJECTS_PATH.length + 1)) : undefined;
    const [, bucket] = /^(?:(.+)\.)?s3(?:[.-][a-z0-9-]+)*\.amazonaws\.com(?:\.cn)?$/.exec(url.hostname) ?? [
      '-',
    ];
    if (bucket === '-') return undefined;
    if (!/(^|\.)s3[.-]/.test(url.hostname)) return undefined;
    return bucket === undefined ? split(path.slice(1)) : { bucket, key: path.slice(1) };
  }

  async put(address: ObjectAddress, body: Readable): Promise<void> {
    const path = this.#path(address);
    if (path === undefined) throw new Error(`cannot store ${address.key}: not a path below its bucket`);
    this.#uploads += 1;
    const partial = `${path}.upload-${this.#uploads}`;
    await mkdir(dirname(path), { recursive: true });
    try {
      await pipeline(body, bounded(OBJECT_BYTES_MAX), createWriteStream(partial, { mode: 0o600 }));
      await rename(partial, path);
    } catch (error) {
      await rm(partial, { force: true });
      throw error;
    }
  }

  /** The directory itself stays: somebody may have made it. */
  async clear(): Promise<void> {
    const names = await readdir(this.#deps.directory).catch(() => []);
    for (const name of names) await rm(join(this.#deps.directory, name), { recursive: true, force: true });
  }

  /** A job document; `undefined` when there is none, or it is too long for one. */
  async text(address: ObjectAddress): Promise<string | undefined> {
    const found = await this.#found(address);
    return found && found.size <= TEXT_BYTES_MAX ? await readFile(found.path, 'utf8') : undefined;
  }

  async answer(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const address = this.addressOf(new URL(url.pathname, this.#deps.baseUrl()).href);
    if (!address || address.key === '' || this.#path(address) === undefined)
      return refused(400, 'InvalidURI', "Couldn't parse the specified URI.");
    const denied = this.#denied(request, url);
    if (denied !== undefined) return refused(403, 'AccessDenied', denied);
    if (request.method === 'PUT') return await this.#put(request, address);
    if (request.method === 'GET' || request.method === 'HEAD') return await this.#get(request, address);
    return refused(405, 'MethodNotAllowed', 'The specified method is not allowed against this resource.');
  }

  /** Whoever signs at all must do it right; an operator may upload without, but nobody reads without. */
  #denied(request: Request, url: URL): string | undefined {
    if (url.searchParams.has('X-Amz-Signature')) {
      const fault = faultOfQuery(
        request.method,
        onHost(url, request),
        CREDENTIALS,
        this.#deps.clock.wallMs(),
      );
      if (fault === 'expired') return 'Request has expired';
      return fault === undefined
        ? undefined
        : 'The request signature does not match the signature you provided.';
    }
    return request.method === 'PUT' || request.headers.has('authorization') ? undefined : 'Access Denied';
  }

  async #put(request: Request, address: ObjectAddress): Promise<Response> {
    const coded = request.headers.get('x-amz-content-sha256')?.startsWith('STREAMING-') === true;
    if (coded) return refused(501, 'NotImplemented', 'aws-chunked uploads are not understood here.');
    try {
      const body = request.body ? Readable.fromWeb(request.body as never) : Readable.from([]);
      await this.put(address, body);
    } catch (error) {
      if (error instanceof TooLarge)
        return refused(400, 'EntityTooLarge', `At most ${OBJECT_BYTES_MAX} bytes are stored.`);
      throw error;
    }
    const found = await this.#found(address);
    return new Response(null, { status: 200, headers: { etag: found?.etag ?? '' } });
  }

  async #get(request: Request, address: ObjectAddress): Promise<Response> {
    const found = await this.#found(address);
    if (!found) return refused(404, 'NoSuchKey', 'The specified key does not exist.');
    const { path, size, etag } = found;
    const condition = request.headers.get('if-match');
    if (condition !== null && condition !== etag && condition !== '*')
      return refused(412, 'PreconditionFailed', 'At least one of the preconditions did not hold.');
    const ifRange = request.headers.get('if-range');
    const wanted = ifRange === null || ifRange === etag ? request.headers.get('range') : null;
    const range = wanted === null ? undefined : rangeOf(wanted, size);
    if (range === 'unsatisfiable') {
      const answer = refused(416, 'InvalidRange', 'The requested range is not satisfiable');
      answer.headers.set('content-range', `bytes */${size}`);
      return answer;
    }
    const { start, end } = range ?? { start: 0, end: size - 1 };
    const headers = new Headers({
      'accept-ranges': 'bytes',
      'content-length': String(end - start + 1),
      'content-type': 'binary/octet-stream',
      etag,
      ...(range && { 'content-range': `bytes ${start}-${end}/${size}` }),
    });
    const empty = request.method === 'HEAD' || size === 0;
    const body = empty ? null : (Readable.toWeb(createReadStream(path, { start, end })) as ReadableStream);
    return new Response(body, { status: range ? 206 : 200, headers });
  }

  /** Below its bucket, and never above. */
  #path({ bucket, key }: ObjectAddress): string | undefined {
    const names = [bucket, ...key.split('/')];
    const legal = names.every((name) => name !== '' && name !== '.' && name !== '..' && !/[\0/]/.test(name));
    return legal ? join(this.#deps.directory, ...names) : undefined;
  }

  async #found(address: ObjectAddress): Promise<{ path: string; size: number; etag: string } | undefined> {
    const path = this.#path(address);
    if (path === undefined) return undefined;
    try {
      const { size, mtimeMs } = await stat(path).then(async (found) => {
        if (!found.isFile()) throw new Error('no file');
        await (await open(path)).close();
        return found;
      });
      return { path, size, etag: `"${size.toString(16)}-${Math.floor(mtimeMs).toString(16)}"` };
    } catch {
      return undefined;
    }
  }
}

class TooLarge extends Error {}

function bounded(bytesMax: number): Transform {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > bytesMax) done(new TooLarge());
      else done(null, chunk);
    },
  });
}

/** The host that the client has addressed is the one that was signed. */
function onHost(url: URL, request: Request): URL {
  const signed = new URL(url);
  signed.host = request.headers.get('host') ?? url.host;
  return signed;
}

/** One range of bytes; what cannot be read is as good as absent. */
function rangeOf(header: string, size: number): { start: number; end: number } | 'unsatisfiable' | undefined {
  const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/.exec(header.trim()) ?? [];
  if (first === '' && last === '') return undefined;
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size - 1 : Math.min(Number(last), size - 1);
  return start > end || start >= size ? 'unsatisfiable' : { start, end };
}

function split(path: string): ObjectAddress | undefined {
  const [bucket = '', ...rest] = path.split('/');
  return bucket === '' ? undefined : { bucket, key: rest.join('/') };
}

function decodedPath(path: string): string | undefined {
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}

function refused(status: number, code: string, message: string): Response {
  return new Response(
    `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`,
    { status, headers: { 'content-type': 'application/xml' } },
  );
}
