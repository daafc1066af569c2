import { basename, dirname, join } from 'node:path';
import { pathProblem } from '../document/fields.ts';
import type { EntryKind } from '../host/disk.ts';

/**
 * Rules for common commands: which paths an argv touches, so that a before-image gives it an undo that its author need
 * not write. A rule names paths and nothing else. Whatever it does not know for certain (an option, a link that the
 * command would follow, a tree that it would merge into) has no rule, and the step keeps the grade `none`.
 */

export interface Ruled {
  paths: readonly string[];
  /** What the command changes beside its paths, which no before-image brings back. */
  besides?: string;
}

/** What stands at a path now; asked with absolute paths only. */
export type Look = (path: string) => Promise<Found>;
export type Found = { kind: EntryKind | 'absent'; entries?: readonly string[]; text?: string };

interface Operands {
  options: ReadonlySet<string>;
  operands: readonly string[];
}

/** Letters and long names of the options that a rule knows; one with `=` takes the next argument as its value. */
type Options = Readonly<Record<string, string>>;

interface Rule {
  options: Options;
  paths(said: Operands, look: Look): Promise<Ruled | undefined>;
}

const VERBOSE: Options = { v: 'verbose', verbose: 'verbose' };

const RULES: Readonly<Record<string, Rule>> = {
  mkdir: {
    options: { ...VERBOSE, p: 'parents', parents: 'parents', m: 'mode=', mode: 'mode=' },
    paths: mkdirPaths,
  },
  cp: {
    options: {
      ...VERBOSE,
      ...{
        f: 'force',
        p: 'preserve',
        n: 'no-clobber',
        u: 'update',
        T: 'whole',
        P: 'keep-links',
        d: 'keep-links',
      },
      ...{ a: 'recursive', r: 'recursive', R: 'recursive', recursive: 'recursive', archive: 'recursive' },
      ...{ force: 'force', 'no-clobber': 'no-clobber', 'no-target-directory': 'whole' },
    },
    paths: cpPaths,
  },
  mv: {
    options: {
      ...VERBOSE,
      f: 'force',
      n: 'no-clobber',
      T: 'whole',
      force: 'force',
      'no-target-directory': 'whole',
    },
    paths: mvPaths,
  },
  ln: {
    options: {
      ...VERBOSE,
      ...{ s: 'symbolic', f: 'force', n: 'keep-link', T: 'whole', r: 'relative' },
      ...{ symbolic: 'symbolic', force: 'force', 'no-dereference': 'keep-link' },
    },
    paths: lnPaths,
  },
  rm: {
    options: {
      ...VERBOSE,
      ...{ f: 'force', r: 'recursive', R: 'recursive', d: 'dir' },
      ...{ force: 'force', recursive: 'recursive' },
    },
    paths: ({ operands }, look) => own(operands, look, ['absent', 'file', 'link', 'directory']),
  },
  chmod: {
    options: { ...VERBOSE, f: 'quiet', c: 'changes', R: 'recursive', recursive: 'recursive' },
    // It follows a link. A directory that is there may be in use: putting a copy back would take others' writes along.
    paths: ({ operands: [, ...paths] }, look) => own(paths, look, ['absent', 'file']),
  },
  chown: {
    options: { ...VERBOSE, f: 'quiet', c: 'changes', R: 'recursive', recursive: 'recursive', h: 'keep-link' },
    paths: ({ options, operands: [, ...paths] }, look) =>
      own(paths, look, options.has('keep-link') ? ['absent', 'file', 'link'] : ['absent', 'file']),
  },
  systemctl: {
    options: { q: 'quiet', quiet: 'quiet', system: 'system' },
    paths: systemctlPaths,
  },
  hostnamectl: {
    options: { static: 'static' },
    paths({ operands: [verb, name, ...more] }) {
      const known = verb === 'set-hostname' && name !== undefined && more.length === 0;
      const paths = ['/etc/hostname', '/etc/machine-info'];
      return Promise.resolve(known ? { paths, besides: LIVE_NAME } : undefined);
    },
  },
  timedatectl: {
    options: {},
    paths({ operands: [verb, zone, ...more] }) {
      const known = verb === 'set-timezone' && zone !== undefined && more.length === 0;
      // Debian keeps the name of the zone in the second.
      return Promise.resolve(known ? { paths: ['/etc/localtime', '/etc/timezone'] } : undefined);
    },
  },
};

const LIVE_NAME = 'the running system keeps the new host name until it starts again';
const SITE_DIRECTORIES = ['/usr/local/sbin', '/usr/local/bin'];
const PROGRAM_DIRECTORIES = ['/bin', '/usr/bin', '/sbin', '/usr/sbin'];

