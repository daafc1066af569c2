import { IoTClient } from '@aws-sdk/client-iot';
import { IoTDataPlaneClient } from '@aws-sdk/client-iot-data-plane';
import { IoTJobsDataPlaneClient } from '@aws-sdk/client-iot-jobs-data-plane';
import { systemClock } from '../../../src/host/clock.ts';
import { type Simulator, type SimulatorOptions, startSimulator } from '../../../src/simulator/index.ts';

/** A simulator with the unmodified clients of AWS on it. */
export interface Bench {
  simulator: Simulator;
  iot: IoTClient;
  jobsData: IoTJobsDataPlaneClient;
  iotData: IoTDataPlaneClient;
  close(): Promise<void>;
}

export const CREDENTIALS = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret/of+example' };

export async function startBench(options: Partial<SimulatorOptions> = {}): Promise<Bench> {
  const simulator = await startSimulator({ clock: systemClock, ...options });
  const config = {
    endpoint: simulator.httpUrl,
    region: 'us-east-1',
    credentials: CREDENTIALS,
    // A call that is refused is refused at once.
    maxAttempts: 1,
  };
  const [iot, jobsData, iotData] = [
    new IoTClient(config),
    new IoTJobsDataPlaneClient(config),
    new IoTDataPlaneClient(config),
  ];
  return {
    simulator,
    iot,
    jobsData,
    iotData,
    async close() {
      for (const client of [iot, jobsData, iotData]) client.destroy();
      await simulator.close();
    },
  };
}

export const thingArn = (name: string): string => `arn:aws:iot:us-east-1:123456789012:thing/${name}`;
export const groupArn = (name: string): string => `arn:aws:iot:us-east-1:123456789012:thinggroup/${name}`;

/** The error that a call is refused with; a call that is not refused is a failure. */
export async function refusal(call: Promise<unknown>): Promise<Error & Record<string, unknown>> {
  const answer = await call.catch((error: unknown) => error);
  if (answer instanceof Error) return answer as Error & Record<string, unknown>;
  throw new Error(`not refused: ${JSON.stringify(answer)}`);
}
