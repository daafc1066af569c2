import type { Config } from '../config/config.ts';
import { jobsFilters, jobsPrefix, requestTopics } from '../jobs/topics.ts';
import {
  CLAIM_CLIENT,
  type KeysFrom,
  provisioningFilters,
  provisioningTopics,
} from '../provisioning/requests.ts';
import { CommandFailed } from './command-failed.ts';
import { readConfig } from './settings.ts';

/**
 * The AWS IoT policy that this agent needs, made of the very topics that it uses. On topics, not `iotjobsdata:` actions,
 * which are for HTTPS alone (D5); `topicfilter/` for Subscribe and `topic/` for the others, which AWS's own example
 * mixes up (A22). In a policy `*` matches any text, and `+` and `#` are characters like others.
 */

export type PolicyAction = 'iot:Connect' | 'iot:Publish' | 'iot:Subscribe' | 'iot:Receive';

export interface PolicyStatement {
  Effect: 'Allow';
  Action: PolicyAction;
  Resource: string | readonly string[];
}

export interface PolicyDocument {
  Version: '2012-10-17';
  Statement: readonly PolicyStatement[];
}

/** Where the resources are: `REGION` and `ACCOUNT` stand where they are not known. */
export interface ArnPlace {
  region: string;
  account: string;
}

/** AWS takes no longer policy; white space does not count. */
export const POLICY_CHARS_MAX = 2048;
/** One policy for all things whose client id is their name, and whose certificate is attached to them. */
const THING_VARIABLE = '${iot:Connection.Thing.ThingName}';

type Uses = Pick<Config, 'thing' | 'receipts'> & {
  connection: Pick<Config['connection'], 'clientId'>;
  /** Absent: nothing but jobs. */
  provisioning?: Config['provisioning'];
};

/** What the agent does of each kind: client id, topics, filters, topics. */
export function usesOf({
  thing,
  connection,
  receipts,
  provisioning,
}: Uses): Record<PolicyAction, readonly string[]> {
  const topics = requestTopics(thing);
  const { rotationTemplate: template, keys = 'device' } = provisioning ?? {};
  const rotation = template === undefined ? [] : provisioningTopics(template, keys);
  const shadow = receipts.shadow ? [topics.receiptShadow] : [];
  return {
    'iot:Connect': [connection.clientId ?? thing],
    'iot:Publish': [
      topics.pending,
      topics.describe('*'),
      topics.update('*'),
      ...shadow,
      ...(receipts.topic === undefined ? [] : [receipts.topic]),
      ...rotation,
    ],
    'iot:Subscribe': [
      ...jobsFilters(thing),
      ...(template === undefined ? [] : provisioningFilters(template, keys)),
    ],
    // Nothing comes but by a filter or as the answer to a request (T4); naming each again would fill the policy.
    'iot:Receive': [
      `${jobsPrefix(thing)}*`,
      `${topics.receiptShadow}/*`,
      ...rotation.map((topic) => `${topic}/*`),
    ],
  };
}

const KINDS: Record<PolicyAction, string> = {
  'iot:Connect': 'client',
  'iot:Publish': 'topic',
  'iot:Subscribe': 'topicfilter',
  'iot:Receive': 'topic',
};

/** The statement that allows one thing, to be added to a policy. */
export function statementFor(
  action: PolicyAction,
  names: readonly string[],
  { region, account }: ArnPlace,
): PolicyStatement {
  const partition = region.startsWith('cn-') ? 'aws-cn' : 'aws';
  const arns = names.map((name) => `arn:${partition}:iot:${region}:${account}:${KINDS[action]}/${name}`);
  return { Effect: 'Allow', Action: action, Resource: arns.length === 1 ? (arns[0] as string) : arns };
}

