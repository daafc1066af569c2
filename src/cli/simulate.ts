import { mkdir, readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { systemClock } from '../host/clock.ts';
import { parseSwitches } from '../simulator/admin/switch-board.ts';
import { runSimulate } from '../simulator/command.ts';
import type { ExternalBroker, SimulatorOptions } from '../simulator/index.ts';
import { CommandFailed } from './command-failed.ts';
import type { SimulateCommandOptions as Options } from './simulate-command.ts';
import { createVirtualClock } from './simulator.ts';

export async function simulate(options: Options): Promise<void> {
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort());
  const print = (line: string): void => {
    if (options.quiet !== true) process.stdout.write(`${line}\n`);
  };
  try {
    await runSimulate({
      simulator: await simulatorOptions(options),
      ...(options.readyFile !== undefined && { readyFile: options.readyFile }),
      stop: stop.signal,
      print,
    });
  } catch (error) {
    throw new CommandFailed((error as Error).message);
  }
}

async function simulatorOptions(options: Options): Promise<SimulatorOptions> {
  const { host, mqttPort, httpPort, jobsDataPort, broker, faults } = options;
  return {
    clock: options.virtualClock === true ? createVirtualClock() : systemClock,
    host,
    mqttPort,
    httpPort,
    ...(options.data !== undefined && { dataDirectory: options.data }),
    ...(jobsDataPort !== undefined && { jobsDataPort }),
    ...(options.tls === true && { tls: await tlsOptions(options) }),
    ...(broker !== undefined && { broker: await brokerOptions(broker, options) }),
    switches: parseSwitches(options.switch),
    ...(faults !== undefined && { faults: await faultsIn(faults) }),
  };
}

async function tlsOptions({
  data,
  tlsDirectory,
  requireCertificate = false,
  mqttsPort,
  httpsPort,
}: Options): Promise<NonNullable<SimulatorOptions['tls']>> {
  const state = process.env['XDG_STATE_HOME'] ?? join(homedir(), '.local/state');
  const own = data === undefined ? join(state, 'evenkeel-simulator') : join(data, 'tls');
  const directory = tlsDirectory ?? own;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  return { directory, mqttPort: mqttsPort, httpPort: httpsPort, requireCertificate };
}

async function brokerOptions(url: string, options: Options): Promise<ExternalBroker> {
  const { brokerUsername, brokerPasswordFile, brokerCa, brokerCert, brokerKey, brokerMqtt } = options;
  return {
    url,
    protocolVersion: brokerMqtt === '5' ? 5 : 4,
    ...(brokerUsername !== undefined && { username: brokerUsername }),
    ...(brokerPasswordFile !== undefined && { password: (await textOf(brokerPasswordFile)).trimEnd() }),
    ...(brokerCa !== undefined && { ca: await textOf(brokerCa) }),
    ...(brokerCert !== undefined && { cert: await textOf(brokerCert) }),
    ...(brokerKey !== undefined && { key: await textOf(brokerKey) }),
  };
}

async function faultsIn(file: string): Promise<NonNullable<SimulatorOptions['faults']>> {
  let read: unknown;
  try {
    read = parse(await textOf(file));
  } catch (error) {
    throw new Error(`cannot read the faults in ${file}: ${(error as Error).message}`, { cause: error });
  }
  // Checked where they are added, with the place of what is wrong.
  const list = typeof read === 'object' && read !== null && 'faults' in read ? read.faults : read;
  return list as NonNullable<SimulatorOptions['faults']>;
}

async function textOf(file: string): Promise<string> {
  return await readFile(file, 'utf8');
}
