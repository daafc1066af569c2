import { mkdtemp, rm } from 'node:fs/promises';
import { afterAll } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import { openAuthority } from '../../src/simulator/certificates.ts';
import type { TransportTls } from '../../src/transport/port.ts';
import { aedes, type BrokerTls, mosquitto } from '../support/brokers.ts';
import type { Scene, Way } from './contract.ts';

export interface Certificates {
  server: BrokerTls;
  /** Of the thing `boat`. */
  client: TransportTls;
}

let directory: string | undefined;
afterAll(async () => {
  if (directory !== undefined) await rm(directory, { recursive: true });
});

async function makeCertificates(): Promise<Certificates> {
  directory = await mkdtemp('/var/tmp/evenkeel-authority-');
  const authority = await openAuthority(directory, { hosts: [], wallMs: systemClock.wallMs() });
  const { cert, key } = await authority.issue('boat');
  const { server, ca, caFile } = authority;
  return { server: { ...server, ca, caFile }, client: { ca, certificate: cert, privateKey: key } };
}

let made: Promise<Certificates> | undefined;

/** Made once in each file of tests. */
export function certificates(): Promise<Certificates> {
  made ??= makeCertificates();
  return made;
}

type Facts = Pick<Scene, 'mqttVersion' | 'denied' | 'deniedFilter'>;

/** A broker in plain TCP, and in mutual TLS. */
function ways(name: string, start: typeof mosquitto, facts: Facts): Way[] {
  return [
    {
      name: `${name}, TCP`,
      secure: false,
      open: async () => ({ broker: await start(), ...facts }),
    },
    {
      name: `${name}, mutual TLS`,
      secure: true,
      async open() {
        const { server, client } = await certificates();
        return { broker: await start(server), tls: client, ...facts };
      },
    },
  ];
}

export const WAYS: readonly Way[] = [
  ...ways('aedes, MQTT 3.1.1', aedes, { mqttVersion: 4, denied: 'linkDown', deniedFilter: 'refused' }),
  ...ways('mosquitto, MQTT 3.1.1', mosquitto, {
    mqttVersion: 4,
    denied: 'swallowed',
    deniedFilter: 'granted',
  }),
  ...ways('mosquitto, MQTT 5', mosquitto, { mqttVersion: 5, denied: 'refused', deniedFilter: 'granted' }),
];
