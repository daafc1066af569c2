import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

/** Signature Version 4, as far as checking requests and making presigned URLs needs it. */

export interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
}

export interface SignedRequest {
  method: string;
  url: URL;
  headers: Headers;
  body: Uint8Array;
}

/** What the credential of a request says. */
export interface Scope {
  accessKeyId: string;
  date: string;
  region: string;
  service: string;
}

export type SignatureFault = 'missing' | 'incomplete' | 'unknownKey' | 'wrong' | 'expired';

const ALGORITHM = 'AWS4-HMAC-SHA256';

/** The scope of a request, signed by its header or by its query; `undefined` when it is not signed. */
export function scopeOf(url: URL, headers: Headers): Scope | undefined {
  const credential =
    /Credential=([^,\s]+)/.exec(headers.get('authorization') ?? '')?.[1] ??
    url.searchParams.get('X-Amz-Credential') ??
    undefined;
  const [accessKeyId, date, region, service] = credential?.split('/') ?? [];
  if (accessKeyId === undefined || date === undefined || region === undefined || service === undefined)
    return undefined;
  return { accessKeyId, date, region, service };
}

/** `undefined` when the signature in the `Authorization` header is right. */
export function faultOfHeader(
  request: SignedRequest,
  secretOf: (accessKeyId: string) => string | undefined,
): SignatureFault | undefined {
  const { method, url, headers, body } = request;
  const authorization = headers.get('authorization');
  if (authorization === null) return 'missing';
  const scope = scopeOf(url, headers);
  const names = /SignedHeaders=([^,\s]+)/.exec(authorization)?.[1];
  const signature = /Signature=([0-9a-f]+)/.exec(authorization)?.[1];
  const dateTime = headers.get('x-amz-date');
  if (!scope || names === undefined || signature === undefined || dateTime === null) return 'incomplete';
  const secret = secretOf(scope.accessKeyId);
  if (secret === undefined) return 'unknownKey';
  const declared = headers.get('x-amz-content-sha256') ?? undefined;
  const hash = sha256(body);
  if (declared !== undefined && /^[0-9a-f]{64}$/.test(declared) && declared !== hash) return 'wrong';
  const canonical = [
    method,
    canonicalPath(url, scope.service),
    canonicalQuery(url.searchParams),
    ...canonicalHeaders(headers, names, url),
    names,
    declared ?? hash,
  ].join('\n');
  return equal(signature, sign(canonical, dateTime, scope, secret)) ? undefined : 'wrong';
}

export interface PresignRequest {
  method: string;
  url: URL;
  expiresInSec: number;
  nowMs: number;
}

/** Puts the signature into the query, for whoever has nothing but the URL. */
export function presigned(
  { method, url, expiresInSec, nowMs }: PresignRequest,
  { accessKeyId, secretAccessKey }: Credentials,
  region: string,
): string {
  const dateTime = new Date(nowMs).toISOString().replace(/[-:]|\.\d+/g, '');
  const scope = { accessKeyId, date: dateTime.slice(0, 8), region, service: 's3' };
  const signed = new URL(url);
  const parameters = {
    'X-Amz-Algorithm': ALGORITHM,
    'X-Amz-Credential': `${accessKeyId}/${scope.date}/${region}/s3/aws4_request`,
    'X-Amz-Date': dateTime,
    'X-Amz-Expires': String(expiresInSec),
    'X-Amz-SignedHeaders': 'host',
  };
  for (const [name, value] of Object.entries(parameters)) signed.searchParams.set(name, value);
  signed.searchParams.set('X-Amz-Signature', querySignature(method, signed, scope, secretAccessKey));
  return signed.href;
}

/** `undefined` when the URL was signed with these credentials for this method and is still good. */
export function faultOfQuery(
  method: string,
  url: URL,
  { accessKeyId, secretAccessKey }: Credentials,
  nowMs: number,
): SignatureFault | undefined {
  const scope = scopeOf(url, new Headers());
  const signature = url.searchParams.get('X-Amz-Signature');
  const from = millisecondsOf(url.searchParams.get('X-Amz-Date') ?? '');
  const seconds = Number(url.searchParams.get('X-Amz-Expires'));
  if (!scope || signature === null || from === undefined || !Number.isInteger(seconds)) return 'incomplete';
  if (scope.accessKeyId !== accessKeyId) return 'unknownKey';
  if (!equal(signature, querySignature(method, url, scope, secretAccessKey))) return 'wrong';
  return nowMs >= from + seconds * 1000 ? 'expired' : undefined;
}

function querySignature(method: string, url: URL, scope: Scope, secret: string): string {
  const query = new URLSearchParams(url.searchParams);
  query.delete('X-Amz-Signature');
  const canonical = [
    method,
    canonicalPath(url, 's3'),
    canonicalQuery(query),
    `host:${url.host}`,
    '',
    'host',
    'UNSIGNED-PAYLOAD',
  ].join('\n');
  return sign(canonical, url.searchParams.get('X-Amz-Date') ?? '', scope, secret);
}

function sign(canonical: string, dateTime: string, scope: Scope, secret: string): string {
  const { date, region, service } = scope;
  const text = [ALGORITHM, dateTime, `${date}/${region}/${service}/aws4_request`, sha256(canonical)].join(
    '\n',
  );
  const key = [date, region, service, 'aws4_request'].reduce<Buffer>(
    (made, part) => hmac(made, part),
    Buffer.from(`AWS4${secret}`),
  );
  return hmac(key, text).toString('hex');
}

/** Every service but S3 encodes the path, which is encoded already, once more. */
function canonicalPath(url: URL, service: string): string {
  const segments = url.pathname.split('/');
  return segments.map((one) => encoded(service === 's3' ? decodeURIComponent(one) : one)).join('/');
}

function canonicalQuery(query: URLSearchParams): string {
  return [...query]
    .map(([name, value]) => `${encoded(name)}=${encoded(value)}`)
    .sort((a, b) => (a < b ? -1 : 1))
    .join('&');
}

/** One line a header, and the empty line behind them. */
function canonicalHeaders(headers: Headers, names: string, url: URL): string[] {
  const textOf = (name: string): string =>
    name === 'host' ? (headers.get('host') ?? url.host) : (headers.get(name) ?? '');
  return [...names.split(';').map((name) => `${name}:${textOf(name).trim().replace(/ +/g, ' ')}`), ''];
}

function encoded(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

function millisecondsOf(dateTime: string): number | undefined {
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(dateTime);
  if (!parts) return undefined;
  const [year = 0, month = 1, day = 1, hours = 0, minutes = 0, seconds = 0] = parts.slice(1).map(Number);
  return Date.UTC(year, month - 1, day, hours, minutes, seconds);
}

function equal(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}

function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
