/** What a device asks for, as its topic says it. */
export type Operation =
  | 'getPending'
  | 'startNext'
  | 'describe'
  | 'update'
  | 'shadowGet'
  | 'shadowUpdate'
  | 'shadowDelete';

export interface ParsedTopic {
  thing: string;
  operation: Operation;
  /** The job of describe and update; the shadow's name. */
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

const SHADOW_VERBS: Partial<Record<string, Operation>> = {
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
