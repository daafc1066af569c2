export const REGION = 'us-east-1';
export const ACCOUNT = '123456789012';

const arn = (kind: string, name: string): string => `arn:aws:iot:${REGION}:${ACCOUNT}:${kind}/${name}`;

export const thingArn = (thing: string): string => arn('thing', thing);
export const groupArn = (group: string): string => arn('thinggroup', group);
export const jobArn = (jobId: string): string => arn('job', jobId);

export type Target = { kind: 'thing' | 'thinggroup'; name: string };

/** The target that an ARN names, of whatever region and account; `undefined` when it names none. */
export function targetOf(text: string): Target | undefined {
  const [, kind, name] = /^arn:[^:]*:iot:[^:]*:[^:]*:(thing|thinggroup)\/(.+)$/.exec(text) ?? [];
  return name === undefined ? undefined : { kind: kind as Target['kind'], name };
}
