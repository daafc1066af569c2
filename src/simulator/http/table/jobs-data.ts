import { z } from 'zod';
import * as m from '../members.ts';
import { COMMON, operation } from '../operation.ts';

/** What a device may ask over HTTPS instead of MQTT (section 4.7). */

const ERRORS = [
  ...COMMON,
  'ResourceNotFoundException',
  'ServiceUnavailableException',
  'CertificateValidationException',
] as const;
const thing = { thingName: m.thingName };

export const jobsDataOperations = {
  GetPendingJobExecutions: operation('iot-jobs-data', 'GET /things/{thingName}/jobs', {
    uri: thing,
    errors: ERRORS,
  }),
  StartNextPendingJobExecution: operation('iot-jobs-data', 'PUT /things/{thingName}/jobs/$next', {
    uri: thing,
    body: m.optional({ statusDetails: m.statusDetails, stepTimeoutInMinutes: m.whole() }),
    errors: ERRORS,
  }),
  'DescribeJobExecution (device)': operation('iot-jobs-data', 'GET /things/{thingName}/jobs/{jobId}', {
    uri: { ...thing, jobId: m.text({ pattern: '[a-zA-Z0-9_-]+|^\\$next' }) },
    query: m.optional({ includeJobDocument: m.flag, executionNumber: m.executionNumber }),
    errors: [...ERRORS, 'TerminalStateException'],
  }),
  UpdateJobExecution: operation('iot-jobs-data', 'POST /things/{thingName}/jobs/{jobId}', {
    uri: { ...thing, jobId: m.jobId },
    body: {
      status: m.executionStatus,
      ...m.optional({
        statusDetails: m.statusDetails,
        stepTimeoutInMinutes: m.whole(),
        expectedVersion: m.whole(),
        includeJobExecutionState: m.flag,
        includeJobDocument: m.flag,
        executionNumber: m.executionNumber,
      }),
    },
    errors: [...ERRORS, 'InvalidStateTransitionException'],
  }),
  StartCommandExecution: operation('iot-jobs-data', 'POST /command-executions', {
    body: {
      targetArn: m.arn,
      commandArn: m.text(),
      ...m.optional({
        parameters: z.record(m.text({ min: 1, max: 192, pattern: '[.$a-zA-Z0-9_-]+' }), z.object({})),
        executionTimeoutSeconds: m.whole(1),
        clientToken: m.text({ min: 1, max: 64, pattern: '[\\x21-\\x7E]+' }),
      }),
    },
    errors: [
      'ValidationException',
      'ResourceNotFoundException',
      'ConflictException',
      'ThrottlingException',
      'ServiceQuotaExceededException',
      'InternalServerException',
    ],
  }),
};
