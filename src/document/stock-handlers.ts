import { posix } from 'node:path';
import { type Action, base, download, packageBase, rebootStep, shutdownStep, unitsStep } from './action.ts';
import { type Fields, pathProblem } from './fields.ts';
import { CHECK_INTERVAL_SECONDS, INPUTS } from './inputs.ts';
import type { CheckStep, PlanStep } from './plan.ts';

/**
 * The handlers of AWS IoT Device Client, and so of AWS' managed templates, that are built-in steps here. Where a site
 * has changed one of them, its own runs instead (`steps/site-handlers.ts`).
 */

type Reader = (action: Action, args: readonly string[], at: Fields) => PlanStep | undefined;

const STOCK_HANDLERS: ReadonlyMap<string, Reader> = new Map<string, Reader>([
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
  ...(['start', 'stop', 'restart'] as const).map((verb): [string, Reader] => [
    `${verb}-services.sh`,
    (action, args, at) => {
      const services = stockWords(INPUTS.startServices.services, args, at);
      return services && unitsStep(`${verb}Services`, action, { services, healthSeconds: undefined });
    },
  ]),
  ['verify-packages-installed.sh', (action, args, at) => verifyPackages(action, args, at, true)],
  ['verify-packages-removed.sh', (action, args, at) => verifyPackages(action, args, at, false)],
  ['health-check.sh', (action) => looksOnce(action, { kind: 'says', text: '' })],
  // No script but the program; the name of the user, which Device Client has it say first, is left out.
  ['echo', (action, args) => looksOnce(action, { kind: 'says', text: `${args.join(' ')}\n` })],
  ['reboot.sh', rebootStep],
  ['shutdown.sh', shutdownStep],
]);

/** `undefined` where the handler is none of the stock ones; without a step where its arguments are wrong. */
export function readStock(
  action: Action & { stock: NonNullable<Action['stock']> },
  at: Fields,
): { step: PlanStep | undefined } | undefined {
  const read = STOCK_HANDLERS.get(action.stock.handler);
  return read && { step: read(action, action.stock.args, at) };
}

/** A template has all words in one argument, a sample document has one in each. */
function stockWords(
  { read }: { read(fields: Fields, name: string): string[] },
  args: readonly string[],
  at: Fields,
): string[] | undefined {
  return args.length === 0 ? at.wrong('args', 'is missing: it names what to work on') : read(at, 'args');
}

/** Into a directory, where its path says that it is one: by the name in the URL, as wget does, but without a query. */
function stockDownload(action: Action, args: readonly string[], at: Fields): PlanStep | undefined {
  const [from = '', to = ''] = args;
  if (!URL.canParse(from) || !['http:', 'https:'].includes(new URL(from).protocol))
    return at.wrong('args', 'the first must be an https URL');
  const target = to.endsWith('/') ? posix.join(to, nameIn(from)) : to;
  const reason = pathProblem(target);
  if (reason !== undefined) return at.wrong('args', `the second ${reason}`);
  const { sha256 } = action.said;
  return { ...download(action, from, target), ...(sha256 !== undefined && { sha256 }) };
}

/** What wget would call the file (man 1 wget); a query may hold a signature. */
export function nameIn(url: string): string {
  const name = decoded(posix.basename(new URL(url).pathname));
  return name === '' || name === '.' || name === '..' || name.includes('/') ? 'index.html' : name;
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

function verifyPackages(
  action: Action,
  args: readonly string[],
  at: Fields,
  installed: boolean,
): PlanStep | undefined {
  const words = stockWords(INPUTS.removePackages.packages, args, at);
  return words && looksOnce(action, { kind: 'packages', packages: words, installed });
}

/** The scripts look once, and so does this unless the document gives it time. */
function looksOnce(action: Action, check: CheckStep['check']): CheckStep {
  return {
    ...base(action, 'full', []),
    type: 'check',
    idempotent: true,
    check,
    timeoutSeconds: action.said.timeoutSeconds ?? 1,
    intervalSeconds: CHECK_INTERVAL_SECONDS,
  };
}