/** The paths that a command touches and all of them; `undefined` where no rule knows. Reads only. */
export async function ruleFor(argv: readonly string[], look: Look): Promise<Ruled | undefined> {
  const [program = '', ...rest] = argv;
  const name = basename(program);
  if (program !== name && !PROGRAM_DIRECTORIES.includes(dirname(program))) return undefined;
  const rule = Object.hasOwn(RULES, name) ? RULES[name] : undefined;
  // A program of the site by that name would be found first.
  for (const directory of program === name && rule ? SITE_DIRECTORIES : [])
    if ((await look(join(directory, name))).kind !== 'absent') return undefined;
  const said = rule && operandsIn(rest, rule.options);
  const ruled = said && (await rule.paths(said, (path) => look(fromRoot(path))));
  const paths = ruled?.paths.map(fromRoot) ?? [];
  if (!ruled || paths.some((path) => pathProblem(path) !== undefined)) return undefined;
  return { ...ruled, paths: [...new Set(paths)] };
}

/** Where a relative path leads: commands begin in the root (`commandSpec`). */
function fromRoot(path: string): string {
  if (path === '' || path.startsWith('/')) return path;
  return path === '.' ? '/' : `/${path}`;
}

/** `undefined` at the first option that is not known; GNU programs take options behind operands too. */
function operandsIn(rest: readonly string[], known: Options): Operands | undefined {
  const options = new Set<string>();
  const operands: string[] = [];
  for (let at = 0; at < rest.length; at += 1) {
    const argument = rest[at] ?? '';
    if (argument === '--') return { options, operands: [...operands, ...rest.slice(at + 1)] };
    if (!argument.startsWith('-') || argument === '-') {
      operands.push(argument);
      continue;
    }
    const [long = '', value] = argument.startsWith('--') ? argument.slice(2).split(/=(.*)/s) : [];
    const names = argument.startsWith('--') ? [long] : Array.from(argument.slice(1));
    for (const [position, name] of names.entries()) {
      const meaning = Object.hasOwn(known, name) ? known[name] : undefined;
      if (meaning === undefined) return undefined;
      const takesValue = meaning.endsWith('=');
      if (value !== undefined && !takesValue) return undefined;
      // A value glued to its letter is not worth knowing.
      if (takesValue && value === undefined) {
        if (position !== names.length - 1 || at + 1 >= rest.length) return undefined;
        at += 1;
      }
      options.add(meaning);
    }
  }
  return { options, operands };
}

/** Paths that the command changes as themselves, where each is of such a kind. */
async function own(
  paths: readonly string[],
  look: Look,
  kinds: readonly Found['kind'][],
): Promise<Ruled | undefined> {
  if (paths.length === 0) return undefined;
  for (const path of paths) {
    // A slash behind a link is the directory that it leads to.
    if (path.endsWith('/') || !kinds.includes((await look(path)).kind)) return undefined;
  }
  return { paths };
}

async function mkdirPaths({ options, operands }: Operands, look: Look): Promise<Ruled | undefined> {
  const paths: string[] = [];
  for (const operand of operands) {
    const path = plain(operand);
    const { kind } = await look(path);
    if (kind === 'directory') {
      // It fails, or with -p it does nothing.
      continue;
    }
    if (kind !== 'absent') return undefined;
    paths.push(options.has('parents') ? await outermostMissing(path, look) : path);
  }
  return operands.length === 0 ? undefined : { paths };
}

async function outermostMissing(path: string, look: Look): Promise<string> {
  let missing = path;
  while (dirname(missing) !== missing && (await look(dirname(missing))).kind === 'absent')
    missing = dirname(missing);
  return missing;
}

/** Where each source ends up: the destination itself, or in it when it is a directory. */
async function destinations(
  { options, operands }: Operands,
  look: Look,
): Promise<{ sources: string[]; targets: string[] } | undefined> {
  const sources = operands.slice(0, -1).map(plain);
  const last = operands.at(-1) ?? '';
  const to = plain(last);
  if (sources.length === 0) return undefined;
  const { kind } = await look(to);
  // A link would be followed, or replaced, as it comes.
  if (kind === 'link') return undefined;
  if (kind === 'directory' && !options.has('whole')) {
    const names = sources.map((source) => basename(source));
    return names.some((name) => ['', '.', '..'].includes(name))
      ? undefined
      : { sources, targets: names.map((name) => join(to, name)) };
  }
  if (sources.length > 1 || last.endsWith('/')) return undefined;
  return { sources, targets: [to] };
}

async function cpPaths(said: Operands, look: Look): Promise<Ruled | undefined> {
  const found = await destinations(said, look);
  if (!found) return undefined;
  for (const target of found.targets) {
    const { kind } = await look(target);
    // Into a tree that is there it writes through the links in it; through a link it writes elsewhere.
    if (kind !== 'absent' && kind !== 'file') return undefined;
  }
  return { paths: found.targets };
}

async function mvPaths(said: Operands, look: Look): Promise<Ruled | undefined> {
  const found = await destinations(said, look);
  if (!found || said.operands.some((operand) => operand.endsWith('/'))) return undefined;
  for (const target of found.targets) {
    const { kind } = await look(target);
    if (kind !== 'absent' && kind !== 'file' && kind !== 'link') return undefined;
  }
  return { paths: [...found.sources, ...found.targets] };
}

