import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { arch, cpus, release, tmpdir, totalmem } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { systemClock } from '../../host/clock.ts';
import { redacted, redactedText } from '../../host/redact.ts';
import { CommandFailed } from '../command-failed.ts';
import { print } from '../reading.ts';
import { readConfig } from '../settings.ts';
import { packageVersion } from '../version.ts';
import { collected } from './collect.ts';

/**
 * `evenkeel bundle`: what support wants to see, in one archive. Secrets are taken out of every text before it is written
 * anywhere; keys, certificates and the contents of files are not collected at all.
 */

const run = promisify(execFile);
const MANIFEST = 'manifest.json';
const FILE_BYTES_MAX = 1024 * 1024;
const BYTES_MAX = 16 * 1024 * 1024;

export interface SupportOptions {
  config?: string;
  json?: boolean;
  output?: string;
}

export async function support(options: SupportOptions): Promise<void> {
  const config = readConfig(options.config);
  const createdAt = new Date(systemClock.wallMs()).toISOString();
  const name = `evenkeel-${config.thing.replace(/[^\w-]/g, '-')}-${createdAt.slice(0, 19).replace(/[-:]/g, '')}Z`;
  const archive = resolve(options.output ?? `${name}.tar.gz`);
  const place = await mkdtemp(join(tmpdir(), 'evenkeel-bundle-'));
  try {
    const fill = new Filling(join(place, name));
    for await (const { file, content } of collected(config, options.config)) await fill.add(file, content);
    const manifest = { format: 1, createdAt, ...(await versions()), files: fill.files, cut: fill.cut };
    await fill.add(MANIFEST, manifest);
    await run('tar', ['--owner=0', '--group=0', '-C', place, '-czf', archive, name]);
    await chmod(archive, 0o600);
    if (options.json) print(JSON.stringify({ archive, files: fill.files, cut: fill.cut }, null, 2));
    else {
      print(archive);
      print(
        `${fill.files.length} files. Secrets are taken out as far as they can be told; what programs printed and`,
      );
      print('what documents said is in it: look before you send it.');
    }
  } catch (error) {
    throw new CommandFailed(`cannot write ${archive}: ${(error as Error).message}`);
  } finally {
    await rm(place, { recursive: true, force: true });
  }
}

/** A folder that takes only so much. */
class Filling {
  readonly files: string[] = [];
  /** What was left out or shortened. */
  readonly cut: string[] = [];
  readonly #place: string;
  #bytes = 0;

  constructor(place: string) {
    this.#place = place;
  }

  async add(file: string, content: unknown): Promise<void> {
    const text =
      typeof content === 'string' ? redactedText(content) : `${JSON.stringify(redacted(content), null, 2)}\n`;
    const bytes = Buffer.from(text);
    const isFull = this.#bytes + Math.min(bytes.length, FILE_BYTES_MAX) > BYTES_MAX;
    if (isFull && file !== MANIFEST) {
      this.cut.push(`${file}: left out, the archive is full`);
      return;
    }
    // The end of a log is worth more than its beginning.
    const kept = bytes.length > FILE_BYTES_MAX ? bytes.subarray(bytes.length - FILE_BYTES_MAX) : bytes;
    if (kept.length < bytes.length) this.cut.push(`${file}: its last ${FILE_BYTES_MAX} bytes`);
    const path = join(this.#place, file);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await writeFile(path, kept, { mode: 0o600 });
    this.#bytes += kept.length;
    this.files.push(file);
  }
}

async function versions(): Promise<object> {
  const [osRelease, systemd] = await Promise.all([
    readFile('/etc/os-release', 'utf8').catch(() => ''),
    run('systemctl', ['--version']).then(
      ({ stdout }) => stdout.split('\n')[0],
      () => undefined,
    ),
  ]);
  return {
    evenkeel: packageVersion(),
    node: process.version,
    os: /^PRETTY_NAME="?([^"\n]*)/m.exec(osRelease)?.[1],
    kernel: release(),
    arch: arch(),
    cpus: cpus().length,
    memoryBytes: totalmem(),
    ...(systemd !== undefined && { systemd }),
  };
}
