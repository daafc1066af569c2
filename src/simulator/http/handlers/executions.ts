import { thingArn } from '../../service/arns.ts';
import type { Execution } from '../../service/types.ts';
import type { Handlers, HttpPlaneDeps } from '../deps.ts';
import { pageOf } from '../paging.ts';
import { checkDetails, page } from './shared.ts';

type ExecutionHandlers = Pick<
  Handlers,
  | 'DescribeJobExecution'
  | 'CancelJobExecution'
  | 'DeleteJobExecution'
  | 'ListJobExecutionsForJob'
  | 'ListJobExecutionsForThing'
>;

/** Executions as the control plane shows them: an ARN, nested details, no document (C23, C24). */
export function executionHandlers({ service, registry }: HttpPlaneDeps): ExecutionHandlers {
  const keyOf = ({ jobId, thing, executionNumber }: Execution): string =>
    `${jobId}/${thing}/${executionNumber}`;
  return {
    DescribeJobExecution: ({ thingName, jobId, executionNumber }) => {
      const one = service.execution(thingName, jobId, executionNumber);
      return { execution: described(one, service.secondsLeft(one)) };
    },
    // C11-C18
    CancelJobExecution: ({ thingName, jobId, force = false, ...request }) => {
      checkDetails(request.statusDetails);
      service.cancelExecution(thingName, jobId, { force, ...request });
      return undefined;
    },
    DeleteJobExecution: ({ thingName, jobId, executionNumber, force = false }) => {
      service.deleteExecution(thingName, jobId, executionNumber, force);
      return undefined;
    },
    ListJobExecutionsForJob: ({ jobId, status, ...paging }) => {
      service.job(jobId);
      const found = service.executions({ jobId, ...(status && { status }) });
      const { items, ...more } = pageOf(found, keyOf, page(paging), { jobId, status });
      const executionSummaries = items.map((one) => ({
        thingArn: thingArn(one.thing),
        jobExecutionSummary: summary(one),
      }));
      return { executionSummaries, ...more };
    },
    ListJobExecutionsForThing: ({ thingName, maxResults, nextToken, ...filter }) => {
      registry.thing(thingName);
      const found = service.executions({ thing: thingName, ...filter });
      const { items, ...more } = pageOf(found, keyOf, page({ maxResults, nextToken }), {
        thingName,
        ...filter,
      });
      const executionSummaries = items.map((one) => ({
        jobId: one.jobId,
        jobExecutionSummary: summary(one),
      }));
      return { executionSummaries, ...more };
    },
  };
}

function described(one: Execution, secondsLeft: number | undefined): object {
  const { jobId, status, forceCanceled, statusDetails, queuedAt, startedAt, lastUpdatedAt } = one;
  return {
    jobId,
    status,
    ...(forceCanceled !== undefined && { forceCanceled }),
    statusDetails: Object.keys(statusDetails).length > 0 ? { detailsMap: statusDetails } : {},
    thingArn: thingArn(one.thing),
    queuedAt,
    ...(startedAt !== undefined && { startedAt }),
    lastUpdatedAt,
    executionNumber: one.executionNumber,
    versionNumber: one.versionNumber,
    ...(secondsLeft !== undefined && { approximateSecondsBeforeTimedOut: secondsLeft }),
  };
}

function summary({
  status,
  queuedAt,
  startedAt,
  lastUpdatedAt,
  executionNumber,
  retryAttempt,
}: Execution): object {
  return {
    status,
    queuedAt,
    ...(startedAt !== undefined && { startedAt }),
    lastUpdatedAt,
    executionNumber,
    retryAttempt,
  };
}
