import { X509Certificate } from 'node:crypto';
import {
  AddThingToThingGroupCommand,
  AttachPolicyCommand,
  AttachThingPrincipalCommand,
  CreateCertificateFromCsrCommand,
  CreatePolicyCommand,
  CreateThingCommand,
  CreateThingGroupCommand,
  DeleteCertificateCommand,
  DeleteJobCommand,
  DeletePolicyCommand,
  DeleteThingCommand,
  DeleteThingGroupCommand,
  DescribeCertificateCommand,
  DescribeEndpointCommand,
  DetachPolicyCommand,
  DetachThingPrincipalCommand,
  type IoTClient,
  ListPrincipalThingsCommand,
  ListTargetsForPolicyCommand,
  ListThingPrincipalsCommand,
  paginateListCertificates,
  paginateListJobs,
  paginateListPolicies,
  paginateListThingGroups,
  paginateListThings,
  UpdateCertificateCommand,
} from '@aws-sdk/client-iot';
import { certificateRequest, newPrivateKey } from '../../src/provisioning/csr.ts';

/** What the measurement makes in an account, and how all of it goes away again. */

/** Every name begins with it; nothing else is ever touched. */
export const NAME_PREFIX = 'evenkeel-test-';
/** Things take no tags, so they carry this attribute. */
const ATTRIBUTE = 'evenkeelTest';
const TRIES_MAX = 8;
const PASSING = new Set([
  'DeleteConflictException',
  'InvalidRequestException',
  'InvalidStateTransitionException',
  'LimitExceededException',
  'ThrottlingException',
  'ServiceUnavailableException',
]);

export type Pause = (ms: number) => Promise<unknown>;

export interface DeviceFacts {
  thing: string;
  thingArn: string;
  group: string;
  groupArn: string;
  endpoint: string;
  certificate: string;
  privateKey: string;
}

/** Makes a thing in a group of its own, with a certificate and a policy; all names begin with `name`. */
export async function makeDevice(
  iot: IoTClient,
  name: string,
  note: (what: string) => void,
): Promise<DeviceFacts> {
  const tags = [{ Key: ATTRIBUTE, Value: name }];
  const { endpointAddress = '' } = await iot.send(
    new DescribeEndpointCommand({ endpointType: 'iot:Data-ATS' }),
  );
  const group = await iot.send(new CreateThingGroupCommand({ thingGroupName: name, tags }));
  note(`thing group ${name}`);
  const thing = await iot.send(
    new CreateThingCommand({ thingName: name, attributePayload: { attributes: { [ATTRIBUTE]: name } } }),
  );
  note(`thing ${name}`);
  await iot.send(new AddThingToThingGroupCommand({ thingName: name, thingGroupName: name }));
  const policyDocument = JSON.stringify(policyOf(thing.thingArn ?? '', name));
  await iot.send(new CreatePolicyCommand({ policyName: name, policyDocument, tags }));
  note(`policy ${name}`);
  // Certificates take no tags and no names. Inactive, it is found again by its subject; active, by its policy.
  const privateKey = newPrivateKey();
  const certificateSigningRequest = certificateRequest(privateKey, name);
  const {
    certificateArn = '',
    certificatePem = '',
    certificateId = '',
  } = await iot.send(new CreateCertificateFromCsrCommand({ certificateSigningRequest, setAsActive: false }));
  note(`certificate ${certificateId}`);
  await iot.send(new AttachPolicyCommand({ policyName: name, target: certificateArn }));
  await iot.send(new UpdateCertificateCommand({ certificateId, newStatus: 'ACTIVE' }));
  await iot.send(new AttachThingPrincipalCommand({ thingName: name, principal: certificateArn }));
  return {
    thing: name,
    thingArn: thing.thingArn ?? '',
    group: name,
    groupArn: group.thingGroupArn ?? '',
    endpoint: endpointAddress,
    certificate: certificatePem,
    privateKey,
  };
}

/** Its own jobs topics and nothing else; HTTPS has actions of its own (D5), which the caller's credentials allow. */
function policyOf(thingArn: string, thing: string): object {
  const base = thingArn.replace(/:thing\/.*$/, '');
  const topics = `$aws/things/${thing}/jobs/*`;
  const allow = (Action: string | string[], Resource: string): object => ({
    Effect: 'Allow',
    Action,
    Resource,
  });
  return {
    Version: '2012-10-17',
    Statement: [
      allow('iot:Connect', `${base}:client/${thing}`),
      allow(['iot:Publish', 'iot:Receive'], `${base}:topic/${topics}`),
      allow('iot:Subscribe', `${base}:topicfilter/${topics}`),
    ],
  };
}

