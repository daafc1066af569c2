import { Refusal } from './types.ts';

/** What is put in the place of `${aws:iot:…}` in a job document (section 6.3). */

/** L4 */
export const SUBSTITUTIONS_MAX = 10;
/** L10 */
const EXPIRES_SECONDS_DEFAULT = 3600;
/** J13: each of the words of an upload's key may stand twice. */
const WORDS_MAX = 2;

const PARAMETER = /\$\{aws:iot:parameter:([a-zA-Z0-9_-]+)\}/g;
const WORD = '\\$\\{(?:thingName|jobId|executionNumber)\\}';
const PRESIGNED = new RegExp(
  `\\$\\{aws:iot:s3-presigned-url(-upload|-v1|-v2)?:((?:${WORD}|[^{}"\\s])*)\\}`,
  'g',
);

export interface Address {
  bucket: string;
  key: string;
}

/** The objects that URLs of a document are about. */
export interface Objects {
  addressOf(url: string): Address | undefined;
  presign(method: 'GET' | 'PUT', address: Address, expiresInSec: number): string;
}

export interface Requester {
  thingName: string;
  jobId: string;
  executionNumber: number;
}

/** J11: parameters of a managed template, put in when the job is made. */
export function withParameters(
  document: string,
  parameters: Readonly<Record<string, string>>,
  omitted: 'emptyString' | 'removed',
): string {
  const kept = omitted === 'removed' ? withoutOmitted(document, parameters) : document;
  return kept.replace(PARAMETER, (_, name: string) => {
    const value = Object.hasOwn(parameters, name) ? (parameters[name] ?? '') : '';
    // It stands within a JSON string.
    return JSON.stringify(value).slice(1, -1);
  });
}

/** Names of the parameters that a document has places for. */
export function parametersOf(document: string): Set<string> {
  return new Set([...document.matchAll(PARAMETER)].map(([, name = '']) => name));
}

/** Refuses what could not be substituted when a device asks. */
export function checkDocument(
  document: string,
  mayPresign: boolean,
  objects: Pick<Objects, 'addressOf'>,
): void {
  if (!isJson(document)) throw new Refusal('InvalidRequest', 'The job document is not valid JSON.');
  const found = [...document.matchAll(PRESIGNED)];
  if (found.length > SUBSTITUTIONS_MAX)
    throw new Refusal('InvalidRequest', `A job document has at most ${SUBSTITUTIONS_MAX} substitutions.`);
  if (found.length > 0 && !mayPresign)
    throw new Refusal(
      'InvalidRequest',
      'A job document with presigned URLs needs presignedUrlConfig.roleArn.',
    );
  for (const [placeholder, form, url = ''] of found) {
    const address = addressIn(form, url, objects);
    const keyed = form === '-upload' || (address?.key ?? '') !== '';
    if (!address || !keyed)
      throw new Refusal('InvalidRequest', `Not the URL of an S3 object: ${placeholder}`);
    for (const word of ['thingName', 'jobId', 'executionNumber']) {
      if (url.split(`\${${word}}`).length - 1 > (form === '-upload' ? WORDS_MAX : 0))
        throw new Refusal('InvalidRequest', `\${${word}} is too often in ${placeholder}`);
    }
  }
}

/** J14: each time that a device gets the document, its URLs are new. */
export function withPresignedUrls(
  document: string,
  requester: Requester,
  expiresInSec: number | undefined,
  objects: Objects,
): string {
  return document.replace(PRESIGNED, (placeholder, form: string | undefined, url: string) => {
    const address = addressIn(form, url, objects);
    if (!address) return placeholder;
    const seconds = expiresInSec ?? EXPIRES_SECONDS_DEFAULT;
    if (form !== '-upload') return objects.presign('GET', address, seconds);
    return objects.presign('PUT', { ...address, key: uploadKey(address.key, requester) }, seconds);
  });
}

function addressIn(
  form: string | undefined,
  url: string,
  objects: Pick<Objects, 'addressOf'>,
): Address | undefined {
  // A URL would take braces for something to be encoded; they are put back below.
  const [safe, original] = [url.replaceAll('${', '<').replaceAll('}', '>'), (text: string) => unbraced(text)];
  // `-v2`: percent-encoded as a whole, `%3FversionId%3D…` included.
  const address = objects.addressOf(form === '-v2' ? withDecodedQuery(safe) : safe);
  return address && { bucket: address.bucket, key: original(address.key) };
}

function unbraced(text: string): string {
  return text.replace(/<(thingName|jobId|executionNumber)>/g, '${$1}');
}

function withDecodedQuery(url: string): string {
  return url.replace(/%3F/i, '?').replace(/%3D/i, '=');
}

function uploadKey(key: string, { thingName, jobId, executionNumber }: Requester): string {
  if (key === '' || key.endsWith('/')) return `${key}${jobId}/${thingName}/${executionNumber}`;
  const words: Record<string, string> = { thingName, jobId, executionNumber: String(executionNumber) };
  return key.replace(/\$\{(thingName|jobId|executionNumber)\}/g, (_, word: string) => words[word] ?? '');
}

/** The other reading of J11: who is not given is not there. */
function withoutOmitted(document: string, parameters: Readonly<Record<string, string>>): string {
  const isOmitted = (value: unknown): boolean =>
    typeof value === 'string' &&
    [...value.matchAll(PARAMETER)].some(([, name = '']) => !Object.hasOwn(parameters, name));
  const kept = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.filter((one) => !isOmitted(one)).map(kept);
    if (typeof value !== 'object' || value === null) return value;
    const members = Object.entries(value).filter(([, one]) => !isOmitted(one));
    return Object.fromEntries(members.map(([name, one]) => [name, kept(one)]));
  };
  return JSON.stringify(kept(JSON.parse(document)));
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
