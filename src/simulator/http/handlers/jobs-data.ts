import { summaryOf } from '../../service/jobs-service.ts';
import { type Execution, Refusal, type Status, TERMINAL } from '../../service/types.ts';
import type { Handlers, HttpPlaneDeps } from '../deps.ts';
import { checkDetails } from './shared.ts';

type JobsDataHandlers = Pick<
  Handlers,
  | 'GetPendingJobExecutions'
  | 'StartNextPendingJobExecution'
  | 'DescribeJobExecution (device)'
  | 'UpdateJobExecution'
  | 'StartCommandExecution'
>;

/** S22 */
const STEP_MINUTES_MAX = 10_080;

/** The device's side over HTTPS: whole seconds, the document as text, no timestamp and no client token (D2). */
export function jobsDataHandlers({ service }: HttpPlaneDeps): JobsDataHandlers {
  const described = (one: Execution, withDocument: boolean): object => {
    const left = service.secondsLeft(one);
    return {
      ...summaryOf(one),
      thingName: one.thing,
      status: one.status,
      ...(Object.keys(one.statusDetails).length > 0 && { statusDetails: one.statusDetails }),
      ...(left !== undefined && { approximateSecondsBeforeTimedOut: left }),
      ...(withDocument && { jobDocument: service.documentOf(one) }),
    };
  };
  const checkThing = (thing: string): void => {
    if (!service.hasThing(thing)) throw new Refusal('ResourceNotFound', `Thing ${thing} cannot be found.`);
  };
  return {
    GetPendingJobExecutions: ({ thingName }) => {
      checkThing(thingName);
      const listed = service.listedPending(thingName);
      const under = (status: Status): object[] =>
        listed.filter((one) => one.status === status).map(summaryOf);
      return { inProgressJobs: under('IN_PROGRESS'), queuedJobs: under('QUEUED') };
    },
    StartNextPendingJobExecution: ({ thingName, ...update }) => {
      checkThing(thingName);
      checkDetails(update.statusDetails);
      checkStepMinutes(update.stepTimeoutInMinutes);
      const started = service.startNext(thingName, update);
      return started ? { execution: described(started, true) } : {};
    },
    'DescribeJobExecution (device)': ({ thingName, jobId, includeJobDocument = true, executionNumber }) => {
      checkThing(thingName);
      if (jobId === '$next') {
        const front = service.front(thingName);
        return front ? { execution: described(front, includeJobDocument) } : {};
      }
      const one = service.execution(thingName, jobId, executionNumber);
      // P19
      if (TERMINAL.includes(one.status))
        throw new Refusal(
          'TerminalStateReached',
          `Job execution is already in terminal state ${one.status}.`,
        );
      return { execution: described(one, includeJobDocument) };
    },
    UpdateJobExecution: (input) => {
      const { thingName, jobId, includeJobExecutionState, includeJobDocument, ...update } = input;
      checkThing(thingName);
      checkDetails(update.statusDetails);
      checkStepMinutes(update.stepTimeoutInMinutes);
      const one = service.update(thingName, jobId, update);
      return {
        ...(includeJobExecutionState === true && { executionState: stateOf(one) }),
        ...(includeJobDocument === true && { jobDocument: service.documentOf(one) }),
      };
    },
    StartCommandExecution: () => {
      throw new Refusal('Validation', 'Commands are not simulated: only jobs are.');
    },
  };
}

function stateOf({ status, statusDetails, versionNumber }: Execution): object {
  return { status, ...(Object.keys(statusDetails).length > 0 && { statusDetails }), versionNumber };
}

/** P25 */
function checkStepMinutes(minutes: number | undefined): void {
  if (minutes === undefined || minutes === -1 || (minutes >= 1 && minutes <= STEP_MINUTES_MAX)) return;
  throw new Refusal('InvalidRequest', `stepTimeoutInMinutes must be -1, or 1 to ${STEP_MINUTES_MAX}`);
}