/** Removes everything whose name begins with `prefix`, in the order in which it lets go. Says what, and what stays. */
export async function cleanUp(
  iot: IoTClient,
  prefix: string,
  { pause, note }: { pause: Pause; note(what: string): void },
): Promise<string[]> {
  if (!prefix.startsWith(NAME_PREFIX)) throw new Error(`cannot clean up ${prefix}: not ours`);
  const left: string[] = [];
  const gone = async (what: string, act: () => Promise<unknown>): Promise<void> => {
    const error = await persistently(act, pause);
    if (error === undefined) note(`removed ${what}`);
    else left.push(`${what}: ${error}`);
  };
  const ours = (name: string | undefined): name is string => name?.startsWith(prefix) === true;

  for (const { jobId } of await all(paginateListJobs({ client: iot }, {}), ({ jobs }) => jobs)) {
    if (ours(jobId)) await gone(`job ${jobId}`, () => iot.send(new DeleteJobCommand({ jobId, force: true })));
  }
  const policies = await all(paginateListPolicies({ client: iot }, {}), ({ policies }) => policies);
  for (const { policyName } of policies) {
    if (!ours(policyName)) continue;
    const { targets = [] } = await iot.send(new ListTargetsForPolicyCommand({ policyName }));
    for (const target of targets) {
      const certificateId = idOf(target);
      await gone(`the use of certificate ${certificateId}`, () =>
        iot.send(new UpdateCertificateCommand({ certificateId, newStatus: 'INACTIVE' })),
      );
      await gone(`policy ${policyName} of ${target}`, () =>
        iot.send(new DetachPolicyCommand({ policyName, target })),
      );
      await removeCertificate(iot, target, gone);
    }
    await gone(`policy ${policyName}`, () => iot.send(new DeletePolicyCommand({ policyName })));
  }
  const things = await all(paginateListThings({ client: iot }, {}), ({ things }) => things);
  for (const { thingName, attributes } of things) {
    if (!ours(thingName) || attributes?.[ATTRIBUTE] === undefined) continue;
    const { principals = [] } = await iot.send(new ListThingPrincipalsCommand({ thingName }));
    for (const principal of principals) await removeCertificate(iot, principal, gone, thingName);
    await gone(`thing ${thingName}`, () => iot.send(new DeleteThingCommand({ thingName })));
  }
  // What was cut off between its certificate and its policy, or while both were removed.
  const certificates = await all(
    paginateListCertificates({ client: iot }, {}),
    ({ certificates }) => certificates,
  );
  for (const { certificateId, certificateArn = '', status } of certificates) {
    if (status !== 'INACTIVE' || !ours(await subjectOf(iot, certificateId))) continue;
    await removeCertificate(iot, certificateArn, gone);
  }
  const named = paginateListThingGroups({ client: iot }, { namePrefixFilter: prefix });
  const groups = await all(named, ({ thingGroups }) => thingGroups);
  for (const { groupName } of groups) {
    if (ours(groupName))
      await gone(`thing group ${groupName}`, () =>
        iot.send(new DeleteThingGroupCommand({ thingGroupName: groupName })),
      );
  }
  return left;
}

/** A certificate that things still hold is let go by them first. */
async function removeCertificate(
  iot: IoTClient,
  arn: string,
  gone: (what: string, act: () => Promise<unknown>) => Promise<void>,
  thing?: string,
): Promise<void> {
  const certificateId = idOf(arn);
  const holders = thing === undefined ? await holdersOf(iot, arn) : [thing];
  for (const thingName of holders)
    await gone(`certificate of ${thingName}`, () =>
      iot.send(new DetachThingPrincipalCommand({ thingName, principal: arn })),
    );
  await gone(`certificate ${certificateId}`, async () => {
    await iot.send(new UpdateCertificateCommand({ certificateId, newStatus: 'INACTIVE' }));
    await iot.send(new DeleteCertificateCommand({ certificateId }));
  });
}

const idOf = (arn: string): string => arn.replace(/^.*:cert\//, '');

/** The common name; `undefined` where there is none, or no such certificate any more. */
async function subjectOf(iot: IoTClient, certificateId: string | undefined): Promise<string | undefined> {
  const { certificateDescription } = await iot
    .send(new DescribeCertificateCommand({ certificateId }))
    .catch((error: unknown) => {
      if ((error as Error).name === 'ResourceNotFoundException') return { certificateDescription: undefined };
      throw error;
    });
  try {
    const { subject } = new X509Certificate(certificateDescription?.certificatePem ?? '');
    return /^CN=(.*)$/m.exec(subject)?.[1];
  } catch {
    return undefined;
  }
}

async function holdersOf(iot: IoTClient, principal: string): Promise<string[]> {
  return (await iot.send(new ListPrincipalThingsCommand({ principal }))).things ?? [];
}

/** `undefined` when it is done, or was done already; else why not. Deletions at AWS take their time. */
async function persistently(act: () => Promise<unknown>, pause: Pause): Promise<string | undefined> {
  for (let tries = 1; ; tries += 1) {
    try {
      await act();
      return undefined;
    } catch (error) {
      const { name, message } = error as Error;
      if (name === 'ResourceNotFoundException') return undefined;
      if (!PASSING.has(name) || tries >= TRIES_MAX) return `${name}: ${message}`;
      await pause(1000 * tries);
    }
  }
}

/** All pages first: what is listed is about to be removed. */
async function all<Page, One>(
  pages: AsyncIterable<Page>,
  itemsOf: (page: Page) => One[] | undefined,
): Promise<One[]> {
  const found: One[] = [];
  for await (const page of pages) found.push(...(itemsOf(page) ?? []));
  return found;
}
