import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { dirname } from 'node:path';
import { readDocument } from '../../src/document/document.ts';
import type { Plan } from '../../src/document/plan.ts';
import type { Files } from '../support/forgetful-files.ts';
import type { Program } from '../support/memory-processes.ts';
import type { Random } from '../support/random.ts';

/**
 * A device and a job for it, from a seed; and what the device is before and after the job, known from the scenario
 * alone: nothing here asks the code under test.
 */
export interface Scenario {
  plan: Plan;
  document: object;
  /** What the steps' programs do, by step. */
  programs: ReadonlyMap<number, ProgramPlan>;
  /** Puts the device in its old state. */
  build(files: Files): void;
  old: readonly string[];
  new: readonly string[];
  /** A step fails whatever happens. */
  doomed: boolean;
  describe(): string[];
}

export interface ProgramPlan {
  program(files: Files): Program;
}

export const MOUNTS = ['/state', '/device', '/other'];

interface FileEntry {
  kind: 'file';
  mode: number;
  uid: number;
  gid: number;
  text: string;
}
type Entry = FileEntry | { kind: 'link'; target: string } | { kind: 'directory'; mode: number };
/** By path. Two names of one file share its entry. */
type Device = Map<string, Entry>;

/** Every entry of the device, as lines. */
export function listDevice(files: Files): string[] {
  const lines: string[] = [];
  const visit = (path: string): void => {
    for (const name of files.readDirectory(path)) {
      const at = `${path}/${name}`;
      const stat = files.lstat(at)!;
      const { mode, uid, gid } = stat;
      if (stat.kind === 'directory') {
        lines.push(shown(at, { kind: 'directory', mode }));
        visit(at);
      } else if (stat.kind === 'link') {
        lines.push(shown(at, { kind: 'link', target: files.readlink(at) }));
      } else {
        const text = Buffer.from(files.open(at, constants.O_RDONLY).content()).toString('latin1');
        lines.push(shown(at, { kind: 'file', mode, uid, gid, text }));
      }
    }
  };
  for (const root of ['/device', '/other']) visit(root);
  return lines.sort();
}

function shown(path: string, entry: Entry): string {
  switch (entry.kind) {
    case 'directory':
      return `${path}/ ${entry.mode.toString(8)}`;
    case 'link':
      return `${path} -> ${entry.target}`;
    case 'file': {
      const { mode, uid, gid, text } = entry;
      const hash = createHash('sha256').update(text, 'latin1').digest('hex').slice(0, 8);
      const content = `${text.length} bytes ${JSON.stringify(text.slice(0, 12))} ${hash}`;
      return `${path} ${mode.toString(8)} ${uid}:${gid} ${content}`;
    }
  }
}

const listed = (device: Device): string[] => [...device].map(([path, entry]) => shown(path, entry)).sort();

function oldDevice(random: Random): Device {
  const file = (mode: number, text: string, uid = 0, gid = 0): FileEntry => ({
    kind: 'file',
    mode,
    uid,
    gid,
    text,
  });
  const shared = file(0o600, 'shared by two names\n'.repeat(1 + random.below(60)));
  return new Map<string, Entry>([
    ['/device/etc', { kind: 'directory', mode: 0o755 }],
    ['/device/etc/app.conf', file(0o640, 'version = 1\n', 7, 8)],
    ['/device/data', file(0o644, `old data ${'.'.repeat(random.below(2000))}`)],
    ['/device/linked', shared],
    ['/device/twin', shared],
    ['/device/current', { kind: 'link', target: 'releases/1' }],
    ['/device/releases', { kind: 'directory', mode: 0o755 }],
    ['/device/releases/1', { kind: 'directory', mode: 0o755 }],
    ['/device/releases/2', { kind: 'directory', mode: 0o755 }],
    ['/device/tree', { kind: 'directory', mode: 0o750 }],
    ['/device/tree/a', file(0o644, 'a')],
    ['/device/tree/b', { kind: 'directory', mode: 0o700 }],
    ['/device/tree/b/c', file(0o600, 'c'.repeat(700))],
    ['/device/tree/link', { kind: 'link', target: '/nowhere' }],
    ['/other/config', file(0o644, 'on another file system\n')],
  ]);
}

function build(device: Device, files: Files): void {
  const made = new Map<Entry, string>();
  for (const [path, entry] of device) {
    if (entry.kind === 'directory') {
      files.mkdir(path, 0o777);
      files.chmod(path, entry.mode);
    } else if (entry.kind === 'link') files.symlink(entry.target, path);
    else if (made.has(entry)) files.link(made.get(entry)!, path);
    else {
      made.set(entry, path);
      const inode = files.open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
      inode.write(Buffer.from(entry.text), 0);
      inode.change({ mode: entry.mode, uid: entry.uid, gid: entry.gid });
    }
  }
  files.syncAll();
}