/** What a device does with its claim certificate: nothing but asking for another one. */
export function claimUses(template: string, keys: KeysFrom): Record<PolicyAction, readonly string[]> {
  const topics = provisioningTopics(template, keys);
  return {
    'iot:Connect': [`${CLAIM_CLIENT}*`],
    'iot:Publish': topics,
    'iot:Subscribe': provisioningFilters(template, keys),
    'iot:Receive': topics.map((topic) => `${topic}/*`),
  };
}

export function iotPolicy(uses: Uses, place: ArnPlace): PolicyDocument {
  return policyFor(usesOf(uses), place);
}

export function policyFor(uses: Record<PolicyAction, readonly string[]>, place: ArnPlace): PolicyDocument {
  const statements = Object.entries(uses).map(([action, names]) =>
    statementFor(action as PolicyAction, names, place),
  );
  return { Version: '2012-10-17', Statement: statements };
}

/** As the endpoint names it, such as `PREFIX-ats.iot.eu-west-1.amazonaws.com`. */
export function regionOf(url: string): string | undefined {
  const host = URL.canParse(url) ? new URL(url).hostname : '';
  return /\.iot\.([a-z0-9-]+)\.(?:vpce\.)?amazonaws\.com(?:\.cn)?$/.exec(host)?.[1];
}

export function arnPlace(url: string, given: Partial<ArnPlace> = {}): ArnPlace {
  return { region: given.region ?? regionOf(url) ?? 'REGION', account: given.account ?? 'ACCOUNT' };
}

export interface PolicyOptions {
  config?: string;
  account?: string;
  region?: string;
  fleet?: boolean;
  claim?: boolean;
}

/** `evenkeel policy`: prints it. What is still missing goes to stderr, so that stdout is always the policy alone. */
export function policy(options: PolicyOptions): void {
  const config = readConfig(options.config);
  const { account, region } = options;
  if (account !== undefined && !/^\d{12}$/.test(account))
    throw new CommandFailed(`--account ${account}: must be the 12 digits of an AWS account`);
  if (region !== undefined && !/^[a-z]{2}(-[a-z]+)+-\d$/.test(region))
    throw new CommandFailed(`--region ${region}: must look like eu-west-1`);
  const { clientId } = config.connection;
  if (options.fleet && clientId !== undefined && clientId !== config.thing)
    throw new CommandFailed('--fleet: connection.clientId must be the name of the thing');
  const place = arnPlace(config.connection.url, {
    ...(region !== undefined && { region }),
    ...(account !== undefined && { account }),
  });
  const document = options.claim ? claimPolicy(config, place) : iotPolicy(usesFor(config, options), place);
  process.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
  for (const note of notesOn(document, place)) process.stderr.write(`${note}\n`);
}

function claimPolicy({ provisioning }: Config, place: ArnPlace): PolicyDocument {
  const { template, keys } = provisioning;
  if (template === undefined) throw new CommandFailed('--claim: provisioning.template is not set');
  return policyFor(claimUses(template, keys), place);
}

function usesFor(config: Config, { fleet }: PolicyOptions): Uses {
  return fleet
    ? {
        thing: THING_VARIABLE,
        connection: {},
        receipts: fleetReceipts(config),
        provisioning: config.provisioning,
      }
    : config;
}

/** A receipt topic that names the thing is each thing's own. */
function fleetReceipts({ thing, receipts }: Config): Config['receipts'] {
  if (receipts.topic === undefined) return receipts;
  const levels = receipts.topic.split('/').map((level) => (level === thing ? THING_VARIABLE : level));
  return { ...receipts, topic: levels.join('/') };
}

function notesOn(document: PolicyDocument, { region, account }: ArnPlace): string[] {
  const chars = JSON.stringify(document).length;
  return [
    ...(region === 'REGION' ? ['put your region where REGION stands, or give it with --region'] : []),
    ...(account === 'ACCOUNT' ? ['put your account where ACCOUNT stands, or give it with --account'] : []),
    ...(chars > POLICY_CHARS_MAX
      ? [`it has ${chars} characters and AWS takes ${POLICY_CHARS_MAX}: --fleet makes it shorter`]
      : []),
  ];
}
