import { MANAGED_TEMPLATES } from '../../service/managed-templates.ts';
import { managedTemplate, type NewTemplate } from '../../service/templates.ts';
import { Refusal } from '../../service/types.ts';
import type { Handlers, HttpPlaneDeps } from '../deps.ts';
import { HttpRefusal } from '../errors.ts';
import { pageOf } from '../paging.ts';
import type { InputOf } from '../table.ts';
import { checkJobDocument, documentText } from './jobs.ts';
import { page } from './shared.ts';

type TemplateHandlers = Pick<
  Handlers,
  | 'CreateJobTemplate'
  | 'DescribeJobTemplate'
  | 'ListJobTemplates'
  | 'DeleteJobTemplate'
  | 'DescribeManagedJobTemplate'
  | 'ListManagedJobTemplates'
>;

export function templateHandlers(deps: HttpPlaneDeps): TemplateHandlers {
  const { templates, tags } = deps;
  return {
    CreateJobTemplate: async (input) => {
      const { jobTemplateId } = input;
      if (templates.has(jobTemplateId)) {
        const { jobTemplateArn } = templates.get(jobTemplateId);
        const ids = { resourceId: jobTemplateArn };
        throw new HttpRefusal('Conflict', `Job template ${jobTemplateId} already exists.`, ids);
      }
      const { jobTemplateArn } = templates.create(await newTemplate(input, deps));
      if (input.tags) tags.add(jobTemplateArn, input.tags);
      return { jobTemplateArn, jobTemplateId };
    },
    DescribeJobTemplate: ({ jobTemplateId }) => {
      const template = templates.get(jobTemplateId);
      return {
        ...template,
        presignedUrlConfig: template.presignedUrlConfig ?? {},
        jobExecutionsRolloutConfig: template.jobExecutionsRolloutConfig ?? {},
        timeoutConfig: template.timeoutConfig ?? {},
      };
    },
    ListJobTemplates: (paging) => {
      const { items, ...more } = pageOf(templates.list(), (one) => one.jobTemplateId, page(paging));
      const jobTemplates = items.map(({ jobTemplateArn, jobTemplateId, description, createdAt }) => ({
        jobTemplateArn,
        jobTemplateId,
        description,
        createdAt,
      }));
      return { jobTemplates, ...more };
    },
    DeleteJobTemplate: ({ jobTemplateId }) => {
      const { jobTemplateArn } = templates.get(jobTemplateId);
      templates.delete(jobTemplateId);
      tags.forget(jobTemplateArn);
      return undefined;
    },
    DescribeManagedJobTemplate: ({ templateName, templateVersion }) => ({
      ...managedTemplate(templateName, templateVersion),
    }),
    ListManagedJobTemplates: ({ templateName, ...paging }) => {
      const all = MANAGED_TEMPLATES.filter(
        (one) => templateName === undefined || one.templateName === templateName,
      );
      const { items, ...more } = pageOf(all, (one) => one.templateName, page(paging), templateName);
      const managedJobTemplates = items.map((one) => ({
        templateArn: one.templateArn,
        templateName: one.templateName,
        description: one.description,
        environments: one.environments,
        templateVersion: one.templateVersion,
      }));
      return { managedJobTemplates, ...more };
    },
  };
}

/** From a job that there is, or from a document. */
async function newTemplate(input: InputOf<'CreateJobTemplate'>, deps: HttpPlaneDeps): Promise<NewTemplate> {
  const { jobArn, document, documentSource, tags: _, ...rest } = input;
  if (jobArn === undefined) {
    const text = await documentText(document, documentSource, deps);
    if (text === undefined)
      throw new Refusal('InvalidRequest', 'One of document, documentSource and jobArn is needed.');
    checkJobDocument(text, rest.presignedUrlConfig?.roleArn !== undefined, deps);
    return { ...rest, document: text, ...(documentSource !== undefined && { documentSource }) };
  }
  if (document !== undefined || documentSource !== undefined)
    throw new Refusal('InvalidRequest', 'A template is made from a job or from a document, not from both.');
  const job = deps.service.job(/:job\/(.+)$/.exec(jobArn)?.[1] ?? '');
  const { presignedUrlConfig, jobExecutionsRolloutConfig, abortConfig, timeoutConfig } = job;
  return {
    ...(presignedUrlConfig && { presignedUrlConfig }),
    ...(jobExecutionsRolloutConfig && { jobExecutionsRolloutConfig }),
    ...(abortConfig && { abortConfig }),
    ...(timeoutConfig && { timeoutConfig }),
    ...(job.jobExecutionsRetryConfig && { jobExecutionsRetryConfig: job.jobExecutionsRetryConfig }),
    ...rest,
    document: job.document,
    ...(job.documentSource !== undefined && { documentSource: job.documentSource }),
  };
}
