import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Hono } from 'hono';
import { adminApp } from './admin/admin-app.ts';
import { createSwitchBoard, remembered, type SwitchBoard } from './admin/switch-board.ts';
import { clearBackend, createBackend } from './backend.ts';
import { type Authority, type Certificate, openAuthority } from './certificates.ts';
import type { SimulatorClock } from './clock.ts';
import { createConsole } from './console/console-app.ts';
import { ownPagesOnly } from './console/guard.ts';
import { DevicePlane } from './device/device-plane.ts';
import type { FaultRule } from './fault-rules.ts';
import { createFaults, type Faults } from './faults.ts';
import { controlPlane, type HttpPlaneDeps } from './http/control-plane.ts';
import type { Credentials } from './http/signature.ts';
import { type HttpServer, listenHttp, urlHost } from './http-server.ts';
import { startEmbeddedBroker } from './mqtt/embedded-broker.ts';
import { type ExternalBroker, joinExternalBroker } from './mqtt/external-broker.ts';
import { DEFAULT_MQTT_SWITCHES, MQTT_SWITCHES, type MqttSwitches } from './mqtt/limits.ts';
import type { MqttPlane } from './mqtt/plane.ts';
import type { Policy } from './mqtt/policy.ts';
import { createRequests } from './mqtt/requests.ts';
import { SWITCHES, type Switches } from './options.ts';
import {
  PROVISIONING_SWITCHES,
  Provisioning,
  type ProvisioningSwitches,
} from './provisioning/provisioning.ts';
import type { JobsService } from './service/jobs-service.ts';
import type { Shadows } from './service/shadows.ts';
import { openFileStore } from './store/file-store.ts';
import { createTrace, type Trace } from './trace.ts';

export type { Certificate } from './certificates.ts';
export { type SimulatorClock, VirtualClock } from './clock.ts';
export type { FaultRule } from './fault-rules.ts';
export type { ExternalBroker } from './mqtt/external-broker.ts';
export type { KnownCertificate } from './provisioning/certificate-book.ts';

export interface SimulatorOptions {
  clock: SimulatorClock;
  host?: string;
  /** 0, the default: any free port. */
  mqttPort?: number;
  httpPort?: number;
  /** One more port for the HTTPS data plane of jobs, as AWS has it on a host of its own. */
  jobsDataPort?: number;
  /** Keeps everything here, so that it outlives this simulator; in memory where it is not given. */
  dataDirectory?: string;
  /**
   * Offers TLS beside the plain ports. Certificates are kept in `directory`, or in `tls` of the data directory, or made
   * for this run. `requireCertificate`: devices without one are refused, as AWS IoT Core refuses them.
   */
  tls?: boolean | { directory?: string; mqttPort?: number; httpPort?: number; requireCertificate?: boolean };
  /** Serve devices through this broker instead of an own one. */
  broker?: ExternalBroker;
  switches?: Partial<Switches & MqttSwitches & ProvisioningSwitches>;
  faults?: readonly FaultRule[];
  /** Where the objects of presigned URLs are; a directory that is removed at the end when none is given. */
  objectsDirectory?: string;
  /** Calls over HTTP must be signed by one of these; without them no signature is looked at. */
  checkSignatures?: readonly Credentials[];
}

type Urls = Pick<Simulator, 'mqttUrl' | 'httpUrl' | 'mqttsUrl' | 'httpsUrl' | 'jobsDataUrl' | 'caFile'>;

/** AWS IoT Jobs on one machine. */
export interface Simulator extends AsyncDisposable {
  mqttUrl: string;
  httpUrl: string;
  jobsDataUrl?: string;
  /** With TLS; `caFile` is what a client must trust. */
  mqttsUrl?: string;
  httpsUrl?: string;
  caFile?: string;
  service: JobsService;
  shadows: Shadows;
  faults: Faults;
  trace: Trace;
  switches: SwitchBoard;
  /** Ends the connection of a client id, as a dying network does; false when there is none. */
  disconnect(clientId: string): boolean;
  /** Says anything on any topic, as the service would: what devices must not believe. */
  publish(topic: string, body: object): void;
  /** A client certificate whose common name is the thing. */
  issueCertificate(thing: string): Promise<Certificate>;
  /** Templates, claims, and the states of certificates. */
  provisioning: Provisioning;
  close(): Promise<void>;
}

