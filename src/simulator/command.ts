import { rename, writeFile } from 'node:fs/promises';
import { startSimulator } from './index.ts';
import type { SimulatorClock } from './service/types.ts';

export interface SimulateOptions {
  mqttPort: number;
  httpPort: number;
  /** Gets `{"mqttUrl", "httpUrl"}` once both listen. */
  readyFile?: string;
  clock: SimulatorClock;
  stop: AbortSignal;
  print(line: string): void;
}

/** `evenkeel simulate`: runs until `stop` aborts. */
export async function runSimulate(options: SimulateOptions): Promise<void> {
  const simulator = await startSimulator(options);
  const { mqttUrl, httpUrl } = simulator;
  if (options.readyFile !== undefined) {
    // Whoever waits for the file must never read half of it.
    await writeFile(`${options.readyFile}.new`, JSON.stringify({ mqttUrl, httpUrl }));
    await rename(`${options.readyFile}.new`, options.readyFile);
  }
  options.print(`devices connect to    ${mqttUrl}`);
  options.print(`AWS SDKs and CLI use  --endpoint-url ${httpUrl}`);
  options.print(`console               ${httpUrl}/`);
  if (!options.stop.aborted) {
    await new Promise((resolve) => options.stop.addEventListener('abort', resolve, { once: true }));
  }
  await simulator.close();
}
