import { type Context, Hono } from 'hono';
import { type JobsService, thingArn } from '../service/jobs-service.ts';
import type { Shadows } from '../service/shadows.ts';
import { type Execution, type Job, Refusal } from '../service/types.ts';

/** The calls of `iot` and `iot-data` over HTTP (sections 4.1-4.5): what the AWS SDKs and the aws CLI send. */

/** C2-C5: names and statuses as the control plane has them. */
const ERRORS: Record<string, { name: string; status: 400 | 404 | 409 }> = {
  InvalidRequest: { name: 'InvalidRequestException', status: 400 },
  ResourceNotFound: { name: 'ResourceNotFoundException', status: 404 },
  ResourceAlreadyExists: { name: 'ResourceAlreadyExistsException', status: 409 },
  InvalidStateTransition: { name: 'InvalidStateTransitionException', status: 409 },
  VersionConflict: { name: 'VersionConflictException', status: 409 },
};

export interface HttpPlaneDeps {
  service: JobsService;
  shadows: Shadows;
  nowSeconds(): number;
}

export function controlPlane({ service, shadows, nowSeconds }: HttpPlaneDeps): Hono {
  const app = new Hono();
  app.onError((error, c) => {
    if (!(error instanceof Refusal)) return c.json({ message: 'internal error' }, 500);
    const { name, status } = ERRORS[error.code] ?? { name: 'InvalidRequestException', status: 400 as const };
    return c.json({ message: error.message }, status, { 'x-amzn-ErrorType': name });
  });
  app.notFound((c) =>
    c.json({ message: 'unknown operation' }, 404, { 'x-amzn-ErrorType': 'UnknownOperationException' }),
  );
  things(app, service);
  jobs(app, service);
  executions(app, service);
  shadowCalls(app, shadows, nowSeconds);
  app.get('/endpoint', (c) => c.json({ endpointAddress: new URL(c.req.url).host }));
  return app;
}

function things(app: Hono, service: JobsService): void {
  const described = (thing: string): object => ({
    thingName: thing,
    thingArn: thingArn(thing),
    thingId: thing,
    defaultClientId: thing,
    attributes: {},
    version: 1,
  });
  app.post('/things/:thing', (c) => {
    service.createThing(c.req.param('thing'));
    return c.json(described(c.req.param('thing')));
  });
  app.get('/things/:thing', (c) => {
    const thing = c.req.param('thing');
    if (!service.hasThing(thing)) throw new Refusal('ResourceNotFound', `Thing ${thing} cannot be found.`);
    return c.json(described(thing));
  });
  app.delete('/things/:thing', (c) => {
    service.removeThing(c.req.param('thing'));
    return c.json({});
  });
}

function jobs(app: Hono, service: JobsService): void {
  app.put('/jobs/:job', async (c) => {
    const body = await bodyOf(c);
    const document = typeof body['document'] === 'string' ? body['document'] : '';
    if (!isJson(document)) throw new Refusal('InvalidRequest', 'document: must be JSON');
    const timeoutConfig = body['timeoutConfig'] as Job['timeoutConfig'];
    const jobExecutionsRetryConfig = body['jobExecutionsRetryConfig'] as Job['jobExecutionsRetryConfig'];
    const job = service.createJob({
      jobId: c.req.param('job'),
      targets: (body['targets'] ?? []) as string[],
      document,
      ...(typeof body['description'] === 'string' && { description: body['description'] }),
      ...(body['targetSelection'] === 'CONTINUOUS' && { targetSelection: 'CONTINUOUS' as const }),
      ...(timeoutConfig && { timeoutConfig }),
      ...(jobExecutionsRetryConfig && { jobExecutionsRetryConfig }),
    });
    return c.json({ jobArn: job.arn, jobId: job.jobId, description: job.description });
  });
  app.get('/jobs', (c) => c.json({ jobs: service.jobs().map((job) => describedJob(job, service)) }));
  app.get('/jobs/:job', (c) => c.json({ job: describedJob(service.job(c.req.param('job')), service) }));
  app.get('/jobs/:job/job-document', (c) => c.json({ document: service.job(c.req.param('job')).document }));
  app.put('/jobs/:job/cancel', async (c) => {
    const { reasonCode, comment } = (await bodyOf(c)) as { reasonCode?: string; comment?: string };
    const job = service.cancelJob(c.req.param('job'), {
      force: isForced(c),
      ...(reasonCode !== undefined && { reasonCode }),
      ...(comment !== undefined && { comment }),
    });
    return c.json({ jobArn: job.arn, jobId: job.jobId, description: job.description });
  });
  app.delete('/jobs/:job', (c) => {
    service.deleteJob(c.req.param('job'), isForced(c));
    return c.json({});
  });
  app.get('/jobs/:job/things', (c) => {
    const found = service.executions({ jobId: service.job(c.req.param('job')).jobId });
    return c.json({
      executionSummaries: filtered(found, c).map((one) => ({
        thingArn: thingArn(one.thing),
        jobExecutionSummary: executionSummary(one),
      })),
    });
  });
}

