import { jobArn } from '../../service/arns.ts';
import { checkDocument, withParameters } from '../../service/documents.ts';
import { checkParameters } from '../../service/templates.ts';
import { type Job, type NewJob, Refusal } from '../../service/types.ts';
import type { Handlers, HttpPlaneDeps } from '../deps.ts';
import { pageOf } from '../paging.ts';
import type { InputOf } from '../table.ts';
import { existing, page } from './shared.ts';

type JobHandlers = Pick<
  Handlers,
  | 'CreateJob'
  | 'DescribeJob'
  | 'UpdateJob'
  | 'CancelJob'
  | 'DeleteJob'
  | 'ListJobs'
  | 'GetJobDocument'
  | 'AssociateTargetsWithJob'
>;

/** L3: also what substitution has made of it. */
const DOCUMENT_CHARACTERS_MAX = 32_768;

export function jobHandlers(deps: HttpPlaneDeps): JobHandlers {
  const { service, registry, tags } = deps;
  return {
    CreateJob: async (input) => {
      const ids = { resourceId: input.jobId, resourceArn: jobArn(input.jobId) };
      const wanted = await newJob(input, deps);
      const job = existing(ids, () => service.createJob(wanted));
      if (input.tags) tags.add(job.arn, input.tags);
      return named(job);
    },
    DescribeJob: ({ jobId }) => {
      const job = service.job(jobId);
      return {
        ...(job.documentSource !== undefined && { documentSource: job.documentSource }),
        job: describedJob(job, deps),
      };
    },
    UpdateJob: ({ jobId, namespaceId: _, ...changes }) => {
      service.updateJob(jobId, changes);
      return undefined;
    },
    CancelJob: ({ jobId, force = false, ...reasons }) =>
      named(service.cancelJob(jobId, { force, ...reasons })),
    DeleteJob: ({ jobId, force = false }) => {
      service.deleteJob(jobId, force);
      tags.forget(jobArn(jobId));
      return undefined;
    },
    ListJobs: ({ maxResults, nextToken, thingGroupId, ...filter }) => {
      const group = groupOf(filter.thingGroupName, thingGroupId);
      const question = { ...filter, thingGroupId };
      const asked = { ...filter, ...(group !== undefined && { thingGroupName: group }) };
      const { items, ...more } = pageOf(
        service.jobs(asked),
        ({ jobId }) => jobId,
        page({ maxResults, nextToken }),
        question,
      );
      return { jobs: items.map((job) => summary(job, deps)), ...more };
    },
    GetJobDocument: ({ jobId, beforeSubstitution = false }) => {
      const job = service.job(jobId);
      return { document: beforeSubstitution ? rawDocument(job, deps) : job.document };
    },
    AssociateTargetsWithJob: ({ jobId, targets, comment }) =>
      named(service.associateTargets(jobId, targets, comment)),
  };

  function groupOf(name: string | undefined, id: string | undefined): string | undefined {
    if (name !== undefined) return registry.group(name).thingGroupName;
    if (id === undefined) return undefined;
    const found = registry.groups().find(({ thingGroupId }) => thingGroupId === id);
    if (!found) throw new Refusal('ResourceNotFound', `Thing group ${id} cannot be found.`);
    return found.thingGroupName;
  }
}

function named({ arn, jobId, description }: Job): object {
  return { jobArn: arn, jobId, ...(description !== undefined && { description }) };
}

/** Brings the document, the template and its parameters together. */
async function newJob(input: InputOf<'CreateJob'>, deps: HttpPlaneDeps): Promise<NewJob> {
  const { jobTemplateArn, document, documentSource } = input;
  if (document !== undefined && documentSource !== undefined)
    throw new Refusal('InvalidRequest', 'document and documentSource cannot be given together.');
  const { managed, ...template } =
    jobTemplateArn === undefined ? { managed: undefined } : deps.templates.byArn(jobTemplateArn);
  checkParameters(managed, input.documentParameters);
  const own = document !== undefined || documentSource !== undefined;
  const {
    document: templateDocument,
    documentSource: templateSource,
    ...configs
  } = {
    document: undefined,
    documentSource: undefined,
    ...template,
  };
  const source = own ? documentSource : templateSource;
  const raw = own ? await documentText(document, documentSource, deps) : templateDocument;
  if (raw === undefined)
    throw new Refusal('InvalidRequest', 'One of document, documentSource and jobTemplateArn is needed.');
  const text = managed
    ? withParameters(raw, input.documentParameters ?? {}, deps.service.switches.omittedTemplateParameter)
    : raw;
  const presignedUrlConfig = input.presignedUrlConfig ?? configs.presignedUrlConfig;
  checkJobDocument(text, presignedUrlConfig?.roleArn !== undefined, deps);
  return { ...configs, ...input, document: text, ...(source !== undefined && { documentSource: source }) };
}

