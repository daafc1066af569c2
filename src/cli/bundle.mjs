// A step of `npm run build`: dist/cli/main.js becomes one file that needs no package but the optional aws-crt (fewer
// files to open, half the time to start), and the simulator with its command one of its own beside it. What the compiler has
// left elsewhere in dist/ is not published, but for the types of the simulator: tests put their hooks there.
import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { rolldown } from 'rolldown';

const at = (path) => new URL(`../../${path}`, import.meta.url).pathname;
const AWS_CRT = /^aws-crt(\/|$)/;
/** Node's own streams, which that package is a copy of: a twelfth of the agent. */
const alias = { 'readable-stream': 'node:stream' };
/** Of mqtt.js, for browsers and for SOCKS proxies, which a configuration cannot ask for: a tenth of the agent. */
const UNUSED = /^(socks|worker-timers)$/;
const leaveOut = {
  name: 'leave-out',
  resolveId: (id) => (UNUSED.test(id) ? `\0${id}` : null),
  load: (id) => (id.startsWith('\0') && UNUSED.test(id.slice(1)) ? 'module.exports = {};' : null),
};
const output = { dir: at('dist/cli'), format: 'esm', minify: true, sourcemap: true };

/** What is imported late is in the same file, and runs when it is asked for: `test/system/loaded-modules.test.ts`. */
const agent = await rolldown({
  input: { main: at('src/cli/main.ts') },
  platform: 'node',
  resolve: { alias },
  external: [AWS_CRT, /\/simulate\.ts$/],
  plugins: [leaveOut],
});
const main = await agent.write({
  ...output,
  codeSplitting: false,
  paths: (id) => id.replace(/^.*\/simulate\.ts$/, './simulate.js'),
});
await agent.close();

const simulator = await rolldown({
  input: { simulate: at('src/cli/simulate.ts'), simulator: at('src/cli/simulator.ts') },
  platform: 'node',
  external: [AWS_CRT],
});
const parts = await simulator.write({ ...output, chunkFileNames: 'simulator-[name].js' });
await simulator.close();

// The console looks for its page beside itself.
await cp(at('src/simulator/console/page'), at('dist/cli/page'), { recursive: true });

/** The licences of the packages that the files hold, as those want it. */
const modules = [...main.output, ...parts.output].flatMap(({ moduleIds = [] }) => moduleIds);
const packages = modules.flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(id)?.[0] ?? []);
const licences = await Promise.all(
  [...new Set(packages)].sort().map(async (directory) => {
    const { name, version, license } = JSON.parse(await readFile(join(directory, 'package.json'), 'utf8'));
    const file = (await readdir(directory)).find((one) => /^licen[cs]e/i.test(one));
    const text = file === undefined ? '' : (await readFile(join(directory, file), 'utf8')).trim();
    return `${name} ${version} (${license})\n\n${text}\n`;
  }),
);
await writeFile(at('dist/cli/licences.txt'), licences.join(`\n${'-'.repeat(80)}\n\n`));
