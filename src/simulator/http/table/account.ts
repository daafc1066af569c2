import { z } from 'zod';
import { EVENT_TYPES } from '../../service/events.ts';
import * as m from '../members.ts';
import { COMMON, operation } from '../operation.ts';

/** What belongs to the account as a whole: endpoints, events, tags. */

const ERRORS = [...COMMON, 'InternalFailureException'] as const;
const FOUND = [...ERRORS, 'ResourceNotFoundException'] as const;

export const accountOperations = {
  DescribeEndpoint: operation('iot', 'GET /endpoint', {
    query: m.optional({ endpointType: m.text({ max: 128 }) }),
    errors: [...ERRORS, 'UnauthorizedException'],
  }),
  DescribeEventConfigurations: operation('iot', 'GET /event-configurations', {
    errors: ['InternalFailureException', 'ThrottlingException'],
  }),
  UpdateEventConfigurations: operation('iot', 'PATCH /event-configurations', {
    body: m.optional({
      eventConfigurations: z.partialRecord(z.enum(EVENT_TYPES), z.object(m.optional({ Enabled: m.flag }))),
    }),
    errors: ERRORS,
  }),
  TagResource: operation('iot', 'POST /tags', {
    body: { resourceArn: m.text(), tags: m.tags },
    errors: [...FOUND, 'LimitExceededException'],
  }),
  UntagResource: operation('iot', 'POST /untag', {
    body: { resourceArn: m.text(), tagKeys: z.array(m.tagKey) },
    errors: FOUND,
  }),
  ListTagsForResource: operation('iot', 'GET /tags', {
    query: { resourceArn: m.text(), ...m.optional({ nextToken: m.nextToken }) },
    errors: FOUND,
  }),
};
