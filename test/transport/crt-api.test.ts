import crt from 'aws-crt';
import { expect, test } from 'vitest';
import { systemClock } from '../../src/host/clock.ts';
import { createCrtTransport } from '../../src/transport/crt.ts';
import {
  type Crt4Config,
  type Crt4Connection,
  type Crt5Client,
  type Crt5Config,
  type CrtApi,
  type CrtPkcs11Options,
  type CrtTlsOptions,
  loadCrt,
} from '../../src/transport/crt-api.ts';

/** The compiler holds each of ours against that of the package; what is `unknown` to us is left out. */
type Unknown =
  | 'socketOptions'
  | 'tlsCtx'
  | 'httpProxyOptions'
  | 'socket_options'
  | 'tls_ctx'
  | 'proxy_options';
type Known<T> = Omit<T, Unknown>;
type Fits<Theirs, _Ours extends Theirs> = true;
type Known11 = Omit<CrtPkcs11Options, 'pkcs11_lib'> & { pkcs11_lib: crt.io.Pkcs11Lib };
type ProxyParameters = ConstructorParameters<CrtApi['http']['HttpProxyOptions']>;
type Checks = [
  Fits<Known<crt.mqtt5.Mqtt5ClientConfig>, Known<Crt5Config>>,
  Fits<Omit<Crt5Client, 'on'>, crt.mqtt5.Mqtt5Client>,
  Fits<Known<crt.mqtt.MqttConnectionConfig>, Known<Crt4Config>>,
  Fits<Omit<Crt4Connection, 'close' | 'on'>, crt.mqtt.MqttClientConnection>,
  Fits<CrtTlsOptions, crt.io.TlsContextOptions>,
  Fits<crt.io.TlsContextOptions.Pkcs11Options, Known11>,
  Fits<ConstructorParameters<typeof crt.http.HttpProxyOptions>, ProxyParameters>,
];

const OPTIONS = {
  url: 'mqtts://127.0.0.1:1',
  clientId: 'client',
  filters: [],
  keepAliveSeconds: 60,
  connectTimeoutMs: 1000,
  publishQueueMax: 1,
  backoff: { firstMs: 1000, maxMs: 1000, healthyAfterMs: 1000 },
};

test('what the transport believes of aws-crt is so', async () => {
  const compared: Checks = [true, true, true, true, true, true, true];
  expect(compared.length).toBe(7);
  const loaded = await loadCrt();
  expect(loaded.mqtt5.Mqtt5Client).toBe(crt.mqtt5.Mqtt5Client);
  expect(crt.mqtt5.ClientSessionBehavior.Clean).toBe(1);
  expect(crt.mqtt5.ClientOperationQueueBehavior.FailAllOnDisconnect).toBe(3);
  expect(crt.mqtt5.ClientExtendedValidationAndFlowControl.None).toBe(0);
  expect(crt.mqtt5.RetryJitterType.None).toBe(1);
  expect(crt.http.HttpProxyAuthenticationType.None).toBe(0);
  expect(crt.http.HttpProxyAuthenticationType.Basic).toBe(1);
  expect(crt.http.HttpProxyConnectionType.Tunneling).toBe(2);
  // Private to the compiler; without it each failed attempt of MQTT 3.1.1 leaks.
  expect(crt.mqtt.MqttClientConnection.prototype).toHaveProperty('close');
});

test.each([
  [
    'is not installed',
    Object.assign(new Error("Cannot find package 'aws-crt' imported from crt-api.js"), {
      code: 'ERR_MODULE_NOT_FOUND',
    }),
    'the optional package aws-crt is not installed (npm install aws-crt)',
  ],
  [
    'has no binary for this machine',
    new Error('AWS CRT binary not present in any of the following locations:\n\t/x'),
    `the package aws-crt has no binary for ${process.platform} on ${process.arch}`,
  ],
])('where the package %s, that is what is said', async (_, error, words) => {
  const load = (): Promise<CrtApi> => loadCrt(() => Promise.reject(error));
  await expect(createCrtTransport(OPTIONS, { clock: systemClock }, load)).rejects.toThrow(
    `cannot use transport aws-sdk: ${words}; transport mqttjs needs neither`,
  );
});

test('a server name of its own is refused, since the CRT takes none', async () => {
  const options = { ...OPTIONS, tls: { serverName: 'other' } };
  await expect(createCrtTransport(options, { clock: systemClock })).rejects.toThrow(/server name/);
});
