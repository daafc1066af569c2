/** What a device asks for about its thing, as its topic says it. */
export type ThingOperation =
  | 'getPending'
  | 'startNext'
  | 'describe'
  | 'update'
  | 'shadowGet'
  | 'shadowUpdate'
  | 'shadowDelete';

/** What a device asks for before it is a thing, or to have another certificate. */
export type ProvisioningOperation = 'createCertificateFromCsr' | 'createKeysAndCertificate' | 'registerThing';

export type Operation = ThingOperation | ProvisioningOperation;

export interface ParsedTopic<O extends Operation = ThingOperation> {
  thing: string;
  operation: O;
  /** The job of describe and update; the shadow's name; the provisioning template. */
  target: string;
}

/** The front, in place of a job id; it can be described, and nothing else (T3). */
export const NEXT = '$next';

/** Reads a reserved topic (T1); `undefined` where it is no request of this service (E1). */
export function parseTopic(topic: string): ParsedTopic | undefined {
  const [root, things, thing = '', kind, ...rest] = topic.split('/');
  if (root !== '$aws' || things !== 'things' || thing === '') return undefined;
  const found = kind === 'jobs' ? jobsRequest(rest) : kind === 'shadow' ? shadowRequest(rest) : undefined;
  return found && { thing, ...found };
}

function jobsRequest(rest: readonly string[]): Omit<ParsedTopic, 'thing'> | undefined {
  const [first = '', verb] = rest;
  if (rest.length === 1) {
    if (first === 'get') return { operation: 'getPending', target: '' };
    return first === 'start-next' ? { operation: 'startNext', target: '' } : undefined;
  }
  if (rest.length !== 2 || first === '') return undefined;
  if (verb === 'get') return { operation: 'describe', target: first };
  return verb === 'update' && first !== NEXT ? { operation: 'update', target: first } : undefined;
}

const SHADOW_VERBS: Partial<Record<string, ThingOperation>> = {
  get: 'shadowGet',
  update: 'shadowUpdate',
  delete: 'shadowDelete',
};

function shadowRequest(rest: readonly string[]): Omit<ParsedTopic, 'thing'> | undefined {
  const isNamed = rest[0] === 'name';
  const [name = '', verb = ''] = isNamed ? rest.slice(1) : ['', rest[0]];
  const operation = SHADOW_VERBS[verb];
  if (!operation || rest.length !== (isNamed ? 3 : 1) || (isNamed && name === '')) return undefined;
  return { operation, target: name };
}

const PROVISIONING: readonly [RegExp, ProvisioningOperation][] = [
  [/^\$aws\/certificates\/create-from-csr\/json$/, 'createCertificateFromCsr'],
  [/^\$aws\/certificates\/create\/json$/, 'createKeysAndCertificate'],
  [/^\$aws\/provisioning-templates\/([^/]+)\/provision\/json$/, 'registerThing'],
];

/** All topics of fleet provisioning, answers too. */
export const PROVISIONING_FILTERS = ['$aws/certificates/#', '$aws/provisioning-templates/#'];

export function isProvisioning(topic: string): boolean {
  return topic.startsWith('$aws/certificates/') || topic.startsWith('$aws/provisioning-templates/');
}

/** Reads a topic of fleet provisioning, in JSON alone (AWS has CBOR, too); it names no thing. */
export function parseProvisioningTopic(
  topic: string,
): Omit<ParsedTopic<ProvisioningOperation>, 'thing'> | undefined {
  for (const [pattern, operation] of PROVISIONING) {
    const found = pattern.exec(topic);
    if (found) return { operation, target: found[1] ?? '' };
  }
  return undefined;
}
