import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { checkOrder } from '../document/document.ts';
import { Fields, type Problem } from '../document/fields.ts';
import { ACTION } from '../document/inputs.ts';
import { readShape, type Shape, type Values } from '../document/members.ts';
import {
  type Plan,
  type PlanStep,
  type RunHandlerStep,
  type StockHandler,
  worseGrade,
} from '../document/plan.ts';
import { nameIn } from '../document/stock-handlers.ts';
import { readFileBounded } from '../store/atomic-file.ts';
import { findHandler, manifestName, SCRIPT_BYTES_MAX } from './handler-file.ts';
import type { StepContext } from './step.ts';
import { STOCK_HASHES, type StockHashes } from './stock-hashes.ts';

/**
 * What the site has said of its handlers: a stock script that it has changed does the step's work instead of the
 * built-in one, and a manifest beside a handler declares what it touches. Both are settled before policy and survey.
 */

/** `install.manifest.json` beside `install.sh`. What the document says itself comes first. */
const MANIFEST = {
  snapshotPaths: ACTION.snapshotPaths,
  undo: ACTION.undo,
  idempotent: ACTION.idempotent,
  timeoutSeconds: ACTION.timeoutSeconds,
} satisfies Shape;

type Manifest = Values<typeof MANIFEST>;
type SiteContext = Pick<StepContext, 'disk' | 'settings'>;

/** The plan as this device's handlers make it, and what is wrong with them. Reads only. */
export async function withSiteHandlers(
  plan: Plan,
  context: SiteContext,
  shipped: StockHashes = STOCK_HASHES,
): Promise<{ plan: Plan; problems: readonly Problem[] }> {
  const problems: Problem[] = [];
  const steps: PlanStep[] = [];
  for (const step of plan.steps) {
    const own = step.stock ? await changedByTheSite(step, step.stock, context, shipped) : step;
    const script = own.type === 'runHandler' ? own : own.wrapped && own.stock;
    const manifest = script ? await manifestOf(own, script, context, problems) : undefined;
    steps.push(manifest ? declaredBy(own, manifest) : own);
  }
  checkOrder(steps, problems);
  return {
    plan: { ...plan, steps, grade: steps.map(({ grade }) => grade).reduce(worseGrade, 'full') },
    problems,
  };
}

async function changedByTheSite(
  step: PlanStep,
  stock: StockHandler,
  context: SiteContext,
  shipped: StockHashes,
): Promise<PlanStep> {
  const path = join(stock.directory ?? context.settings.handlerDirectory, stock.handler);
  // It may be a link; whether that leads where it may is judged when the script is to be run.
  const real = await realpath(path).catch(() => path);
  const script = await readFileBounded(context.disk, real, SCRIPT_BYTES_MAX).catch(() => null);
  if (script === undefined) return await intoDirectory(step, context);
  const hash = script && createHash('sha256').update(script).digest('hex');
  if (hash !== null && shipped[stock.handler]?.includes(hash)) return await intoDirectory(step, context);
  // What a look is for the stock script may be anything in the site's own.
  if (step.type === 'check') return handlerStep(step, stock);
  const grade = worseGrade(step.grade, 'bestEffort');
  const idempotent = step.endsBoot === true || step.finishEndsBoot === true;
  return { ...(await intoDirectory(step, context)), wrapped: true, grade, idempotent };
}

/** As wget does it: a file goes into a directory that is there, by the name in its URL. */
async function intoDirectory(step: PlanStep, { disk }: SiteContext): Promise<PlanStep> {
  if (step.type !== 'downloadFile' || (await disk.lstat(step.target))?.kind !== 'directory') return step;
  const target = join(step.target, nameIn(step.url));
  const touches = step.touches.map((id) => (id === `path:${step.target}` ? `path:${target}` : id));
  return { ...step, target, touches };
}

function handlerStep(step: PlanStep & { type: 'check' }, stock: StockHandler): RunHandlerStep {
  const { check: _, intervalSeconds: __, stock: ___, ...base } = step;
  return { ...base, type: 'runHandler', ...stock, idempotent: false, grade: 'bestEffort' };
}

async function manifestOf(
  step: PlanStep,
  { directory, handler }: StockHandler,
  { disk, settings }: SiteContext,
  problems: Problem[],
): Promise<Manifest | undefined> {
  const name = manifestName(handler);
  const found = await findHandler(disk, directory ?? settings.handlerDirectory, name, { isRun: false });
  if (found.kind === 'missing') return undefined;
  const wrong = (reason: string): undefined => {
    problems.push({ path: step.path, reason });
  };
  if (found.kind === 'refused') return wrong(found.reason);
  try {
    const bytes = await readFileBounded(disk, found.path, SCRIPT_BYTES_MAX);
    const said: unknown = JSON.parse(Buffer.from(bytes ?? []).toString());
    const faults: Problem[] = [];
    const manifest = readShape(new Fields(said, '', faults), MANIFEST);
    // A key that is misspelt would be an undo that is not there.
    for (const key of Object.keys(said as object))
      if (!Object.hasOwn(MANIFEST, key)) faults.push({ path: key, reason: 'is not known' });
    if (step.wrapped && manifest.undo)
      faults.push({ path: 'undo', reason: 'is not for a handler whose undo is built in' });
    const words = faults.map(({ path, reason }) => `${path} ${reason}`.trim()).join('; ');
    return faults.length > 0 ? wrong(`${found.path}: ${words}`) : manifest;
  } catch (error) {
    return wrong(`cannot read ${found.path}: ${(error as Error).message}`);
  }
}

function declaredBy(step: PlanStep, manifest: Manifest): PlanStep {
  const paths = manifest.snapshotPaths.filter((path) => !step.touches.includes(`path:${path}`));
  const undo = step.undo ?? manifest.undo;
  const touches = [...step.touches, ...paths.map((path) => `path:${path}`)];
  return {
    ...step,
    touches,
    ...(undo && { undo }),
    idempotent: step.idempotent || manifest.idempotent,
    timeoutSeconds: manifest.timeoutSeconds ?? step.timeoutSeconds,
    manifest: { paths, undo: step.undo === undefined && manifest.undo !== undefined },
    grade: step.type === 'runHandler' && touches.length > 0 ? 'full' : step.grade,
  };
}
