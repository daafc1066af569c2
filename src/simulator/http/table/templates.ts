import * as m from '../members.ts';
import { COMMON, operation } from '../operation.ts';

/** Job templates, an account's own and those that AWS manages. */

const ERRORS = [...COMMON, 'InternalFailureException'] as const;
const MANAGED = [...COMMON, 'ResourceNotFoundException', 'InternalServerException'] as const;
const template = { jobTemplateId: m.jobId };
const templateName = m.text({ min: 1, max: 64 });

export const templateOperations = {
  CreateJobTemplate: operation('iot', 'PUT /job-templates/{jobTemplateId}', {
    uri: template,
    body: {
      description: m.description,
      ...m.jobConfigs,
      ...m.optional({
        jobArn: m.text(),
        documentSource: m.documentSource,
        document: m.document,
        tags: m.tags,
        maintenanceWindows: m.maintenanceWindows,
        destinationPackageVersions: m.destinationPackageVersions,
      }),
    },
    errors: [...ERRORS, 'ResourceNotFoundException', 'ConflictException', 'LimitExceededException'],
  }),
  DescribeJobTemplate: operation('iot', 'GET /job-templates/{jobTemplateId}', {
    uri: template,
    errors: [...ERRORS, 'ResourceNotFoundException'],
  }),
  ListJobTemplates: operation('iot', 'GET /job-templates', { query: m.paged, errors: ERRORS }),
  DeleteJobTemplate: operation('iot', 'DELETE /job-templates/{jobTemplateId}', {
    uri: template,
    errors: [...ERRORS, 'ResourceNotFoundException'],
  }),
  DescribeManagedJobTemplate: operation('iot', 'GET /managed-job-templates/{templateName}', {
    uri: { templateName },
    query: m.optional({ templateVersion: m.text({ pattern: '[1-9]+.[0-9]+' }) }),
    errors: MANAGED,
  }),
  ListManagedJobTemplates: operation('iot', 'GET /managed-job-templates', {
    query: { ...m.paged, ...m.optional({ templateName }) },
    errors: MANAGED,
  }),
};
