import { type Fields, pathProblem } from './fields.ts';
import {
  ACTION,
  CHECK_INTERVAL_SECONDS,
  FORMATS,
  HEALTH_SECONDS,
  INPUTS,
  STEP_TIMEOUT_SECONDS,
} from './inputs.ts';
import { readShape, type Values } from './members.ts';
import type { Grade, PlanStep, ResourceId, StepBase, UnitsStep } from './plan.ts';

/** One action of a document, read into one step of the plan by the tables of `inputs.ts`. */

const REBOOT_TIMEOUT_SECONDS = 600;
const MEGABYTE = 1_048_576;
const COMPRESSIONS = { tar: undefined, 'tar.gz': 'gzip', 'tar.xz': 'xz', 'tar.zst': 'zstd' } as const;

export interface ActionFacts {
  index: number;
  /** Directory that the document names for its handlers. */
  directory: string | undefined;
  /** The link to the credential in use, on a device that can be given another one. */
  credentialLink: string | undefined;
}

/** One action, with all that its object says, whatever its type. */
interface Action extends ActionFacts {
  fields: Fields;
  said: Values<typeof ACTION>;
}

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
  installPackages: (action, { packages: words }) => ({
    ...packageBase(action, words),
    type: 'installPackages',
    packages: words,
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
  reboot: (action) => ({
    ...neutral(action),
    type: 'reboot',
    endsBoot: true,
    timeoutSeconds: action.said.timeoutSeconds ?? REBOOT_TIMEOUT_SECONDS,
  }),
  shutdown: (action) => ({
    ...neutral(action),
    type: 'shutdown',
    finishEndsBoot: true,
  }),
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

/** `others`: what the step touches besides paths. */
function base(
  { fields, said, index }: Action,
  own: Grade,
  targets: readonly string[],
  others: readonly ResourceId[] = [],
): StepBase {
  const { name, runAsUser, timeoutSeconds, undo, snapshotPaths, memoryMegabytesMax, tasksMax } = said;
  const paths = [...new Set([...targets, ...snapshotPaths])];
  return {
    index,
    path: fields.path,
    name: name ?? `step ${index + 1}`,
    ...(runAsUser !== undefined && { runAsUser }),
    timeoutSeconds: timeoutSeconds ?? STEP_TIMEOUT_SECONDS,
    ignoreFailure: said.ignoreStepFailure,
    idempotent: said.idempotent,
    pivot: said.pivot,
    ...(memoryMegabytesMax !== undefined && { memoryBytesMax: memoryMegabytesMax * MEGABYTE }),
    ...(tasksMax !== undefined && { tasksMax }),
    ...(undo && { undo }),
    touches: [...paths.map((path) => `path:${path}`), ...others],
    grade: own === 'none' ? commandGrade(undo !== undefined, paths.length > 0) : own,
  };
}

/** `package:NAME` for each; the survey finds out what else they bring or take along. */
function packageBase(action: Action, words: readonly string[]): StepBase {
  const planned = base(action, 'full', []);
  const named = words.map((word) => `package:${word.replace(/=.*/, '')}`);
  return { ...planned, touches: [...named, ...planned.touches] };
}

/** A command is worth what its author declared: paths can be compared, an undo command only believed. */
function commandGrade(hasUndo: boolean, hasPaths: boolean): Grade {
  if (hasPaths) return 'full';
  return hasUndo ? 'bestEffort' : 'none';
}

function stderrLimit({ said }: Action): { stderrLinesMax?: number } {
  return said.allowStdErr === undefined ? {} : { stderrLinesMax: said.allowStdErr };
}

function runHandler(action: Action, input: Inputs<'runHandler'>, at: Fields): PlanStep | undefined {
  const { handler, args = [], path: directory = action.directory } = input;
  const stock = STOCK_HANDLERS.get(handler);
  if (stock) return stock(action, args, at);
  const planned = base(action, 'none', []);
  return {
    ...planned,
    // A handler may have an `.undo.sh` beside it; the survey looks, and lowers the grade when there is none.
    grade: planned.grade === 'none' ? 'bestEffort' : planned.grade,
    type: 'runHandler',
    handler,
    args,
    ...(directory !== undefined && { directory }),
    ...stderrLimit(action),
  };
}

/** Touches nothing that could be put back. */
const neutral = (action: Action) => ({ ...base(action, 'full', []), touches: [], idempotent: true });

function unitsStep(
  type: UnitsStep['type'],
  action: Action,
  { services, healthSeconds = HEALTH_SECONDS }: Values<(typeof INPUTS)['startServices']>,
): UnitsStep {
  const touched = services.map((unit) => `unit:${unit}`);
  return { ...base(action, 'full', [], touched), type, idempotent: true, units: services, healthSeconds };
}

/** The handlers of AWS IoT Device Client, and so of AWS' managed templates, that are built-in steps here. */
const STOCK_HANDLERS: ReadonlyMap<
  string,
  (action: Action, args: readonly string[], at: Fields) => PlanStep | undefined
> = new Map([
  ['download-file.sh', stockDownload],
  [
    'install-packages.sh',
    (action, args, at) => {
      const words = stockWords(INPUTS.installPackages.packages, args, at);
      return words && { ...packageBase(action, words), type: 'installPackages', packages: words };
    },
  ],
  [
    'remove-packages.sh',
    (action, args, at) => {
      const words = stockWords(INPUTS.removePackages.packages, args, at);
      return words && { ...packageBase(action, words), type: 'removePackages', packages: words, purge: true };
    },
  ],
  ...(['start', 'stop', 'restart'] as const).map(
    (verb) =>
      [
        `${verb}-services.sh`,
        (action: Action, args: readonly string[], at: Fields) => {
          const services = stockWords(INPUTS.startServices.services, args, at);
          return services && unitsStep(`${verb}Services`, action, { services, healthSeconds: undefined });
        },
      ] as const,
  ),
  ['reboot.sh', (action, _, at) => READERS.reboot(action, {}, at)],
  ['shutdown.sh', (action, _, at) => READERS.shutdown(action, {}, at)],
]);

/** A template has all words in one argument, a sample document has one in each. */
function stockWords(
  { read }: { read(fields: Fields, name: string): string[] },
  args: readonly string[],
  at: Fields,
): string[] | undefined {
  return args.length === 0 ? at.wrong('args', 'is missing: it names what to work on') : read(at, 'args');
}

function stockDownload(action: Action, args: readonly string[], at: Fields): PlanStep | undefined {
  const [from = '', target = ''] = args;
  if (!URL.canParse(from)) return at.wrong('args', 'the first must be a URL');
  const reason = pathProblem(target);
  return reason === undefined ? download(action, from, target) : at.wrong('args', `the second ${reason}`);
}

function download(action: Action, from: string, target: string): PlanStep & { type: 'downloadFile' } {
  return {
    ...base(action, 'full', [target]),
    type: 'downloadFile',
    url: from,
    urlHasQuery: hasQuery(from),
    target,
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

function hasQuery(from: string): boolean {
  return URL.canParse(from) && new URL(from).search !== '';
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
