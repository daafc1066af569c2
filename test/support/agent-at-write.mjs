// The agent as `evenkeel run` wires it, which dies behind its n-th change of what lies below a directory of that name.
import { constants } from 'node:fs';
import { run } from '../../dist/cli/run.js';
import { nodeDisk } from '../../dist/host/node-disk.js';

const [config, directory, count] = process.argv.slice(2);
let left = Number(count);
const changed = () => {
  left -= 1;
  if (left === 0) process.kill(process.pid, 'SIGKILL');
};
const isMeant = (path) => path.includes(`/${directory}/`) || path.endsWith(`/${directory}`);

for (const name of ['mkdir', 'rename', 'symlink', 'unlink', 'rmdir']) {
  const act = nodeDisk[name];
  nodeDisk[name] = async (...args) => {
    const result = await act(...args);
    if (args.some((one) => typeof one === 'string' && isMeant(one))) changed();
    return result;
  };
}
const { openFile } = nodeDisk;
nodeDisk.openFile = async (path, flags, mode) => {
  const file = await openFile(path, flags, mode);
  if ((flags & constants.O_CREAT) !== 0 && isMeant(path)) changed();
  return file;
};

await run({ config });
process.disconnect?.();
