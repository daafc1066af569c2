import type { JobsService } from '../service/jobs-service.ts';
import type { Registry } from '../service/registry.ts';
import type { Shadows } from '../service/shadows.ts';
import type { Tags } from '../service/tags.ts';
import type { Templates } from '../service/templates.ts';
import type { SimulatorClock } from '../service/types.ts';
import type { ObjectStore } from './objects.ts';
import type { ServiceName } from './operation.ts';
import type { Credentials } from './signature.ts';
import type { InputOf, OperationKey } from './table.ts';

/** A fault on purpose: asked before each call; a code makes the call fail with it, unperformed. */
export type HttpFaults = (
  service: ServiceName,
  operation: string,
  input: Readonly<Record<string, unknown>>,
) => HttpFault | undefined | Promise<HttpFault | undefined>;

export interface HttpFault {
  /** Such as `Throttling` or `ServiceUnavailableException`. */
  code: string;
  message?: string;
}

/** One answered call, for whoever watches. */
export interface HttpCall {
  service: ServiceName;
  operation: string;
  status: number;
  /** The name of the error, where there was one. */
  error?: string;
  input: Readonly<Record<string, unknown>>;
}

export interface HttpPlaneDeps {
  service: JobsService;
  registry: Registry;
  templates: Templates;
  tags: Tags;
  shadows: Shadows;
  objects: ObjectStore;
  clock: SimulatorClock;
  /** Hands a message to the broker. */
  publish?(topic: string, payload: Uint8Array, qos: 0 | 1): void;
  /** `host:port` for DescribeEndpoint; this plane's own where there is none. */
  endpoint?(endpointType: string): string | undefined;
  faults?: HttpFaults;
  onCall?(call: HttpCall): void;
  /** Requests must be signed by one of these; without them no signature is looked at. */
  checkSignatures?: readonly Credentials[];
  /** The services of this port; all of them on one port when none are named (C8). */
  services?: readonly ServiceName[];
}

export interface CallContext {
  /** As the client has addressed it. */
  host: string;
  /** The body, where it is bytes. */
  payload: Uint8Array;
}

/** `undefined` is answered with an empty body (C7). */
export type Handler<K extends OperationKey> = (
  input: InputOf<K>,
  context: CallContext,
) => object | undefined | Promise<object | undefined>;

export type Handlers = { [K in OperationKey]: Handler<K> };
