import { resolve } from 'node:path';
import { examine } from './examine.ts';
import { thisMachine } from './host.ts';
import { drawn } from './table.ts';

const COLUMNS = 100;
const CANNOT_RUN = 2;

/** `evenkeel doctor`: exit code 0 when nothing failed, 1 when something did, 2 when it could not be run. */
export async function doctor(options: { config?: string; json?: boolean; write?: boolean }): Promise<void> {
  const configPath = options.config === undefined ? undefined : resolve(options.config);
  const report = await examine({ configPath, write: options.write === true }, thisMachine());
  if (!report) {
    process.stderr.write(`cannot read ${configPath}\n`);
    process.exitCode = CANNOT_RUN;
    return;
  }
  const { stdout, env } = process;
  const paper = {
    columns: stdout.columns ?? COLUMNS,
    colour: stdout.isTTY && (env['NO_COLOR'] ?? '') === '',
  };
  stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : drawn(report, paper));
  // The CRT, where it was loaded, keeps a process alive.
  process.exit(report.cause ? 1 : 0);
}
