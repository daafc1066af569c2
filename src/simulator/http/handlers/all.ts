import type { Handlers, HttpPlaneDeps } from '../deps.ts';
import { accountHandlers } from './account.ts';
import { executionHandlers } from './executions.ts';
import { iotDataHandlers } from './iot-data.ts';
import { jobHandlers } from './jobs.ts';
import { jobsDataHandlers } from './jobs-data.ts';
import { templateHandlers } from './templates.ts';
import { groupHandlers, thingHandlers } from './things.ts';

/** One handler for each row of the table; the compiler misses none. */
export function handlersOf(deps: HttpPlaneDeps): Handlers {
  return {
    ...jobHandlers(deps),
    ...executionHandlers(deps),
    ...templateHandlers(deps),
    ...thingHandlers(deps),
    ...groupHandlers(deps),
    ...accountHandlers(deps),
    ...jobsDataHandlers(deps),
    ...iotDataHandlers(deps),
  };
}
