import {
  type Action,
  type ActionFacts,
  base,
  download,
  hasQuery,
  packageBase,
  rebootStep,
  shutdownStep,
  stderrLimit,
  unitsStep,
} from './action.ts';
import { type Fields, pathProblem } from './fields.ts';
import { ACTION, CHECK_INTERVAL_SECONDS, FORMATS, INPUTS } from './inputs.ts';
import { readShape, type Values } from './members.ts';
import type { PlanStep } from './plan.ts';
import { readStock } from './stock-handlers.ts';

/** One action of a document, read into one step of the plan by the tables of `inputs.ts`. */

const COMPRESSIONS = { tar: undefined, 'tar.gz': 'gzip', 'tar.xz': 'xz', 'tar.zst': 'zstd' } as const;

type Inputs<T extends PlanStep['type']> = Values<(typeof INPUTS)[T]>;

const READERS: {
  [T in PlanStep['type']]: (action: Action, input: Inputs<T>, at: Fields) => PlanStep | undefined;
} = {
  runCommand(action, { command: argv }) {
    return argv && { ...base(action, 'none', []), type: 'runCommand', argv, ...stderrLimit(action) };
  },
  runHandler,
  downloadFile(action, { url: from, path: target, sha256: hash, sizeBytes, mode: bits }) {
    const expected = hash ?? action.said.sha256;
    return {
      ...download(action, from, target),
      ...(expected !== undefined && { sha256: expected }),
      ...(sizeBytes !== undefined && { sizeBytes }),
      ...(bits !== undefined && { mode: bits }),
    };
  },
  writeFile(action, { path: target, content = '', contentBase64, mode: bits }) {
    return {
      ...base(action, 'full', [target]),
      type: 'writeFile',
      target,
      // An empty file is a content too.
      contentBase64: contentBase64 ?? Buffer.from(content).toString('base64'),
      ...(bits !== undefined && { mode: bits }),
    };
  },
  removeFile: (action, { path: target }) => ({
    ...base(action, 'full', [target]),
    type: 'removeFile',
    target,
  }),
  switchLink: (action, { link, target }) => ({
    ...base(action, 'full', [link]),
    type: 'switchLink',
    link,
    target,
  }),
  startServices: (action, input) => unitsStep('startServices', action, input),
  stopServices: (action, input) => unitsStep('stopServices', action, input),
  restartServices: (action, input) => unitsStep('restartServices', action, input),
  extractArchive: readArchive,
  installPackages: (action, { packages: words, update }) => ({
    ...packageBase(action, words),
    type: 'installPackages',
    packages: words,
    ...(update && { update }),
  }),
  removePackages: (action, { packages: words, purge }) => ({
    ...packageBase(action, words),
    type: 'removePackages',
    packages: words,
    purge,
  }),
  rotateCertificate: (action) => ({
    ...base(action, 'full', action.credentialLink === undefined ? [] : [action.credentialLink]),
    type: 'rotateCertificate',
    ...(action.credentialLink !== undefined && { link: action.credentialLink }),
  }),
  reboot: rebootStep,
  shutdown: shutdownStep,
  check(action, input, at) {
    const what = checked(input, at);
    return (
      what && {
        ...base(action, 'full', []),
        type: 'check',
        idempotent: true,
        check: what,
        intervalSeconds: input.intervalSeconds ?? CHECK_INTERVAL_SECONDS,
      }
    );
  },
};

/** Reads `steps[i].action`; what is wrong is noted in the fields' problems and the step is not used then. */
export function readAction(fields: Fields, facts: ActionFacts): PlanStep | undefined {
  const type = fields.required('type');
  if (type === '') return undefined;
  if (!Object.hasOwn(INPUTS, type)) return fields.wrong('type', `is not known: "${type.slice(0, 60)}"`);
  const known = type as PlanStep['type'];
  const at = fields.object('input');
  const action: Action = { ...facts, fields, said: readShape(fields, ACTION) };
  // Reader and input are of the same type, which the compiler cannot follow through the two tables.
  const read = READERS[known] as (action: Action, input: unknown, at: Fields) => PlanStep | undefined;
  return read(action, readShape(at, INPUTS[known]), at);
}

/** `default` is Device Client's word for its own directory of handlers, which is the configured one here. */
function handlerDirectory(path: string | undefined, at: Fields): string | undefined {
  if (path === undefined || path === 'default') return undefined;
  const directory = path.replace(/(?<=.)\/+$/, '');
  const reason = pathProblem(directory);
  // A relative one would be looked for wherever the agent was started.
  if (reason !== undefined) at.wrong('path', reason);
  return directory;
}

function runHandler(action: Action, input: Inputs<'runHandler'>, at: Fields): PlanStep | undefined {
  const { handler, args = [], path } = input;
  const directory = handlerDirectory(path, at);
  const called = { handler, args, ...(directory !== undefined && { directory }), ...stderrLimit(action) };
  const stock = readStock({ ...action, stock: called }, at);
  if (stock) return stock.step;
  const planned = base(action, 'none', []);
  return {
    ...planned,
    // A handler may have an `.undo.sh` beside it; the survey looks, and lowers the grade when there is none.
    grade: planned.grade === 'none' ? 'bestEffort' : planned.grade,
    type: 'runHandler',
    ...called,
  };
}

function readArchive(
  action: Action,
  { url: from, path: target, link, format, ...input }: Inputs<'extractArchive'>,
  at: Fields,
): PlanStep | undefined {
  const hash = input.sha256 ?? action.said.sha256;
  const known = format ?? formatOf(from);
  if (known === undefined) return at.wrong('format', 'is missing, and the name in the url does not tell it');
  if (link === target || link?.startsWith(`${target}/`) || (link && target.startsWith(`${link}/`)))
    return at.wrong('link', 'must be neither in the path nor above it');
  const compression = COMPRESSIONS[known];
  return {
    ...base(action, 'full', [target, ...(link === undefined ? [] : [link])]),
    type: 'extractArchive',
    url: from,
    urlHasQuery: hasQuery(from),
    target,
    ...(link !== undefined && { link }),
    ...(hash !== undefined && { sha256: hash }),
    ...(input.sizeBytes !== undefined && { sizeBytes: input.sizeBytes }),
    ...(compression !== undefined && { compression }),
    stripComponents: input.stripComponents ?? 0,
  };
}

function formatOf(from: string): (typeof FORMATS)[number] | undefined {
  const path = URL.canParse(from) ? new URL(from).pathname : '';
  const [, end = ''] = /\.(tgz|txz|tzst|tar(?:\.(?:gz|xz|zst))?)$/.exec(path) ?? [];
  const long = end.replace(/^t(gz|xz|zst)$/, 'tar.$1');
  return FORMATS.find((format) => format === long);
}

function checked(
  { command: argv, url: asked, status, path, sha256: hash }: Inputs<'check'>,
  at: Fields,
): (PlanStep & { type: 'check' })['check'] | undefined {
  if (at.raw('command') !== undefined) return argv && { kind: 'command', argv };
  if (asked !== undefined) return { kind: 'http', url: at.url('url'), status: status ?? 200 };
  if (path === undefined) {
    return at.wrong('command', 'is missing: a check has a command, a url, or a path with sha256');
  }
  if (hash !== undefined) return { kind: 'file', target: at.filePath('path'), sha256: hash };
  return at.raw('sha256') === undefined ? at.wrong('sha256', 'is missing') : undefined;
}