function executions(app: Hono, service: JobsService): void {
  app.get('/things/:thing/jobs', (c) => {
    const found = service.executions({ thing: c.req.param('thing') });
    return c.json({
      executionSummaries: filtered(found, c).map((one) => ({
        jobId: one.jobId,
        jobExecutionSummary: executionSummary(one),
      })),
    });
  });
  app.get('/things/:thing/jobs/:job', (c) => {
    const number = c.req.query('executionNumber');
    const { thing, job } = c.req.param();
    const found = service.execution(thing, job, number === undefined ? undefined : Number(number));
    const left = service.secondsLeft(found);
    return c.json({
      // C23: nested details, an ARN, no document.
      execution: {
        jobId: found.jobId,
        status: found.status,
        ...(found.forceCanceled !== undefined && { forceCanceled: found.forceCanceled }),
        statusDetails: Object.keys(found.statusDetails).length > 0 ? { detailsMap: found.statusDetails } : {},
        thingArn: thingArn(found.thing),
        queuedAt: found.queuedAt,
        startedAt: found.startedAt,
        lastUpdatedAt: found.lastUpdatedAt,
        executionNumber: found.executionNumber,
        versionNumber: found.versionNumber,
        approximateSecondsBeforeTimedOut: left,
      },
    });
  });
  app.put('/things/:thing/jobs/:job/cancel', async (c) => {
    const { thing, job } = c.req.param();
    const { expectedVersion, statusDetails } = (await bodyOf(c)) as {
      expectedVersion?: number;
      statusDetails?: Record<string, string>;
    };
    // C11: `force` is a query parameter.
    service.cancelExecution(thing, job, {
      force: isForced(c),
      ...(expectedVersion !== undefined && { expectedVersion }),
      ...(statusDetails && { statusDetails }),
    });
    return c.body(null, 200);
  });
  app.delete('/things/:thing/jobs/:job/executionNumber/:number', (c) => {
    const { thing, job, number } = c.req.param();
    service.deleteExecution(thing, job, Number(number), isForced(c));
    return c.body(null, 200);
  });
}

function shadowCalls(app: Hono, shadows: Shadows, nowSeconds: () => number): void {
  app.get('/things/:thing/shadow', (c) => {
    const found = shadows.get(c.req.param('thing'), c.req.query('name') ?? '');
    if (!found) throw new Refusal('ResourceNotFound', 'No shadow exists with this name');
    return c.json({ ...found });
  });
  app.post('/things/:thing/shadow', async (c) => {
    const { state = {} } = (await bodyOf(c)) as { state?: object };
    const { version } = shadows.update(c.req.param('thing'), c.req.query('name') ?? '', state, nowSeconds());
    return c.json({ state, version, timestamp: nowSeconds() });
  });
}

function describedJob(job: Job, service: JobsService): object {
  return {
    jobArn: job.arn,
    jobId: job.jobId,
    targetSelection: job.targetSelection,
    status: job.status,
    ...(job.forceCanceled !== undefined && { forceCanceled: job.forceCanceled }),
    ...(job.reasonCode !== undefined && { reasonCode: job.reasonCode }),
    ...(job.comment !== undefined && { comment: job.comment }),
    targets: job.targets,
    ...(job.description !== undefined && { description: job.description }),
    presignedUrlConfig: {},
    jobExecutionsRolloutConfig: {},
    timeoutConfig: job.timeoutConfig ?? {},
    createdAt: job.createdAt,
    lastUpdatedAt: job.lastUpdatedAt,
    ...(job.completedAt !== undefined && { completedAt: job.completedAt }),
    jobProcessDetails: service.jobProcessDetails(job.jobId),
  };
}

/** C24 */
function executionSummary(one: Execution): object {
  const { status, queuedAt, startedAt, lastUpdatedAt, executionNumber, retryAttempt } = one;
  return { status, queuedAt, startedAt, lastUpdatedAt, executionNumber, retryAttempt };
}

function filtered(found: readonly Execution[], c: Context): Execution[] {
  const status = c.req.query('status');
  return found.filter((one) => status === undefined || one.status === status);
}

function isForced(c: Context): boolean {
  return c.req.query('force') === 'true';
}

async function bodyOf(c: Context): Promise<Record<string, unknown>> {
  const text = await c.req.text();
  if (text === '') return {};
  if (!isJson(text)) throw new Refusal('InvalidRequest', 'the body is no JSON');
  return JSON.parse(text) as Record<string, unknown>;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
