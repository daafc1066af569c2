// The agent as `evenkeel run` wires it, which dies or stands still at its n-th journal record.
import { run } from '../../dist/cli/run.js';

const [config, count, then] = process.argv.slice(2);
const PAUSE_MS = 250;
let left = Number(count);
await run({ config }, () => {
  left -= 1;
  if (left !== 0) return;
  if (then === 'kill') process.kill(process.pid, 'SIGKILL');
  process.send?.('at record');
  // Nothing of the agent goes on meanwhile: whatever happens in the cloud, happens right here.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
});
process.disconnect?.();
