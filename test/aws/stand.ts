import {
  CancelJobExecutionCommand,
  CreateJobCommand,
  type CreateJobCommandInput,
  DeleteJobCommand,
  type IoTClient,
} from '@aws-sdk/client-iot';
import type { IoTJobsDataPlaneClient } from '@aws-sdk/client-iot-jobs-data-plane';
import type { DeviceFacts, Pause } from './account.ts';
import type { Message, MqttDevice, Reply } from './mqtt-device.ts';

/** One device, its jobs one after another, and time that may be that of the account or a virtual one. */
export interface StandDeps {
  iot: IoTClient;
  jobsData: IoTJobsDataPlaneClient;
  device: MqttDevice;
  facts: DeviceFacts;
  pause: Pause;
  nowMs(): number;
  /** Nothing more is played. */
  signal: AbortSignal;
}

const LOOK_MS = 500;
/** Longer than a rollout, a notice or a maintenance window ever took. */
const LIMIT_MS = 420_000;
/** What has not come by then does not come. */
const SETTLE_MS = 10_000;

export class Stand {
  readonly deps: StandDeps;
  #jobs = 0;

  constructor(deps: StandDeps) {
    this.deps = deps;
  }

  /** Creates a job and waits until the device can see its execution; `use` plays with it, and then it is deleted. */
  async withJob<T>(options: Partial<CreateJobCommandInput>, use: (jobId: string) => Promise<T>): Promise<T> {
    const jobId = await this.create(options);
    try {
      await this.until(`${jobId} to be queued`, async () => (await this.describe(jobId)).accepted);
      await this.settle();
      return await use(jobId);
    } finally {
      await this.delete(jobId);
    }
  }

  async create(options: Partial<CreateJobCommandInput> = {}): Promise<string> {
    const { iot, facts } = this.deps;
    this.#jobs += 1;
    const jobId = `${facts.thing}-${this.#jobs}`;
    const document =
      options.jobTemplateArn === undefined ? { document: JSON.stringify({ measures: jobId }) } : {};
    const targets = [facts.thingArn];
    await iot.send(new CreateJobCommand({ jobId, targets, ...document, ...options }));
    return jobId;
  }

  async delete(jobId: string): Promise<void> {
    await this.deps.iot.send(new DeleteJobCommand({ jobId, force: true }));
    await this.until(`${jobId} to be deleted`, async () => {
      const { accepted, body } = await this.describe(jobId);
      return !accepted && body.code === 'ResourceNotFound';
    });
    await this.settle();
  }

  describe(jobId: string): Promise<Reply> {
    return this.deps.device.ask(`${jobId}/get`);
  }

  update(jobId: string, status: string, more: object = {}): Promise<Reply> {
    return this.deps.device.ask(`${jobId}/update`, { status, includeJobExecutionState: true, ...more });
  }

  async start(jobId: string, more: object = {}): Promise<void> {
    const { accepted, body } = await this.update(jobId, 'IN_PROGRESS', more);
    if (!accepted) throw new Error(`cannot start ${jobId}: ${JSON.stringify(body)}`);
  }

  async cancel(jobId: string, statusDetails?: Record<string, string>): Promise<void> {
    const { iot, facts } = this.deps;
    const more = statusDetails && { statusDetails };
    await iot.send(new CancelJobExecutionCommand({ jobId, thingName: facts.thing, force: true, ...more }));
    await this.until(`${jobId} to be cancelled`, async () => !(await this.describe(jobId)).accepted);
  }

  /** Everything that the last acts lead to has come. */
  async settle(): Promise<Message[]> {
    await this.#pause(SETTLE_MS);
    // Messages keep their order on a connection: behind this answer there is nothing older.
    await this.deps.device.ask('get');
    return this.deps.device.heard();
  }

  async until(what: string, look: () => Promise<boolean>): Promise<void> {
    const endMs = this.deps.nowMs() + LIMIT_MS;
    while (!(await look())) {
      if (this.deps.nowMs() > endMs) throw new Error(`waited too long for ${what}`);
      await this.#pause(LOOK_MS);
    }
  }

  async #pause(ms: number): Promise<void> {
    await this.deps.pause(ms);
    this.deps.signal.throwIfAborted();
  }

  /** Milliseconds until it is so, as exactly as it is looked at. */
  async msUntil(what: string, look: () => Promise<boolean>): Promise<number> {
    const fromMs = this.deps.nowMs();
    await this.until(what, look);
    return this.deps.nowMs() - fromMs;
  }
}