const FILES = [
  '/device/etc/app.conf',
  '/device/etc/app.conf',
  '/device/data',
  '/device/linked',
  '/device/none',
  '/device/new/deep/file',
  '/device/new/other',
  '/other/config',
  '/device/tree/a',
  '/device/tree/b/c',
  '/device/tree/new',
];
/** Some lie in others, so that a step may take away what an earlier one has touched. */
const ANY = [...FILES, '/device/tree', '/device/tree', '/device/tree/b', '/device/new', '/device/current'];
const LINKS = ['/device/current', '/device/current', '/device/none', '/device/new/deep/file'];

/** One to five steps over few paths, so that several touch the same one. */
export function scenarioFrom(random: Random): Scenario {
  const device = oldDevice(random);
  const old = listed(device);
  const start = new Map(device);
  // The steps change entries in place where a program does; the old ones are kept for building.
  const originals = new Map([...new Set(device.values())].map((entry) => [entry, { ...entry }]));
  const programs = new Map<number, ProgramPlan>();
  const said: string[] = [];
  const actions: object[] = [];
  let doomed = false;
  const count = 1 + random.below(5);
  for (let index = 0; index < count; index += 1) {
    const maker = random.pick(MAKERS);
    const made = maker(index, device, random);
    said.push(`step ${index}: ${made.said}`);
    actions.push({ action: { name: `step-${index}`, ...made.action } });
    if (made.program) programs.set(index, made.program);
    doomed ||= made.doomed === true;
  }
  const document = { version: '1.0', steps: actions };
  const read = readDocument(document, {});
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  const first: Device = new Map([...start].map(([path, entry]) => [path, originals.get(entry)!]));
  return {
    plan: read.plan,
    document,
    programs,
    build: (files) => build(first, files),
    old,
    new: listed(device),
    doomed,
    describe: () => said,
  };
}

interface MadeStep {
  action: object;
  said: string;
  program?: ProgramPlan;
  doomed?: boolean;
}

type Maker = (index: number, device: Device, random: Random) => MadeStep;

const MAKERS: readonly Maker[] = [
  writeFile,
  writeFile,
  removeFile,
  switchLink,
  runCommand,
  runCommand,
  runCommand,
  check,
];

/** Nothing but directories, or nothing at all, stands above it. */
function isReachable(device: Device, path: string): boolean {
  for (let at = dirname(path); at !== '/'; at = dirname(at)) {
    if (device.has(at) && device.get(at)?.kind !== 'directory') return false;
  }
  return true;
}

function pickFrom(paths: readonly string[], device: Device, random: Random): string {
  return random.pick(paths.filter((path) => isReachable(device, path)));
}

const textFrom = (index: number, random: Random): string =>
  `new ${index} ${random.below(1e6)} ${'#'.repeat(random.below(1400))}`;

function writeFile(index: number, device: Device, random: Random): MadeStep {
  const candidates = FILES.filter((path) => device.get(path)?.kind !== 'directory');
  const path = pickFrom(candidates, device, random);
  const text = textFrom(index, random);
  const mode = random.chance(0.3) ? random.pick([0o600, 0o755]) : undefined;
  const before = device.get(path);
  const known = before?.kind === 'file' ? before : undefined;
  makeParents(device, path);
  device.set(path, {
    kind: 'file',
    mode: mode ?? known?.mode ?? 0o644,
    uid: known?.uid ?? 0,
    gid: known?.gid ?? 0,
    text,
  });
  const input = { path, content: text, ...(mode !== undefined && { mode: `0${mode.toString(8)}` }) };
  return { action: { type: 'writeFile', input, ...retry(random) }, said: `writeFile ${path}` };
}

function removeFile(_index: number, device: Device, random: Random): MadeStep {
  const path = pickFrom(ANY, device, random);
  remove(device, path);
  return { action: { type: 'removeFile', input: { path }, ...retry(random) }, said: `removeFile ${path}` };
}

function switchLink(index: number, device: Device, random: Random): MadeStep {
  const free = LINKS.filter((path) => device.get(path)?.kind === 'link' || !device.has(path));
  const link = pickFrom(free.concat('/device/link'), device, random);
  const target = `releases/${index}`;
  makeParents(device, link);
  device.set(link, { kind: 'link', target });
  return {
    action: { type: 'switchLink', input: { link, target }, ...retry(random) },
    said: `switchLink ${link}`,
  };
}

function check(_index: number, device: Device, random: Random): MadeStep {
  const files = [...device].filter(([, entry]) => entry.kind === 'file') as [string, FileEntry][];
  const [path, { text }] = random.pick(files);
  const doomed = random.chance(0.2);
  const sha256 = createHash('sha256')
    .update(doomed ? 'another' : text, 'latin1')
    .digest('hex');
  const action = { type: 'check', input: { path, sha256 }, timeoutSeconds: 3 };
  return { action, doomed, said: `check ${path}${doomed ? ', which fails' : ''}` };
}