async function lnPaths({ options, operands }: Operands, look: Look): Promise<Ruled | undefined> {
  const [target, link, ...more] = operands;
  if (!options.has('symbolic') || target === undefined || link === undefined || more.length > 0)
    return undefined;
  if (link.endsWith('/')) return undefined;
  const { kind } = await look(link);
  const itself = options.has('whole') || options.has('keep-link');
  if (kind === 'absent' || kind === 'file') return { paths: [link] };
  if (kind === 'link') return itself ? { paths: [link] } : undefined;
  const inside = join(link, basename(plain(target)));
  if (kind !== 'directory' || options.has('whole') || ['.', '..', ''].includes(basename(target)))
    return undefined;
  const there = (await look(inside)).kind;
  return there === 'absent' || there === 'file' || there === 'link' ? { paths: [inside] } : undefined;
}

const UNIT_NAME = /^[A-Za-z0-9:_.\\-]+\.(service|socket|timer|path|target|mount)$/;
const UNIT_DIRECTORY = '/etc/systemd/system';
const UNIT_DIRECTORIES = [
  UNIT_DIRECTORY,
  '/usr/local/lib/systemd/system',
  '/usr/lib/systemd/system',
  '/lib/systemd/system',
];
const LINK_DIRECTORY = /\.(wants|requires|upholds)$/;

/** `enable`, `disable`, `mask` and `unmask` change links in /etc/systemd/system alone, if no script of SysV is there. */
async function systemctlPaths({ operands }: Operands, look: Look): Promise<Ruled | undefined> {
  const [verb = '', ...names] = operands;
  if (!['enable', 'disable', 'mask', 'unmask'].includes(verb) || names.length === 0) return undefined;
  const paths: string[] = [];
  for (const name of names) {
    const unit = /\.[a-z]+$/.test(name) ? name : `${name}.service`;
    const links = UNIT_NAME.test(unit) ? await linksOf(unit, verb, look) : undefined;
    if (!links) return undefined;
    paths.push(...links);
  }
  // The service manager reads what is put back behind all undos (`settleManager`).
  return { paths };
}

async function linksOf(unit: string, verb: string, look: Look): Promise<string[] | undefined> {
  const itself = join(UNIT_DIRECTORY, unit);
  if (verb === 'mask' || verb === 'unmask') {
    const { kind } = await look(itself);
    return kind === 'absent' || kind === 'link' ? [itself] : undefined;
  }
  const install = await installOf(unit, look);
  if (!install) return undefined;
  const held: string[] = [];
  for (const name of (await look(UNIT_DIRECTORY)).entries ?? []) {
    if (LINK_DIRECTORY.test(name) && ((await look(join(UNIT_DIRECTORY, name))).entries ?? []).includes(unit))
      held.push(join(UNIT_DIRECTORY, name, unit));
  }
  return [...install, ...held];
}

const INSTALL_DIRECTORIES: Readonly<Record<string, string>> = {
  WantedBy: 'wants',
  RequiredBy: 'requires',
  UpheldBy: 'upholds',
};

/** The links that the unit's `[Install]` section asks for; `undefined` where that cannot be said here. */
async function installOf(unit: string, look: Look): Promise<string[] | undefined> {
  if ((await look(join('/etc/init.d', unit.replace(/\.service$/, '')))).kind !== 'absent') return undefined;
  if ((await look(join(UNIT_DIRECTORY, `${unit}.d`))).kind !== 'absent') return undefined;
  for (const directory of UNIT_DIRECTORIES) {
    const { kind, text } = await look(join(directory, unit));
    if (kind === 'absent') continue;
    return text === undefined ? undefined : linksAskedFor(unit, text);
  }
  return undefined;
}

function linksAskedFor(unit: string, text: string): string[] | undefined {
  const links: string[] = [];
  let section = '';
  for (const line of text.split('\n').map((one) => one.trim())) {
    section = /^\[(.*)\]$/.exec(line)?.[1] ?? section;
    const [, key = '', value = ''] = /^([A-Za-z]+)\s*=\s*(.*)$/.exec(line) ?? [];
    if (section !== 'Install' || key === '') continue;
    // A specifier, a second line, other units: to be read by systemd alone.
    if (/[%\\"']/.test(value) || !['Alias', ...Object.keys(INSTALL_DIRECTORIES)].includes(key))
      return undefined;
    for (const name of value.split(/\s+/).filter(Boolean)) {
      const directory = INSTALL_DIRECTORIES[key];
      links.push(
        directory === undefined
          ? join(UNIT_DIRECTORY, name)
          : join(UNIT_DIRECTORY, `${name}.${directory}`, unit),
      );
    }
  }
  return links;
}

/** Without the slashes behind it. */
function plain(path: string): string {
  return path.replace(/(?<=.)\/+$/, '');
}
