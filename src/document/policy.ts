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
  deniedPaths: readonly string[];
  /** Users that steps may run as, besides the agent's own; empty: any. */
  allowedUsers: readonly string[];
}

/** Everything in the plan that the policy forbids, with its place and the rule. */
export function policyProblems(plan: Plan, policy: Policy): { path: string; rule: string }[] {
  return plan.steps.flatMap((step) => rulesBroken(step, policy).map((rule) => ({ path: step.path, rule })));
}

function rulesBroken(step: PlanStep, policy: Policy): string[] {
  const broken: string[] = [];
  const url = 'urlHasQuery' in step ? step.url : urlOfCheck(step);
  if (url?.startsWith('http:') && !policy.allowHttp) broken.push('policy.allowHttp: the url must be https');
  if ('urlHasQuery' in step && step.sha256 === undefined && policy.requireSha256) {
    broken.push('policy.requireSha256: the download names no sha256');
  }
  for (const path of namesOf('path', step.touches)) {
    if (policy.deniedPaths.some((root) => within(path, root))) broken.push(`policy.deniedPaths: ${path}`);
    if (policy.allowedPaths.length > 0 && !policy.allowedPaths.some((root) => within(path, root))) {
      broken.push(`policy.allowedPaths: ${path} is not among them`);
    }
  }
  const user = step.runAsUser;
  if (user !== undefined && policy.allowedUsers.length > 0 && !policy.allowedUsers.includes(user)) {
    broken.push(`policy.allowedUsers: ${user} is not among them`);
  }
  return broken;
}

function urlOfCheck(step: PlanStep): string | undefined {
  return step.type === 'check' && step.check.kind === 'http' ? step.check.url : undefined;
}

function within(path: string, root: string): boolean {
  return path === root || path.startsWith(root.endsWith('/') ? root : `${root}/`);
}