/** A program that changes one or two paths, each in several operations, none of them synced. */
function runCommand(index: number, device: Device, random: Random): MadeStep {
  const doomed = random.chance(0.1);
  const appends = random.chance(0.25);
  const paths = [pickFrom(ANY, device, random)];
  const makers: ((files: Files) => (() => void)[])[] = [];
  const said: string[] = [];
  for (const path of paths) {
    const change = changeOf(path, index, device, random, appends);
    makers.push(change.operations);
    said.push(`${change.said} ${path}`);
    // The second is picked from what the first has left.
    const second = pickFrom(ANY, device, random);
    if (paths.length === 1 && second !== path && random.chance(0.4)) paths.push(second);
  }
  const idempotent = !appends && random.chance(0.3);
  const program: ProgramPlan = {
    program: (files) => ({
      operations: makers.flatMap((make) => make(files)),
      exitCode: doomed ? 1 : 0,
    }),
  };
  return {
    action: {
      type: 'runCommand',
      input: { command: ['/bin/program', String(index)] },
      snapshotPaths: paths,
      idempotent,
    },
    program,
    doomed,
    said: `runCommand${idempotent ? ', idempotent' : ''}${doomed ? ', which fails' : ''}: ${said.join(', ')}`,
  };
}

interface Change {
  operations: (files: Files) => (() => void)[];
  said: string;
}

function changeOf(path: string, index: number, device: Device, random: Random, appends: boolean): Change {
  const entry = device.get(path);
  if (appends && entry?.kind === 'file') return append(path, entry, index);
  switch (random.below(4)) {
    case 0:
      remove(device, path);
      return { said: 'remove', operations: (files) => [() => clear(files, path)] };
    case 1:
      return makeTree(path, index, device);
    default:
      return rewrite(path, index, device, random);
  }
}

/** Twice would show. */
function append(path: string, entry: FileEntry, index: number): Change {
  const more = `+${index}`;
  entry.text += more;
  const operations = (files: Files): (() => void)[] =>
    Array.from(more, (letter) => () => {
      const inode = files.open(path, constants.O_RDWR);
      inode.write(Buffer.from(letter), inode.size);
    });
  return { said: 'append to', operations };
}

function rewrite(path: string, index: number, device: Device, random: Random): Change {
  const text = textFrom(index, random);
  const mode = random.pick([0o600, 0o644, 0o755]);
  const entry = device.get(path);
  if (entry?.kind === 'file') Object.assign(entry, { text, mode });
  else {
    remove(device, path);
    makeParents(device, path);
    device.set(path, { kind: 'file', uid: 0, gid: 0, text, mode });
  }
  const half = text.length >> 1;
  const open = (files: Files): ReturnType<Files['open']> =>
    files.open(path, constants.O_RDWR | constants.O_CREAT, 0o644);
  const operations = (files: Files): (() => void)[] => [
    () => files.lstat(path)?.kind !== 'file' && clear(files, path),
    () => parents(files, path),
    () => open(files).truncate(0),
    () => open(files).write(Buffer.from(text.slice(0, half)), 0),
    () => open(files).write(Buffer.from(text.slice(half)), half),
    () => files.chmod(path, mode),
  ];
  return { said: 'rewrite', operations };
}

function makeTree(path: string, index: number, device: Device): Change {
  remove(device, path);
  makeParents(device, path);
  device.set(path, { kind: 'directory', mode: 0o755 });
  const text = `in a tree ${index}`;
  device.set(`${path}/one`, { kind: 'file', uid: 0, gid: 0, mode: 0o644, text });
  device.set(`${path}/two`, { kind: 'link', target: 'one' });
  const operations = (files: Files): (() => void)[] => [
    () => clear(files, path),
    () => parents(files, path),
    () => files.mkdir(path, 0o755),
    () => {
      const inode = files.open(`${path}/one`, constants.O_RDWR | constants.O_CREAT, 0o644);
      inode.write(Buffer.from(text), 0);
    },
    () => files.symlink('one', `${path}/two`),
  ];
  return { said: 'make a tree at', operations };
}

function clear(files: Files, path: string): void {
  const kind = files.lstat(path)?.kind;
  if (kind === undefined) return;
  if (kind !== 'directory') {
    files.unlink(path);
    return;
  }
  for (const name of files.readDirectory(path)) clear(files, `${path}/${name}`);
  files.rmdir(path);
}

function parents(files: Files, path: string): void {
  const parent = dirname(path);
  if (files.lstat(parent)) return;
  parents(files, parent);
  files.mkdir(parent, 0o755);
}

function remove(device: Device, path: string): void {
  for (const at of [...device.keys()]) if (at === path || at.startsWith(`${path}/`)) device.delete(at);
}

function makeParents(device: Device, path: string): void {
  for (let at = dirname(path); at !== '/device' && at !== '/other'; at = dirname(at)) {
    if (!device.has(at)) device.set(at, { kind: 'directory', mode: 0o755 });
  }
}

function retry(random: Random): object {
  return random.chance(0.3) ? { idempotent: true } : {};
}
