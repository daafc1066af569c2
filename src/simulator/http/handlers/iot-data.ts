import { type Shadow, stamped } from '../../service/shadows.ts';
import { Refusal } from '../../service/types.ts';
import type { Handlers, HttpPlaneDeps } from '../deps.ts';
import { pageOf } from '../paging.ts';

type IotDataHandlers = Pick<
  Handlers,
  'GetThingShadow' | 'UpdateThingShadow' | 'DeleteThingShadow' | 'ListNamedShadowsForThing' | 'Publish'
>;

/** AWS IoT shadow limit. */
const SHADOW_BYTES_MAX = 8 * 1024;
const SHADOWS_PER_PAGE = 25;
/** L18, L19 */
const PAYLOAD_BYTES_MAX = 128 * 1024;
const TOPIC_BYTES_MAX = 256;

export function iotDataHandlers(deps: HttpPlaneDeps): IotDataHandlers {
  const { service, registry, shadows, clock, publish } = deps;
  const nowSeconds = (): number => Math.floor(clock.wallMs() / 1000);
  const missing = (thing: string, name: string): Refusal =>
    new Refusal(
      'ResourceNotFound',
      `No shadow exists with name: '${name === '' ? thing : `${thing}~${name}`}'`,
    );
  /** What is changed over HTTP is told over MQTT, too, when it is durable. */
  const tell = async (thing: string, name: string, told: Record<string, object>): Promise<void> => {
    await service.saved();
    const shadow = `$aws/things/${thing}/shadow${name === '' ? '' : `/name/${name}`}`;
    for (const [end, body] of Object.entries(told))
      publish?.(`${shadow}/${end}`, Buffer.from(JSON.stringify(body)), 1);
  };
  return {
    GetThingShadow: ({ thingName, name = '' }) => {
      const found = shadows.get(thingName, name);
      if (!found) throw missing(thingName, name);
      return {
        state: found.state,
        metadata: found.metadata,
        version: found.version,
        timestamp: nowSeconds(),
      };
    },
    UpdateThingShadow: async ({ thingName, name = '' }, { payload }) => {
      if (payload.length > SHADOW_BYTES_MAX)
        throw new Refusal('RequestEntityTooLarge', 'The payload exceeds the maximum size allowed');
      const { state, version, clientToken } = shadowRequest(payload);
      const timestamp = nowSeconds();
      const previous = shadows.get(thingName, name);
      const current = shadows.update(thingName, name, state, timestamp, version);
      const token = clientToken !== undefined && { clientToken };
      const accepted = {
        state,
        metadata: stamped(state, timestamp),
        version: current.version,
        timestamp,
        ...token,
      };
      const documents = {
        ...(previous && { previous: withoutTime(previous) }),
        current: withoutTime(current),
        timestamp,
        ...token,
      };
      await tell(thingName, name, { 'update/accepted': accepted, 'update/documents': documents });
      return accepted;
    },
    DeleteThingShadow: async ({ thingName, name = '' }) => {
      const found = shadows.get(thingName, name);
      if (!found) throw missing(thingName, name);
      shadows.delete(thingName, name);
      const accepted = { version: found.version, timestamp: nowSeconds() };
      await tell(thingName, name, { 'delete/accepted': accepted });
      return accepted;
    },
    ListNamedShadowsForThing: ({ thingName, nextToken, pageSize = SHADOWS_PER_PAGE }) => {
      registry.thing(thingName);
      const { items, ...more } = pageOf(
        shadows.names(thingName).filter((name) => name !== ''),
        (one) => one,
        { maxResults: pageSize, ...(nextToken !== undefined && { nextToken }) },
        thingName,
      );
      return { results: items, timestamp: nowSeconds(), ...more };
    },
    Publish: ({ topic, qos = 0, retain = false }, { payload }) => {
      if (
        Buffer.byteLength(topic) > TOPIC_BYTES_MAX ||
        /[#+]/.test(topic) ||
        payload.length > PAYLOAD_BYTES_MAX
      )
        throw new Refusal('InvalidRequest', `cannot publish to ${topic}: topic or payload is not allowed`);
      if (retain) throw new Refusal('InvalidRequest', 'retained messages are not simulated');
      publish?.(topic, payload, qos === 1 ? 1 : 0);
      return {};
    },
  };
}

function withoutTime({ state, metadata, version }: Shadow): object {
  return { state, metadata, version };
}

function shadowRequest(payload: Uint8Array): { state: object; version?: number; clientToken?: string } {
  const request = parsed(payload);
  const { state, version, clientToken } = request;
  if (state === undefined) throw new Refusal('InvalidRequest', 'Missing required node: state');
  if (typeof state !== 'object' || state === null || Array.isArray(state))
    throw new Refusal('InvalidRequest', 'State node must be an object');
  const strange = Object.keys(state).find((key) => key !== 'desired' && key !== 'reported');
  if (strange !== undefined)
    throw new Refusal('InvalidRequest', `State contains an invalid node: '${strange}'`);
  if (version !== undefined && !(typeof version === 'number' && Number.isInteger(version)))
    throw new Refusal('InvalidRequest', 'Invalid version');
  return {
    state,
    ...(version !== undefined && { version }),
    ...(typeof clientToken === 'string' && { clientToken }),
  };
}

function parsed(payload: Uint8Array): Record<string, unknown> {
  try {
    const value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload)) as unknown;
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new Refusal('InvalidRequest', 'Payload contains invalid json');
}
