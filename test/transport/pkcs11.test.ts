import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CrtApi } from '../../src/transport/crt-api.ts';
import { createTlsContexts } from '../../src/transport/crt-tls.ts';
import type { Pkcs11Key, Transport } from '../../src/transport/port.ts';
import { type Broker, mosquitto } from '../support/brokers.ts';
import { type SoftTokens, softHsm, softTokens } from '../support/softhsm.ts';
import { until } from '../support/until.ts';
import { type Certificates, certificates } from './scenes.ts';
import { createAdapter, endings, TIMEOUT_MS, up } from './transports.ts';

/** aws-sdk with a private key in a PKCS#11 token, which never leaves it, in mutual TLS. */

const library = softHsm();
const TOPIC = '$aws/things/boat/1/x';
const VERSIONS = [4, 5] as const;

describe.skipIf(library === undefined)('a key in a token', () => {
  const atEnd = endings();
  let directory: string;
  let made: Certificates;
  let tokens: SoftTokens;
  let broker: Broker;
  const KEY: Pkcs11Key = { library: library ?? '', token: 'boat', pin: '0123', key: 'boat-key' };

  const fill = async (token: string): Promise<void> => {
    const keyFile = join(directory, 'boat.key');
    await writeFile(keyFile, made.client.privateKey ?? '', { mode: 0o600 });
    await tokens.create(token, '0123');
    await tokens.importKey(keyFile, { token, pin: '0123', label: 'boat-key', id: 'a1' });
    await rm(keyFile);
  };

  beforeAll(async () => {
    directory = await mkdtemp('/var/tmp/evenkeel-pkcs11-');
    made = await certificates();
    tokens = await softTokens(directory);
    // The library reads it when it is loaded, which is with the first connection.
    Object.assign(process.env, tokens.env);
    await fill('boat');
    broker = await mosquitto(made.server);
    await broker.start();
  });
  afterAll(async () => {
    await broker.remove();
    await rm(directory, { recursive: true });
  });

  async function transport(pkcs11: Pkcs11Key, mqttVersion: 4 | 5 = 5): Promise<Transport> {
    const { ca, certificate } = made.client;
    const link = await createAdapter('aws-sdk', {
      url: broker.url,
      filters: ['$aws/things/boat/1/+'],
      mqttVersion,
      tls: { ...(ca !== undefined && { ca }), ...(certificate !== undefined && { certificate }), pkcs11 },
    });
    atEnd(() => link.close());
    return link;
  }

  async function failureOf(pkcs11: Pkcs11Key): Promise<string> {
    const link = await transport(pkcs11);
    link.start();
    const failure = await until('the failure', () => link.lastFailure);
    expect(link.up).toBe(false);
    return failure;
  }

  // First: a token that has been logged into asks this process for no PIN any more.
  test('a wrong PIN is said', async () => {
    const link = await transport({ ...KEY, pin: '9999' });
    link.start();
    await until('the failure', () => link.lastFailure);
    expect(link.lastFailure).toMatch(/the PKCS#11 token "boat" refuses the PIN.*CKR_PIN_INCORRECT/);
    expect(link.lastFailure).not.toContain('9999');
  });

  test.each(VERSIONS)('MQTT version %i: connects, carries messages, and is renewed', async (mqttVersion) => {
    const link = await up(await transport(KEY, mqttVersion));
    await link.publish(TOPIC, Buffer.from('x'), TIMEOUT_MS);
    await link.renew(TIMEOUT_MS);
    await link.publish(TOPIC, Buffer.from('y'), TIMEOUT_MS);
  });

  test('needs no label of a key where there is only one', async () => {
    await up(await transport({ library: library ?? '', token: 'boat', pin: '0123' }));
  });

  test.each<[string, Partial<Pkcs11Key>, RegExp]>([
    [
      'a library that is not there',
      { library: '/nowhere.so' },
      /cannot load .* \/nowhere\.so: there is no such file/,
    ],
    ['a file that is no library', { library: '/etc/hostname' }, /cannot load .*: it does not load on/],
    ['a token that is not there', { token: 'ship' }, /cannot find the PKCS#11 token "ship", or several/],
    ['a slot that is not there', { slot: 77 }, /cannot find the PKCS#11 token "boat" in slot 77/],
    ['a key that is not there', { key: 'x' }, /cannot find a private key "x" in the PKCS#11 token "boat"/],
  ])('%s is said', async (_, wrong, words) => {
    expect(await failureOf({ ...KEY, ...wrong })).toMatch(words);
  });

  test('the key is in no file of this device', async () => {
    await expect(readFile(join(directory, 'boat.key'))).rejects.toThrow(/ENOENT/);
  });
});

test('a PIN that was refused is not tried again, since a token locks itself; what else is missing is', () => {
  let tries = 0;
  let refusal = 'AWS_ERROR_PKCS11_TOKEN_NOT_FOUND';
  const io = {
    Pkcs11Lib: Object,
    TlsContextOptions: { create_client_with_mtls_pkcs11: () => ({}) },
    ClientTlsContext: class {
      readonly made = true;
      constructor() {
        tries += 1;
        throw new Error(`aws-c-io: ${refusal}, failed`);
      }
    },
  };
  const tls = { certificate: 'PEM', pkcs11: { library: '/x', pin: '1' } };
  const contexts = createTlsContexts({ io } as unknown as CrtApi, tls, []);
  expect(() => contexts.current()).toThrow(/cannot find the PKCS#11 token/);
  expect(() => contexts.current()).toThrow(/cannot find the PKCS#11 token/);
  expect(tries).toBe(2);
  refusal = 'AWS_ERROR_PKCS11_CKR_PIN_INCORRECT';
  for (let turn = 0; turn < 3; turn += 1) {
    expect(() => contexts.current()).toThrow(/refuses the PIN/);
    contexts.doubt();
  }
  expect(tries).toBe(3);
});

test('after a failed connection the token is opened anew, since it may have been pulled out; after a good one not', () => {
  let opened = 0;
  const io = {
    Pkcs11Lib: Object,
    TlsContextOptions: { create_client_with_mtls_pkcs11: () => ({}) },
    ClientTlsContext: class {
      readonly made = true;
      constructor() {
        opened += 1;
      }
    },
  };
  const tls = { certificate: 'PEM', pkcs11: { library: '/x', pin: '1' } };
  const contexts = createTlsContexts({ io } as unknown as CrtApi, tls, []);
  expect(contexts.current()).toBe(contexts.current());
  expect(opened).toBe(1);
  contexts.doubt();
  contexts.current();
  expect(opened).toBe(2);
});

test('mqttjs refuses a key in a token, and says what to take', async () => {
  const made = createAdapter('mqttjs', {
    url: 'mqtts://a.example',
    filters: [],
    tls: { pkcs11: { library: '/x' } },
  });
  await expect(made).rejects.toThrow(/with transport mqttjs; the transport aws-sdk can/);
});
