import { RECEIPT_SHADOW, requestTopics } from '../../jobs/topics.ts';
import { FAILURE_CODE_MIN, reasonWords } from '../../transport/reasons.ts';
import { arnPlace, type PolicyAction, statementFor } from '../policy.ts';
import { agentFilters } from '../settings.ts';
import { explain } from './explain.ts';
import { type Finding, fail, ok, skipped, warn } from './finding.ts';
import type { DoctorHost } from './host.ts';
import { MqttSession, TakenOver } from './mqtt-session.ts';
import { LinkEnded } from './probe-link.ts';
import type { Target } from './target.ts';

/** CONNECT, each filter of the policy by itself, and the requests of the jobs protocol. */

/** A client that was pushed out comes back within this, if it is one that insists. */
const HOLD_MS = 3000;

export async function mqttChecks(
  target: Target,
  options: { write: boolean },
  host: DoctorHost,
): Promise<Finding[]> {
  let session: MqttSession;
  try {
    session = await MqttSession.open(target, host);
  } catch (error) {
    return [connectFailure(target, (error as Error).message)];
  }
  const version = session.version === 5 ? '5' : '3.1.1';
  const findings = [ok('CONNECT', `accepted, MQTT ${version}, client id ${target.clientId}`)];
  try {
    const ended = await session
      .ask(async (probe) => {
        const end = await probe.hold(HOLD_MS);
        if (end) throw end;
        return undefined;
      })
      .catch((error: unknown) => error as Error);
    if (ended) return [...findings, clientIdInUse(target, ended)];
    findings.push(ok('client id', `nobody else took ${target.clientId} within ${HOLD_MS / 1000} s`));
    for (const filter of agentFilters(target.config))
      findings.push(await subscribeCheck(session, filter, target));
    findings.push(...(await requestChecks(session, target, options, host)));
  } catch (error) {
    // It was still our own when it was watched.
    if (error instanceof TakenOver)
      return [...findings.filter(({ name }) => name !== 'client id'), clientIdInUse(target, error)];
    findings.push(connectFailure(target, (error as Error).message));
  } finally {
    session.close();
  }
  return findings;
}

function connectFailure(target: Target, words: string): Finding {
  const { cause, fix } = explain(words);
  const statement = statementText(target, 'iot:Connect', target.clientId);
  const mayBePolicy = /not authorized|hung up/i.test(words);
  return fail(
    'CONNECT',
    cause === words ? words : `${words}: ${cause}`,
    mayBePolicy ? `${fix}\n${statement}` : fix,
  );
}

function clientIdInUse({ clientId }: Target, end: Error): Finding {
  const said = end instanceof TakenOver;
  const { fix } = explain('Session taken over');
  const words = said
    ? `the client id ${clientId} is in use: another client connected with it and took the session over (L26)`
    : `the connection ended while nothing was asked (${end.message}): another client uses the client id ${clientId}, most likely (L26)`;
  return fail('client id', words, fix);
}

async function subscribeCheck(session: MqttSession, filter: string, target: Target): Promise<Finding> {
  const name = `SUBSCRIBE ${shortened(filter, target)}`;
  const denied = (why: string): Finding =>
    fail(
      name,
      `${why} ${filter}: the policy does not allow iot:Subscribe on it`,
      `add to the policy (and iot:Receive on the topics of it):\n${statementText(target, 'iot:Subscribe', filter)}`,
    );
  try {
    const code = await session.ask((probe) => probe.subscribe(filter));
    if (code >= FAILURE_CODE_MIN) return denied(`the broker refuses (${reasonWords(code)})`);
    return ok(name, `granted at QoS ${code}`);
  } catch (error) {
    if (error instanceof LinkEnded) return denied(`the broker hung up on`);
    throw error;
  }
}

async function requestChecks(
  session: MqttSession,
  target: Target,
  { write }: { write: boolean },
  host: DoctorHost,
): Promise<Finding[]> {
  const topics = requestTopics(target.config.thing);
  const nobody = `evenkeel-doctor-${host.clock.uuid()}`;
  const ask = (name: string, topic: string, resource: string, body: object): Promise<Finding> =>
    requestCheck(session, { name, topic, resource, body }, target);
  const shadow = 'receipts by the shadow';
  return [
    await ask('PUBLISH $next/get', topics.describe('$next'), topics.describe('*'), {
      includeJobDocument: false,
    }),
    await ask('PUBLISH get', topics.pending, topics.pending, {}),
    // Of a job that does not exist: refused by the service where the policy lets it through, and nothing is changed.
    await ask('PUBLISH update', topics.update(nobody), topics.update('*'), { status: 'IN_PROGRESS' }),
    ...(!target.config.receipts.shadow
      ? []
      : write
        ? [
            await ask(shadow, topics.receiptShadow, topics.receiptShadow, {
              state: { reported: {} },
            }),
          ]
        : [skipped(shadow, 'not tried: it would write to the shadow; --write does')]),
    ...(target.config.receipts.topic === undefined
      ? []
      : [skipped('receipts by the topic', `not tried: ${target.config.receipts.topic} may have readers`)]),
  ];
}

interface Request {
  name: string;
  topic: string;
  /** As a policy names it. */
  resource: string;
  body: object;
}

/** Refusals of the service that show that a request got there. */
const ARRIVED = ['ResourceNotFound', 'InvalidStateTransition', 'VersionMismatch', 'TerminalStateReached'];
const FORBIDDEN = ['403', '401', 'Unauthorized', 'Forbidden'];

async function requestCheck(
  session: MqttSession,
  { name, topic, resource, body }: Request,
  target: Target,
): Promise<Finding> {
  const denied = (why: string): Finding =>
    fail(
      name,
      `${why} ${topic}: the policy does not allow iot:Publish on it`,
      `add to the policy:\n${statementText(target, 'iot:Publish', resource)}`,
    );
  try {
    const answer = await session.ask((probe) => probe.request(topic, body));
    if (!answer) {
      return fail(
        name,
        `${topic}: the broker took it, and no answer came: no AWS IoT Jobs is behind this broker, the thing ${target.config.thing} does not exist, or the policy does not allow iot:Receive on the answers`,
        `is it the right endpoint and thing? aws iot describe-thing --thing-name ${target.config.thing}\n${statementText(target, 'iot:Receive', `${resource}/*`)}`,
      );
    }
    const code = text(answer.body['code']);
    if (answer.accepted) return ok(name, 'answered');
    if (ARRIVED.includes(code)) return ok(name, `answered (${code}, as it should)`);
    if (FORBIDDEN.includes(code)) return denied(`the cloud refuses (${code})`);
    return warn(
      name,
      `answered: ${code} ${text(answer.body['message'])}`,
      'see the meaning of this code in the AWS IoT developer guide; the agent tries again by itself',
    );
  } catch (error) {
    if (!(error instanceof LinkEnded)) throw error;
    return denied(error.code === undefined ? 'the broker hung up on' : `${error.message}, on`);
  }
}

/** What a service says should be text. */
function text(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

function shortened(filter: string, { config }: Target): string {
  return filter
    .replace(`$aws/things/${config.thing}/`, '')
    .replace(`shadow/name/${RECEIPT_SHADOW}/`, 'shadow ');
}

/** Ready to be pasted into a policy. */
function statementText({ config }: Target, action: PolicyAction, name: string): string {
  return JSON.stringify(statementFor(action, [name], arnPlace(config.connection.url)));
}
