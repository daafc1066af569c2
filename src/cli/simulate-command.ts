import { type Command, InvalidArgumentError } from 'commander';

/** The options of `evenkeel simulate`. Apart from what it runs: the agent must not load a simulator. */

export interface SimulateCommandOptions {
  host: string;
  mqttPort: number;
  httpPort: number;
  jobsDataPort?: number;
  data?: string;
  tls?: boolean;
  tlsDirectory?: string;
  requireCertificate?: boolean;
  mqttsPort: number;
  httpsPort: number;
  broker?: string;
  brokerUsername?: string;
  brokerPasswordFile?: string;
  brokerCa?: string;
  brokerCert?: string;
  brokerKey?: string;
  brokerMqtt: '5' | '3.1.1';
  virtualClock?: boolean;
  switch: string[];
  faults?: string;
  readyFile?: string;
  quiet?: boolean;
}

export function addSimulateCommand(program: Command): void {
  program
    .command('simulate')
    .description(
      'run AWS IoT Jobs on this machine: for devices over MQTT, for the AWS CLI and SDKs over HTTP',
    )
    .option('--host <host>', 'address to listen at', '127.0.0.1')
    .option('--mqtt-port <n>', 'for devices; 0 is any free port', port, 1883)
    .option('--http-port <n>', 'for the AWS CLI and SDKs', port, 8080)
    .option(
      '--jobs-data-port <n>',
      'one more port for the jobs data plane; it is on the HTTP port anyway',
      port,
    )
    .option('--data <dir>', 'keep jobs and executions here; in memory without it')
    .option('--tls', 'listen with TLS, too; certificates are made where there are none')
    .option(
      '--tls-directory <dir>',
      'where they are kept (default: tls in the data directory, or ~/.local/state/evenkeel-simulator)',
    )
    .option(
      '--require-certificate',
      'with TLS: refuse devices without a client certificate, as AWS IoT Core does',
    )
    .option('--mqtts-port <n>', 'for devices with TLS', port, 8883)
    .option('--https-port <n>', 'for the AWS CLI and SDKs with TLS', port, 8443)
    .option('--broker <url>', 'serve devices through this broker, mqtt:// or mqtts://, instead of an own one')
    .option('--broker-username <name>', 'its user')
    .option('--broker-password-file <file>', 'a file with its password')
    .option('--broker-ca <file>', 'its CA, PEM')
    .option('--broker-cert <file>', 'a client certificate for it, PEM')
    .option('--broker-key <file>', 'the key of that')
    .option('--broker-mqtt <version>', 'its protocol, 5 or 3.1.1', mqttVersion, '5')
    .option('--virtual-clock', 'let POST /_simulator/clock/advance move time on')
    .option(
      '--switch <name=value>',
      'what AWS does not document, or does only at times; repeatable',
      collect,
      [],
    )
    .option('--faults <file>', 'faults made on purpose, as JSON or YAML: {"faults": [...]}')
    .option('--ready-file <file>', 'gets the addresses as JSON once all of them listen')
    .option('--quiet', 'print nothing')
    .addHelpText('after', '\nSwitches are listed by GET /_simulator/switches on the HTTP port.')
    .action(async (options: SimulateCommandOptions) => (await import('./simulate.ts')).simulate(options));
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

function mqttVersion(text: string): '5' | '3.1.1' {
  if (text === '5' || text === '3.1.1') return text;
  throw new InvalidArgumentError('must be 5 or 3.1.1');
}

function port(text: string): number {
  const number = Number(text);
  if (/^\d{1,5}$/.test(text) && number <= 65_535) return number;
  throw new InvalidArgumentError('must be a port from 0 to 65535');
}