/** Starts broker, Jobs service and control plane; resolves when all ports listen. */
export async function startSimulator(options: SimulatorOptions): Promise<Simulator> {
  const { clock, host = '127.0.0.1' } = options;
  /** What has been started, and how it ends; ended backwards, also when a later start fails. */
  const ends: (() => unknown)[] = [];
  const end = async (): Promise<void> => {
    for (const one of ends.splice(0).reverse()) await one();
  };
  try {
    const faults = createFaults(clock);
    faults.add(options.faults ?? []);
    const trace = createTrace(() => clock.wallMs());
    /** The service speaks to a broker that is there only later. */
    const devices: { mqtt?: MqttPlane } = {};
    const notified = async (thing: string, kind: 'notify' | 'notify-next', body: object): Promise<void> => {
      const fault = await faults.notification({ thing, kind, body });
      if (fault.kind === 'drop') return;
      if (fault.kind === 'disconnect') {
        void devices.mqtt?.disconnect(thing);
        return;
      }
      const topic = `$aws/things/${thing}/jobs/${kind}`;
      for (let copies = fault.kind === 'duplicate' ? 2 : 1; copies > 0; copies -= 1)
        devices.mqtt?.publish(topic, body, service.switches.notifyQos);
      faults.sent(thing);
    };
    const { dataDirectory } = options;
    const store = dataDirectory === undefined ? undefined : await openFileStore(dataDirectory);
    if (store) ends.push(() => store.close());
    const objectsDirectory =
      options.objectsDirectory ??
      (dataDirectory === undefined
        ? await temporaryDirectory('objects', ends)
        : join(dataDirectory, 'objects'));
    const urls: Urls = { mqttUrl: '', httpUrl: '' };
    const backend = createBackend({
      clock,
      ...(store && { store }),
      objectsDirectory,
      httpUrl: () => urls.httpUrl,
      notifier: {
        notify: (thing, body) => void notified(thing, 'notify', body),
        notifyNext: (thing, body) => void notified(thing, 'notify-next', body),
        event: (topic, body) => devices.mqtt?.publish(topic, body),
      },
    });
    const { service, shadows } = backend;
    ends.push(() => service.close());
    const mqttSwitches = { ...DEFAULT_MQTT_SWITCHES };
    const provisioningSwitches: ProvisioningSwitches = {
      ownershipToken: PROVISIONING_SWITCHES.ownershipToken.default,
    };
    const board = createSwitchBoard([
      { current: service.switches, definitions: SWITCHES },
      { current: mqttSwitches, definitions: MQTT_SWITCHES },
      { current: provisioningSwitches, definitions: PROVISIONING_SWITCHES },
    ]);
    const switches = remembered(board, store?.collection('switches') ?? new Map());
    // What is asked for at the start holds for this run alone, and is stronger than what was set in an earlier one.
    board.set(options.switches ?? {});

    const tls = options.tls === true ? {} : options.tls === false ? undefined : options.tls;
    const authority =
      tls &&
      (await authorityOf(tls.directory ?? (dataDirectory && join(dataDirectory, 'tls')), host, clock, ends));
    const plane = new DevicePlane(service, shadows, clock);
    const provisioning = new Provisioning({
      authority,
      clock,
      switches: provisioningSwitches,
      createThing: (thing) => service.createThing(thing),
      disconnect: (id) => {
        for (const { client, certificateId } of devices.mqtt?.clients() ?? [])
          if (certificateId === id) devices.mqtt?.disconnect(client);
      },
    });
    const requests = createRequests({ plane, provisioning, faults, clock });
    const policy: Policy = {
      denies: (...asked) => provisioning.denies(...asked) || faults.policy.denies(...asked),
    };
    const mqtt = options.broker
      ? await joinExternalBroker(options.broker, { requests, trace })
      : await startEmbeddedBroker(
          {
            host,
            port: options.mqttPort ?? 0,
            ...(authority && {
              tls: {
                ...authority.server,
                ca: authority.ca,
                port: tls?.mqttPort ?? 0,
                requireCertificate: tls?.requireCertificate ?? false,
              },
            }),
          },
          { requests, trace, policy, clock, switches: mqttSwitches },
        );
    devices.mqtt = mqtt;
    ends.push(() => mqtt.close());

    Object.assign(urls, {
      mqttUrl: mqtt.url,
      ...(mqtt.tlsUrl !== undefined && { mqttsUrl: mqtt.tlsUrl }),
      ...(authority && { caFile: authority.caFile }),
    });
    const reset = async (): Promise<void> => {
      await clearBackend(backend);
      faults.clear();
      provisioning.clear();
      switches.set(switches.defaults());
      trace.clear();
    };
    const console = createConsole({ service, shadows, trace, clock, mqttUrl: mqtt.url });
    ends.push(() => console.close());
    const app = new Hono();
    app.use(ownPagesOnly(host));
    app.route('/', console.app);
    const issueCertificate = async (thing: string): Promise<Certificate> => {
      if (!authority) throw new Error('cannot issue a certificate: the simulator was started without tls');
      return await authority.issue(thing);
    };
    const admin = { clock, faults, mqtt, switches, provisioning, reset, urls, issueCertificate };
    app.route('/_simulator', adminApp({ ...admin, saved: () => service.saved() }));
    const planes: Omit<HttpPlaneDeps, 'services'> = {
      ...backend,
      clock,
      publish: (topic, payload, qos) => mqtt.publish(topic, payload, qos),
      endpoint: (type) => (type.startsWith('iot:Data') ? new URL(mqtt.url).host : undefined),
      faults: async (_, operation, { thingName }) => {
        const fault = await faults.call(operation, typeof thingName === 'string' ? thingName : undefined);
        return fault.kind === 'reject' ? fault : undefined;
      },
      ...(options.checkSignatures && { checkSignatures: options.checkSignatures }),
    };
    app.route('/', controlPlane(planes));
    const jobsData = controlPlane({ ...planes, services: ['iot-jobs-data'] });
    const listen = async (port: number, secure: boolean, plane = app): Promise<string> => {
      const files = secure && authority ? { ...authority.server, ca: authority.ca } : undefined;
      const server: HttpServer = await listenHttp(host, port, plane.fetch, files);
      ends.push(() => server.close());
      return `${files ? 'https' : 'http'}://${urlHost(host)}:${server.port}`;
    };
    urls.httpUrl = await listen(options.httpPort ?? 0, false);
    if (options.jobsDataPort !== undefined)
      urls.jobsDataUrl = await listen(options.jobsDataPort, false, jobsData);
    if (authority) urls.httpsUrl = await listen(tls?.httpPort ?? 0, true);

    const { disconnect, publish } = mqtt;
    return {
      ...urls,
      service,
      shadows,
      faults,
      trace,
      switches,
      disconnect,
      provisioning,
      publish: (topic, body) => publish(topic, body),
      issueCertificate,
      close: end,
      [Symbol.asyncDispose]: end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}

async function authorityOf(
  directory: string | undefined,
  host: string,
  clock: SimulatorClock,
  ends: (() => unknown)[],
): Promise<Authority> {
  const path = directory ?? (await temporaryDirectory('tls', ends));
  return await openAuthority(path, { hosts: [host], wallMs: clock.wallMs() });
}

async function temporaryDirectory(use: string, ends: (() => unknown)[]): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), `evenkeel-${use}-`));
  ends.push(() => rm(path, { recursive: true, force: true }));
  return path;
}
