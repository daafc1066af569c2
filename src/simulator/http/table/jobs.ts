import * as m from '../members.ts';
import { JOB_ERRORS, operation } from '../operation.ts';

/** Jobs and their executions in the control plane (sections 4.2-4.5). */

const job = { jobId: m.jobId };
const execution = { thingName: m.thingName, jobId: m.jobId };
const namespace = m.optional({ namespaceId: m.namespaceId });

export const jobOperations = {
  CreateJob: operation('iot', 'PUT /jobs/{jobId}', {
    uri: job,
    body: {
      targets: m.targets,
      ...m.jobConfigs,
      ...m.optional({
        documentSource: m.documentSource,
        document: m.document,
        description: m.description,
        targetSelection: m.targetSelection,
        tags: m.tags,
        namespaceId: m.namespaceId,
        jobTemplateArn: m.longArn,
        documentParameters: m.documentParameters,
        schedulingConfig: m.schedulingConfig,
        destinationPackageVersions: m.destinationPackageVersions,
      }),
    },
    errors: [...JOB_ERRORS, 'ResourceAlreadyExistsException', 'LimitExceededException'],
  }),
  DescribeJob: operation('iot', 'GET /jobs/{jobId}', {
    uri: job,
    query: m.optional({ beforeSubstitution: m.flag }),
    errors: JOB_ERRORS,
  }),
  UpdateJob: operation('iot', 'PATCH /jobs/{jobId}', {
    uri: job,
    query: namespace,
    body: { ...m.jobConfigs, ...m.optional({ description: m.description }) },
    errors: JOB_ERRORS,
  }),
  CancelJob: operation('iot', 'PUT /jobs/{jobId}/cancel', {
    uri: job,
    query: m.optional({ force: m.flag }),
    body: m.optional({
      reasonCode: m.text({ max: 128, pattern: '[\\p{Lu}\\p{Nd}_]+' }),
      comment: m.comment,
    }),
    errors: [...JOB_ERRORS, 'LimitExceededException'],
  }),
  DeleteJob: operation('iot', 'DELETE /jobs/{jobId}', {
    uri: job,
    query: { ...m.optional({ force: m.flag }), ...namespace },
    errors: [...JOB_ERRORS, 'InvalidStateTransitionException', 'LimitExceededException'],
  }),
  ListJobs: operation('iot', 'GET /jobs', {
    query: {
      ...m.paged,
      ...namespace,
      ...m.optional({
        status: m.jobStatus,
        targetSelection: m.targetSelection,
        thingGroupName: m.groupName,
        thingGroupId: m.text({ min: 1, max: 128, pattern: '[a-zA-Z0-9\\-]+' }),
      }),
    },
    errors: JOB_ERRORS,
  }),
  GetJobDocument: operation('iot', 'GET /jobs/{jobId}/job-document', {
    uri: job,
    query: m.optional({ beforeSubstitution: m.flag }),
    errors: JOB_ERRORS,
  }),
  AssociateTargetsWithJob: operation('iot', 'POST /jobs/{jobId}/targets', {
    uri: job,
    query: namespace,
    body: { targets: m.targets, ...m.optional({ comment: m.comment }) },
    errors: [...JOB_ERRORS, 'LimitExceededException'],
  }),
  DescribeJobExecution: operation('iot', 'GET /things/{thingName}/jobs/{jobId}', {
    uri: execution,
    query: m.optional({ executionNumber: m.executionNumber }),
    errors: JOB_ERRORS,
  }),
  // C11: `force` is a query parameter.
  CancelJobExecution: operation('iot', 'PUT /things/{thingName}/jobs/{jobId}/cancel', {
    uri: execution,
    query: m.optional({ force: m.flag }),
    body: m.optional({ expectedVersion: m.whole(), statusDetails: m.statusDetails }),
    errors: [...JOB_ERRORS, 'InvalidStateTransitionException', 'VersionConflictException'],
  }),
  DeleteJobExecution: operation(
    'iot',
    'DELETE /things/{thingName}/jobs/{jobId}/executionNumber/{executionNumber}',
    {
      uri: { ...execution, executionNumber: m.executionNumber },
      query: { ...m.optional({ force: m.flag }), ...namespace },
      errors: [...JOB_ERRORS, 'InvalidStateTransitionException'],
    },
  ),
  ListJobExecutionsForJob: operation('iot', 'GET /jobs/{jobId}/things', {
    uri: job,
    query: { ...m.paged, ...m.optional({ status: m.executionStatus }) },
    errors: JOB_ERRORS,
  }),
  ListJobExecutionsForThing: operation('iot', 'GET /things/{thingName}/jobs', {
    uri: { thingName: m.thingName },
    query: { ...m.paged, ...namespace, ...m.optional({ status: m.executionStatus, jobId: m.jobId }) },
    errors: JOB_ERRORS,
  }),
};
