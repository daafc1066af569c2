import { type Fields, pathProblem } from './fields.ts';
import type { Grade, PlanStep, StepBase } from './plan.ts';

/** One action of a document, read into one step of the plan. */

const STEP_TIMEOUT_SECONDS = 3600;
const STEP_TIMEOUT_SECONDS_MAX = 7 * 86_400;
const CONTENT_CHARS_MAX = 32_768;
const SIZE_BYTES_MAX = 2 ** 40;
const CHECK_INTERVAL_SECONDS = 1;

/** The stock handler of AWS IoT Device Client that is a built-in step here. */
const DOWNLOAD_HANDLER = 'download-file.sh';

export interface ActionFacts {
  index: number;
  /** Directory that the document names for its handlers. */
  directory: string | undefined;
}

/** Reads `steps[i].action`; what is wrong is noted in the fields' problems and the step is not used then. */
export function readAction(action: Fields, facts: ActionFacts): PlanStep | undefined {
  const type = action.required('type');
  switch (type) {
    case 'runCommand':
    case 'runHandler':
      return readDeviceClientAction(type, action, facts);
    case 'downloadFile':
      return downloadFile(action, facts);
    case 'writeFile':
      return writeFile(action, facts);
    case 'removeFile': {
      const target = action.object('input').filePath('path');
      return { ...base(action, facts, 'full', [target]), type, target };
    }
    case 'switchLink': {
      const input = action.object('input');
      const link = input.filePath('link');
      return { ...base(action, facts, 'full', [link]), type, link, target: input.required('target') };
    }
    case 'check':
      return check(action, facts);
    case '':
      return undefined;
    default:
      return action.wrong('type', `is not known: "${type.slice(0, 60)}"`);
  }
}

function base(action: Fields, facts: ActionFacts, own: Grade, targets: readonly string[]): StepBase {
  const snapshotPaths = action.texts('snapshotPaths') ?? [];
  for (const [index, path] of snapshotPaths.entries()) {
    const reason = pathProblem(path);
    if (reason !== undefined) action.wrong(`snapshotPaths[${index}]`, reason);
  }
  const undo = action.command('undo');
  const runAsUser = action.text('runAsUser', 64);
  const paths = [...new Set([...targets, ...snapshotPaths])];
  return {
    index: facts.index,
    path: action.path,
    name: action.text('name', 256) ?? `step ${facts.index + 1}`,
    ...(runAsUser !== undefined && { runAsUser }),
    timeoutSeconds: action.whole('timeoutSeconds', 1, STEP_TIMEOUT_SECONDS_MAX) ?? STEP_TIMEOUT_SECONDS,
    ignoreFailure: action.flag('ignoreStepFailure'),
    idempotent: action.flag('idempotent'),
    pivot: action.flag('pivot'),
    ...(undo && { undo }),
    touches: paths.map((path) => `path:${path}`),
    grade: own === 'none' ? commandGrade(undo !== undefined, paths.length > 0) : own,
  };
}

/** A command is worth what its author declared: paths can be compared, an undo command only believed. */
function commandGrade(hasUndo: boolean, hasPaths: boolean): Grade {
  if (hasPaths) return 'full';
  return hasUndo ? 'bestEffort' : 'none';
}

function readDeviceClientAction(
  type: 'runCommand' | 'runHandler',
  action: Fields,
  facts: ActionFacts,
): PlanStep | undefined {
  const input = action.object('input');
  const lines = action.whole('allowStdErr', 0, 1_000_000);
  const stderr = lines !== undefined && { stderrLinesMax: lines };
  if (type === 'runCommand') {
    const argv = input.command('command') ?? input.wrong('command', 'is missing');
    return argv && { ...base(action, facts, 'none', []), type, argv, ...stderr };
  }
  const handler = input.required('handler');
  const args = input.texts('args') ?? [];
  const directory = input.text('path') ?? facts.directory;
  if (handler === DOWNLOAD_HANDLER) return stockDownload(action, facts, args);
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(handler)) input.wrong('handler', 'must be a plain file name');
  const planned = base(action, facts, 'none', []);
  return {
    ...planned,
    // A handler may have an `.undo.sh` beside it; the survey looks, and lowers the grade when there is none.
    grade: planned.grade === 'none' ? 'bestEffort' : planned.grade,
    type,
    handler,
    args,
    ...(directory !== undefined && { directory }),
    ...stderr,
  };
}

function stockDownload(action: Fields, facts: ActionFacts, args: readonly string[]): PlanStep | undefined {
  const [url = '', target = ''] = args;
  const at = `input.args`;
  if (!URL.canParse(url)) return action.wrong(at, 'the first must be a URL');
  const reason = pathProblem(target);
  if (reason !== undefined) return action.wrong(at, `the second ${reason}`);
  return {
    ...base(action, facts, 'full', [target]),
    type: 'downloadFile',
    url,
    urlHasQuery: hasQuery(url),
    target,
  };
}

function downloadFile(action: Fields, facts: ActionFacts): PlanStep {
  const input = action.object('input');
  const url = input.url('url');
  const target = input.filePath('path');
  const sha256 = input.sha256('sha256') ?? action.sha256('sha256');
  const sizeBytes = input.whole('sizeBytes', 0, SIZE_BYTES_MAX);
  const mode = input.mode('mode');
  return {
    ...base(action, facts, 'full', [target]),
    type: 'downloadFile',
    url,
    urlHasQuery: hasQuery(url),
    target,
    ...(sha256 !== undefined && { sha256 }),
    ...(sizeBytes !== undefined && { sizeBytes }),
    ...(mode !== undefined && { mode }),
  };
}

function hasQuery(url: string): boolean {
  return URL.canParse(url) && new URL(url).search !== '';
}

function writeFile(action: Fields, facts: ActionFacts): PlanStep {
  const input = action.object('input');
  const target = input.filePath('path');
  const mode = input.mode('mode');
  const encoded = input.text('contentBase64', CONTENT_CHARS_MAX);
  if (encoded !== undefined && !/^[A-Za-z0-9+/]*={0,2}$/.test(encoded))
    input.wrong('contentBase64', 'must be base64');
  // An empty file is a content too.
  const content = input.text('content', CONTENT_CHARS_MAX) ?? '';
  return {
    ...base(action, facts, 'full', [target]),
    type: 'writeFile',
    target,
    contentBase64: encoded ?? Buffer.from(content).toString('base64'),
    ...(mode !== undefined && { mode }),
  };
}

function check(action: Fields, facts: ActionFacts): PlanStep | undefined {
  const input = action.object('input');
  const what = checked(input);
  if (!what) return undefined;
  return {
    ...base(action, facts, 'full', []),
    type: 'check',
    idempotent: true,
    check: what,
    intervalSeconds: input.whole('intervalSeconds', 1, 3600) ?? CHECK_INTERVAL_SECONDS,
  };
}

function checked(input: Fields): (PlanStep & { type: 'check' })['check'] | undefined {
  if (input.raw('command') !== undefined) {
    const argv = input.command('command');
    return argv && { kind: 'command', argv };
  }
  if (input.raw('url') !== undefined) {
    return { kind: 'http', url: input.url('url'), status: input.whole('status', 100, 599) ?? 200 };
  }
  if (input.raw('path') !== undefined) {
    const sha256 = input.sha256('sha256') ?? input.wrong('sha256', 'is missing');
    return sha256 === undefined ? undefined : { kind: 'file', target: input.filePath('path'), sha256 };
  }
  return input.wrong('command', 'is missing: a check has a command, a url, or a path with sha256');
}
