import { JobsRequests } from '../../device/jobs-requests.ts';
import { Refusal } from '../../service/types.ts';
import type { Handlers, HttpPlaneDeps } from '../deps.ts';

type JobsDataHandlers = Pick<
  Handlers,
  | 'GetPendingJobExecutions'
  | 'StartNextPendingJobExecution'
  | 'DescribeJobExecution (device)'
  | 'UpdateJobExecution'
  | 'StartCommandExecution'
>;

/** The device's side over HTTPS: the requests of MQTT, with the document as text, no timestamp and no token (D2). */
export function jobsDataHandlers({ service }: HttpPlaneDeps): JobsDataHandlers {
  const requests = new JobsRequests(service, 'text');
  const known = (thing: string): string => {
    if (!service.hasThing(thing)) throw new Refusal('ResourceNotFound', `Thing ${thing} cannot be found.`);
    return thing;
  };
  return {
    GetPendingJobExecutions: ({ thingName }) => requests.getPending(known(thingName)),
    StartNextPendingJobExecution: ({ thingName, ...body }) => requests.startNext(known(thingName), body),
    'DescribeJobExecution (device)': ({ thingName, jobId, ...body }) =>
      requests.describe(known(thingName), jobId, body),
    UpdateJobExecution: ({ thingName, jobId, ...body }) => requests.update(known(thingName), jobId, body),
    StartCommandExecution: () => {
      throw new Refusal('Validation', 'Commands are not simulated: only jobs are.');
    },
  };
}
