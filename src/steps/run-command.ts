import type { RunCommandStep } from '../document/plan.ts';
import { runProgram, undoProgram, userProblems } from './command.ts';
import { discardPaths, preparePaths, surveyPaths } from './paths.ts';
import type { StepType } from './step.ts';

/** A program with its arguments, never through a shell. */
export const runCommand: StepType<RunCommandStep> = {
  async survey(step, context) {
    const survey = await surveyPaths(step, context);
    return { ...survey, problems: [...survey.problems, ...(await userProblems(step))] };
  },
  prepare: preparePaths,
  do: (step, before, attempt, context, signal) =>
    runProgram(step, step.argv, before, attempt, context, signal),
  undo: (step, before, after, attempt, context, signal) =>
    undoProgram(step, step.undo, before, after, attempt, context, signal),
  discard: (_step, before, context) => discardPaths(before, context),
};
