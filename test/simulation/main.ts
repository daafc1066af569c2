import { parseArgs } from 'node:util';
import { report, smallest } from './report.ts';
import { simulate } from './sim-run.ts';

/** `npm run test:sim -- --seed N --runs M`: so many runs from that seed on; ends at the first that goes wrong. */
const { values } = parseArgs({
  options: { seed: { type: 'string', default: '1' }, runs: { type: 'string' }, story: { type: 'boolean' } },
});
const first = Number(values.seed);
const runs = Number(values.runs ?? 1);
let operations = 0;
let lives = 0;
let simulatedMs = 0;
const began = performance.now();
for (let seed = first; seed < first + runs; seed += 1) {
  const run = await simulate(seed);
  if (run.wrong.length > 0) {
    process.stdout.write(`${report(await smallest(run))}\n`);
    process.exitCode = 1;
    break;
  }
  if (values.story) process.stdout.write(`${run.story.join('\n')}\n`);
  operations += run.operations;
  lives += run.lives;
  simulatedMs += run.simulatedMs;
}
const seconds = ((performance.now() - began) / 1000).toFixed(1);
const days = Math.round(simulatedMs / 86_400_000);
const done = `${runs} runs from seed ${first}: ${operations} operations, ${lives} lives, ${days} simulated days, ${seconds} s: nothing wrong\n`;
if (process.exitCode === undefined) process.stdout.write(done);
