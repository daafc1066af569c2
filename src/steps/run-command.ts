import type { RunCommandStep } from '../document/plan.ts';
import { outgrown } from './apply-rules.ts';
import { runProgram, undoProgram } from './command.ts';
import { discardPaths, preparePaths, surveyPaths } from './paths.ts';
import { settleManager } from './settle-manager.ts';
import type { StepType } from './step.ts';

/** A program with its arguments, never through a shell. */
export const runCommand: StepType<RunCommandStep> = {
  async survey(step, context) {
    const survey = await surveyPaths(step, context);
    const notes = [...(survey.notes ?? [])];
    if (step.byRule) notes.push('its paths come from the rule for this command');
    if (step.byRule?.besides !== undefined) notes.push(`not undone: ${step.byRule.besides}`);
    return { ...survey, notes };
  },
  async prepare(step, context) {
    const reason = await outgrown(step, context.disk);
    return reason === undefined ? await preparePaths(step, context) : { ok: false, reason };
  },
  do: (step, before, attempt, context, signal) =>
    runProgram(step, { argv: step.argv, user: step.runAsUser }, before, attempt, context, signal),
  undo(step, before, after, attempt, context, signal) {
    const program = step.undo && { argv: step.undo, user: step.runAsUser };
    return undoProgram(step, program, before, after, attempt, context, signal);
  },
  settle: settleManager,
  discard: discardPaths,
};
