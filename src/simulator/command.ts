import { rename, writeFile } from 'node:fs/promises';
import { type Simulator, type SimulatorOptions, startSimulator } from './index.ts';
import type { TraceEntry } from './trace.ts';

export interface SimulateOptions {
  simulator: SimulatorOptions;
  /** Gets the addresses as JSON once all of them listen. */
  readyFile?: string;
  stop: AbortSignal;
  print(line: string): void;
}

/** `evenkeel simulate`: runs until `stop` aborts. */
export async function runSimulate(options: SimulateOptions): Promise<void> {
  const simulator = await startSimulator(options.simulator);
  const { mqttUrl, httpUrl, jobsDataUrl, mqttsUrl, httpsUrl, caFile } = simulator;
  if (options.readyFile !== undefined) {
    // Whoever waits for the file must never read half of it.
    const addresses = JSON.stringify({ mqttUrl, httpUrl, jobsDataUrl, mqttsUrl, httpsUrl, caFile });
    await writeFile(`${options.readyFile}.new`, addresses);
    await rename(`${options.readyFile}.new`, options.readyFile);
  }
  for (const line of greeting(simulator)) options.print(line);
  const said = new Set<string>();
  const unsubscribe = simulator.trace.subscribe((entry) => {
    const line = complaint(entry);
    // A client that tries again and again is told of once.
    if (line === undefined || said.has(line) || said.size === COMPLAINTS_MAX) return;
    said.add(line);
    options.print(line);
  });
  if (!options.stop.aborted) {
    await new Promise((resolve) => options.stop.addEventListener('abort', resolve, { once: true }));
  }
  unsubscribe();
  await simulator.close();
}

const COMPLAINTS_MAX = 1000;

/** What a client did wrong: MQTT itself tells it next to nothing. */
function complaint(entry: TraceEntry): string | undefined {
  const isRefused = entry.kind === 'refused';
  if (!isRefused && entry.kind !== 'disconnect') return undefined;
  if (entry.reason === undefined) return undefined;
  const client = entry.client === '' ? 'a client' : `client ${entry.client}`;
  return `${client} ${isRefused ? 'is refused' : 'is disconnected'}: ${entry.reason}`;
}

/** What a person needs next, ready to be pasted. */
function greeting({
  mqttUrl,
  httpUrl,
  jobsDataUrl = httpUrl,
  mqttsUrl,
  httpsUrl,
  caFile,
}: Simulator): string[] {
  // A CLI before 2.13 does not look at the variable by itself, and would ask AWS.
  const endpoint = '--endpoint-url $AWS_ENDPOINT_URL_IOT';
  const target = 'arn:aws:iot:us-east-1:123456789012:thing/my-thing';
  return [
    `Devices connect to ${mqttUrl}${mqttsUrl === undefined ? '' : ` or ${mqttsUrl}`}`,
    ...(caFile === undefined ? [] : [`TLS: trust ${caFile}; HTTPS is at ${httpsUrl}`]),
    `Console: ${httpUrl}/`,
    '',
    '# the AWS CLI and SDKs in this shell use the simulator:',
    `export AWS_ENDPOINT_URL_IOT=${httpUrl}`,
    `export AWS_ENDPOINT_URL_IOT_JOBS_DATA_PLANE=${jobsDataUrl}`,
    `export AWS_ENDPOINT_URL_IOT_DATA_PLANE=${httpUrl}`,
    'export AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=simulator AWS_SECRET_ACCESS_KEY=simulator',
    '',
    '# a thing, a job for it, and the cancel in the middle of it:',
    `aws iot create-thing --thing-name my-thing ${endpoint}`,
    `aws iot create-job --job-id job-1 --targets ${target} --document '{"version":"1.0","steps":[{"action":{"name":"wait","type":"runCommand","input":{"command":"sleep,60"}}}]}' ${endpoint}`,
    `aws iot cancel-job-execution --thing-name my-thing --job-id job-1 --force ${endpoint}`,
    '',
  ];
}
