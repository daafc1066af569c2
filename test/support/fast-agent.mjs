// The agent as `evenkeel run` wires it, on a clock that is so many times as fast.
import { run } from '../../dist/cli/run.js';
import { systemClock } from '../../dist/host/clock.js';

const [config, speed] = process.argv.slice(2);
const { sleep, monotonicMs } = systemClock;
Object.assign(systemClock, {
  monotonicMs: () => monotonicMs() * Number(speed),
  sleep: (delayMs, signal) => sleep(delayMs / Number(speed), signal),
});
await run({ config });
