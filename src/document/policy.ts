import { type Grade, namesOf, type Plan, type PlanStep } from './plan.ts';

/** What this device lets a job do, whoever sends it. */
export interface Policy {
  /** Jobs whose undo is worth less are REJECTED. */
  minGrade: Grade;
  allowHttp: boolean;
  /** Downloads must carry their sha256. */
  requireSha256: boolean;
  /** Paths that steps may touch, with all below them; empty: any. */
  allowedPaths: readonly string[];
  /** Nothing in them, and nothing that they are in. */
  deniedPaths: readonly string[];
  /** Users that steps may run as, besides the agent's own; empty: any. */
  allowedUsers: readonly string[];
  /** Types of steps; empty: any. */
  allowedSteps: readonly string[];
  /** Handlers, which then come from the configured directory alone; empty: any. */
  allowedHandlers: readonly string[];
  /** Programs of commands, of undos and of checks, as documents write them; empty: any. */
  allowedCommands: readonly string[];
  /** Hosts of downloads and checks, `*.example.com` for all below one; empty: any. */
  allowedHosts: readonly string[];
}

export interface BrokenRule {
  /** In the document, such as `steps[2].action.input.path`. */
  path: string;
  rule: string;
}

/** Everything in the plan that the policy forbids, with its place and the rule. */
export function policyProblems(plan: Plan, policy: Policy): BrokenRule[] {
  return plan.steps.flatMap((step) => [
    ...stepRules(step, policy),
    ...urlRules(step, policy),
    ...pathRules(step, policy),
    ...programRules(step, policy),
  ]);
}

function stepRules(step: PlanStep, { allowedSteps, allowedUsers }: Policy): BrokenRule[] {
  return [
    ...notAmong(allowedSteps, [step.type], 'allowedSteps', placeIn(step, step.stock ? HANDLER : 'type')),
    ...notAmong(allowedUsers, [step.runAsUser], 'allowedUsers', placeIn(step, 'runAsUser')),
  ];
}

const HANDLER = 'input.handler';

/** A member of the step's action by its place in the document; the form before 1.0 has no `input`. */
function placeIn({ path }: PlanStep, member: string): string {
  if (path !== 'operation') return `${path}.${member}`;
  return member === HANDLER || member === 'type' ? 'operation' : member.replace(/^input\./, '');
}

/** Where a member of `input` stands when the step is said by a handler's arguments. */
function inputOf(step: PlanStep, member: string): string {
  return placeIn(step, step.stock ? 'input.args' : `input.${member}`);
}

function urlRules(step: PlanStep, policy: Policy): BrokenRule[] {
  const broken: BrokenRule[] = [];
  const fetches = 'urlHasQuery' in step;
  const url = fetches ? step.url : urlOfCheck(step);
  const path = inputOf(step, 'url');
  if (url?.startsWith('http:') && !policy.allowHttp)
    broken.push({ path, rule: 'policy.allowHttp: the url must be https' });
  if (fetches && step.sha256 === undefined && policy.requireSha256)
    broken.push({
      path: placeIn(step, step.stock ? 'sha256' : 'input.sha256'),
      rule: 'policy.requireSha256: the download names no sha256',
    });
  if (url !== undefined && !hostAllowed(url, policy.allowedHosts))
    broken.push({ path, rule: `policy.allowedHosts does not allow ${new URL(url).hostname}` });
  return broken;
}

/** Also asked of where a download was redirected to. */
export function hostAllowed(url: string, allowed: readonly string[]): boolean {
  const host = URL.canParse(url) ? new URL(url).hostname : '';
  const matches = (pattern: string): boolean =>
    pattern.startsWith('*.')
      ? host.endsWith(pattern.slice(1)) && host !== pattern.slice(2)
      : host === pattern;
  return allowed.length === 0 || allowed.some(matches);
}

function pathRules(step: PlanStep, { allowedPaths, deniedPaths }: Policy): BrokenRule[] {
  return namesOf('path', step.touches).flatMap((touched) => {
    // Our own, which no document names.
    if (step.type === 'rotateCertificate' && touched === step.link) return [];
    const path = placeOf(step, touched);
    const denied = deniedPaths.find((root) => within(touched, root) || within(root, touched));
    if (denied !== undefined) return [{ path, rule: `policy.deniedPaths forbids ${touched} (${denied})` }];
    const allowed = allowedPaths.length === 0 || allowedPaths.some((root) => within(touched, root));
    return allowed ? [] : [{ path, rule: `policy.allowedPaths does not allow ${touched}` }];
  });
}

/** Where the document names a path that the step touches. */
function placeOf(step: PlanStep, touched: string): string {
  if ('link' in step && step.link === touched) return inputOf(step, 'link');
  if ('target' in step && step.target === touched) return inputOf(step, 'path');
  if (step.type === 'runCommand' && step.byRule) return placeIn(step, 'input.command');
  return placeIn(step, step.manifest?.paths.includes(touched) ? HANDLER : 'snapshotPaths');
}

function programRules(step: PlanStep, { allowedCommands, allowedHandlers }: Policy): BrokenRule[] {
  const command = step.type === 'runCommand' ? step.argv[0] : commandOfCheck(step);
  // The undo that a manifest names is the site's own word, like the handler that it is beside.
  const undo = step.manifest?.undo ? undefined : step.undo?.[0];
  const broken = [
    ...notAmong(allowedCommands, [command], 'allowedCommands', placeIn(step, 'input.command')),
    ...notAmong(allowedCommands, [undo], 'allowedCommands', placeIn(step, 'undo')),
  ];
  const script = step.type === 'runHandler' ? step : step.wrapped && step.stock;
  if (!script) return broken;
  broken.push(...notAmong(allowedHandlers, [script.handler], 'allowedHandlers', placeIn(step, HANDLER)));
  if (allowedHandlers.length > 0 && script.directory !== undefined) {
    const rule = `policy.allowedHandlers allows none of another directory, such as ${script.directory}`;
    broken.push({ path: placeIn(step, 'input.path'), rule });
  }
  return broken;
}

function notAmong(
  allowed: readonly string[],
  values: readonly (string | undefined)[],
  rule: keyof Policy,
  path: string,
): BrokenRule[] {
  if (allowed.length === 0) return [];
  return values
    .filter((value) => value !== undefined && !allowed.includes(value))
    .map((value) => ({ path, rule: `policy.${rule} does not allow ${value}` }));
}

function urlOfCheck(step: PlanStep): string | undefined {
  return step.type === 'check' && step.check.kind === 'http' ? step.check.url : undefined;
}

function commandOfCheck(step: PlanStep): string | undefined {
  return step.type === 'check' && step.check.kind === 'command' ? step.check.argv[0] : undefined;
}

function within(path: string, root: string): boolean {
  return path === root || path.startsWith(root.endsWith('/') ? root : `${root}/`);
}
