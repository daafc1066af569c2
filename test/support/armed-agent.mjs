// The agent as `evenkeel run` wires it, for many jobs: it stands still, or dies, at the place that it is armed for. A
// place is a journal record ("attempt 2") that has just become durable, or a first touch of the disk where no record is.
import { constants, readSync, writeSync } from 'node:fs';
import { run } from '../../dist/cli/run.js';
import { nodeDisk } from '../../dist/host/node-disk.js';

const CONTROL = 4;
const [config] = process.argv.slice(2);
let armed;
let lastStepDone = false;

process.on('message', (message) => {
  armed = message;
  lastStepDone = false;
  process.send({ armed: message.at });
});

function reached(place) {
  if (armed?.at !== place) return;
  const { then } = armed;
  armed = undefined;
  if (then === 'kill') process.kill(process.pid, 'SIGKILL');
  writeSync(CONTROL, `${place}\n`);
  // Nothing of the agent goes on meanwhile: whatever happens in the cloud, happens right here.
  readSync(CONTROL, Buffer.alloc(1));
}

const { openDirectory, mkdir, openFile } = nodeDisk;
Object.assign(nodeDisk, {
  openDirectory(path) {
    // Looks at the device begin at the root: the survey's are the first, and those of the verification the next.
    if (path === '/') reached(lastStepDone ? 'verifying' : 'validated');
    return openDirectory(path);
  },
  mkdir(path, mode) {
    if (/executions\/\w+\.new$/.test(path)) reached('surveyed');
    return mkdir(path, mode);
  },
  openFile(path, flags, mode) {
    if (path.endsWith('/journal') && (flags & constants.O_RDWR) !== 0) reached('recorded');
    return openFile(path, flags, mode);
  },
});

await run({ config }, (_key, record) => {
  const place = 'step' in record ? `${record.type} ${record.step + 1}` : record.type;
  lastStepDone = armed !== undefined && place === armed.lastStep;
  reached(place);
});
process.disconnect?.();
