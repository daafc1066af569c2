import { systemClock } from '../../src/host/clock.ts';
import { type Simulator, type SimulatorOptions, startSimulator } from '../../src/simulator/index.ts';
import { mosquitto } from './brokers.ts';

/** The brokers that devices can meet the simulator at. */
export const TEST_BROKERS = ['embedded', 'mosquitto'] as const;
export type TestBroker = (typeof TEST_BROKERS)[number];

/** The broker of a run of tests: `EVENKEEL_TEST_BROKER=mosquitto npm test` takes the other one everywhere. */
function chosenBroker(): TestBroker {
  const name = process.env['EVENKEEL_TEST_BROKER'] ?? 'embedded';
  const known = TEST_BROKERS.find((one) => one === name);
  if (known === undefined) throw new Error(`EVENKEEL_TEST_BROKER: must be one of ${TEST_BROKERS.join(', ')}`);
  return known;
}

/** A simulator with the broker of this run, which ends with it. */
export async function startTestCloud(
  options: Partial<SimulatorOptions> = {},
  broker: TestBroker = chosenBroker(),
): Promise<Simulator> {
  if (broker === 'embedded') return await startSimulator({ clock: systemClock, ...options });
  const external = await mosquitto();
  await external.start();
  const simulator = await startSimulator({
    clock: systemClock,
    ...options,
    broker: { url: external.url },
  });
  const close = async (): Promise<void> => {
    await simulator.close();
    await external.remove();
  };
  return { ...simulator, close, [Symbol.asyncDispose]: close };
}
