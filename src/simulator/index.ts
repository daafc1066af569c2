import { DevicePlane } from './device/device-plane.ts';
import { createFaults, type Faults } from './faults.ts';
import { startHttpPlane } from './http/control-plane.ts';
import { startMqttPlane } from './mqtt/embedded-broker.ts';
import { type ExternalBroker, joinExternalBroker } from './mqtt/external-broker.ts';
import { createRequests } from './mqtt/requests.ts';
import { JobsService } from './service/jobs-service.ts';
import { Shadows } from './service/shadows.ts';
import type { SimulatorClock, Switches } from './service/types.ts';
import { createTrace, type Trace } from './trace.ts';

export interface SimulatorOptions {
  /** 0: any free port. */
  mqttPort?: number;
  httpPort?: number;
  host?: string;
  /** Serve devices through this broker instead of an own one. */
  broker?: ExternalBroker;
  clock: SimulatorClock;
  switches?: Partial<Switches>;
}

/** AWS IoT Jobs on one machine. */
export interface Simulator {
  mqttUrl: string;
  httpUrl: string;
  service: JobsService;
  shadows: Shadows;
  faults: Faults;
  trace: Trace;
  disconnect(clientId: string): void;
  close(): Promise<void>;
}

/** Starts broker, Jobs service and control plane; resolves when both ports listen. */
export async function startSimulator(options: SimulatorOptions): Promise<Simulator> {
  const { clock, host = '127.0.0.1' } = options;
  const faults = createFaults(clock);
  const shadows = new Shadows();
  const trace = createTrace(() => clock.wallMs());
  let publish: (topic: string, body: object) => void = () => undefined;
  const notified = async (thing: string, kind: 'notify' | 'notify-next', body: object): Promise<void> => {
    if ((await faults.notification({ thing, kind, body })).kind === 'drop') return;
    publish(`$aws/things/${thing}/jobs/${kind}`, body);
  };
  const service = new JobsService({
    clock,
    notifier: {
      notify: (thing, body) => void notified(thing, 'notify', body),
      notifyNext: (thing, body) => void notified(thing, 'notify-next', body),
      event: (topic, body) => publish(topic, body),
    },
    ...(options.switches && { switches: options.switches }),
  });
  const plane = new DevicePlane(service, shadows, clock);
  const requests = createRequests({ plane, faults, clock });
  const mqtt = options.broker
    ? await joinExternalBroker(options.broker, { requests, trace })
    : await startMqttPlane(host, options.mqttPort ?? 0, { requests, trace });
  publish = mqtt.publish;
  const nowSeconds = (): number => Math.floor(clock.wallMs() / 1000);
  const http = await startHttpPlane(host, options.httpPort ?? 0, { service, shadows, nowSeconds });
  return {
    mqttUrl: mqtt.url,
    httpUrl: `http://${host}:${http.port}`,
    service,
    shadows,
    faults,
    trace,
    disconnect: mqtt.disconnect,
    async close() {
      service.close();
      await http.close();
      await mqtt.close();
    },
  };
}