export function checkJobDocument(text: string, mayPresign: boolean, { objects }: HttpPlaneDeps): void {
  if (text.length > DOCUMENT_CHARACTERS_MAX)
    throw new Refusal(
      'InvalidRequest',
      `The job document is longer than ${DOCUMENT_CHARACTERS_MAX} characters.`,
    );
  checkDocument(text, mayPresign, objects);
}

/** A document that is given, or the one that lies in S3. */
export async function documentText(
  document: string | undefined,
  documentSource: string | undefined,
  { objects }: HttpPlaneDeps,
): Promise<string | undefined> {
  if (document !== undefined || documentSource === undefined) return document;
  const address = objects.addressOf(documentSource);
  if (!address) throw new Refusal('InvalidRequest', `documentSource ${documentSource} is no S3 URL.`);
  const text = await objects.text(address);
  if (text === undefined)
    throw new Refusal('InvalidRequest', `The job document cannot be read from ${documentSource}.`);
  return text;
}

function rawDocument(
  { jobTemplateArn, document, documentParameters }: Job,
  { templates }: HttpPlaneDeps,
): string {
  if (
    jobTemplateArn === undefined ||
    (documentParameters === undefined && !/^arn:[^:]+:iot:[^:]*::/.test(jobTemplateArn))
  )
    return document;
  const { managed } = templates.byArn(jobTemplateArn);
  return managed?.document ?? document;
}

function summary(job: Job, { service, registry }: HttpPlaneDeps): object {
  const group = job.targets
    .map((arn) => /:thinggroup\/(.+)$/.exec(arn)?.[1])
    .find((name) => name !== undefined);
  const thingGroupId =
    group !== undefined && registry.hasGroup(group) ? registry.group(group).thingGroupId : undefined;
  return {
    jobArn: job.arn,
    jobId: job.jobId,
    ...(thingGroupId !== undefined && { thingGroupId }),
    targetSelection: job.targetSelection,
    status: job.status,
    createdAt: job.createdAt,
    lastUpdatedAt: job.lastUpdatedAt,
    ...(job.completedAt !== undefined && { completedAt: job.completedAt }),
    isConcurrent: service.isConcurrent(job.jobId),
  };
}

/** Absent members are left out by JSON; these three come back as `{}` when unset (section 4.5). */
function describedJob(job: Job, { service }: HttpPlaneDeps): object {
  return {
    jobArn: job.arn,
    jobId: job.jobId,
    targetSelection: job.targetSelection,
    status: job.status,
    forceCanceled: job.forceCanceled,
    reasonCode: job.reasonCode,
    comment: job.comment,
    targets: job.targets,
    description: job.description,
    presignedUrlConfig: job.presignedUrlConfig ?? {},
    jobExecutionsRolloutConfig: job.jobExecutionsRolloutConfig ?? {},
    abortConfig: job.abortConfig,
    createdAt: job.createdAt,
    lastUpdatedAt: job.lastUpdatedAt,
    completedAt: job.completedAt,
    jobProcessDetails: service.jobProcessDetails(job.jobId),
    timeoutConfig: job.timeoutConfig ?? {},
    namespaceId: job.namespaceId,
    jobTemplateArn: job.jobTemplateArn,
    jobExecutionsRetryConfig: job.jobExecutionsRetryConfig,
    documentParameters: job.documentParameters,
    isConcurrent: service.isConcurrent(job.jobId),
    schedulingConfig: job.schedulingConfig,
    destinationPackageVersions: job.destinationPackageVersions,
  };
}
