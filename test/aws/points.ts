import { DescribeJobExecutionCommand, RemoveThingFromThingGroupCommand } from '@aws-sdk/client-iot';
import { UpdateJobExecutionCommand } from '@aws-sdk/client-iot-jobs-data-plane';
import { DEFAULT_SWITCHES, type Switches } from '../../src/simulator/options.ts';
import type { Reply } from './mqtt-device.ts';
import type { Stand } from './stand.ts';

/**
 * What no public source settles about AWS IoT Jobs, each as a short play with a job. Where the simulator has a switch
 * for it, the measurement ends in the value of that switch.
 */
export interface Point {
  name: string;
  question: string;
  measure(stand: Stand): Promise<Found>;
}

export interface Found {
  found: string;
  switches?: Partial<Switches>;
}

const MINUTE_MS = 60_000;
/** Enough for a rollout. */
const WINDOW_MINUTES = 3;
const said = ({ accepted, body }: Reply): string => {
  if (accepted) return 'accepted';
  const state = body.executionState;
  return state === undefined ? String(body.code) : `${body.code}, state ${state.status}`;
};

const notes = (stand: Stand, kind: string): Promise<number> =>
  stand.settle().then((messages) => messages.filter((message) => message.kind === kind).length);

async function executionOf({ deps }: Stand, jobId: string) {
  const { iot, facts } = deps;
  const { execution } = await iot.send(new DescribeJobExecutionCommand({ jobId, thingName: facts.thing }));
  return execution;
}

/** An IN_PROGRESS execution that the cloud has ended by force. */
const cancelled = (stand: Stand, use: (jobId: string) => Promise<Found>): Promise<Found> =>
  stand.withJob({}, async (jobId) => {
    await stand.start(jobId);
    await stand.cancel(jobId);
    return await use(jobId);
  });

export const POINTS: readonly Point[] = [
  {
    name: 'E13',
    question: 'ended, and a stale version: which is named first?',
    measure: (stand) =>
      cancelled(stand, async (jobId) => {
        const reply = await stand.update(jobId, 'IN_PROGRESS', { expectedVersion: 1 });
        return {
          found: said(reply),
          switches: { terminalBeforeVersion: reply.body.code !== 'VersionMismatch' },
        };
      }),
  },
  {
    name: 'E4',
    question: 'does the refusal of an ended execution carry its state?',
    measure: (stand) =>
      cancelled(stand, async (jobId) => {
        const reply = await stand.update(jobId, 'IN_PROGRESS');
        return {
          found: said(reply),
          switches: { terminalCarriesState: reply.body.executionState !== undefined },
        };
      }),
  },
  {
    name: 'S13',
    question: 'does a cancel move the version?',
    measure: (stand) =>
      cancelled(stand, async (jobId) => {
        const version = (await executionOf(stand, jobId))?.versionNumber ?? 0;
        return {
          found: `2 before, ${version} after`,
          switches: { versionIncrementOnServiceChange: Number(version) > 2 },
        };
      }),
  },
  {
    name: 'P13',
    question: 'does start-next set the step timer of what is in progress?',
    measure: (stand) =>
      stand.withJob({}, async (jobId) => {
        await stand.start(jobId);
        await stand.deps.device.ask('start-next', { stepTimeoutInMinutes: 5 });
        const { body } = await stand.describe(jobId);
        const left = (body['execution'] as Record<string, unknown>)['approximateSecondsBeforeTimedOut'];
        return {
          found: left === undefined ? 'no timer' : `${Number(left)} s left`,
          switches: { startNextAppliesStepTimeout: left !== undefined },
        };
      }),
  },
  {
    name: 'S2',
    question: 'is SUCCEEDED accepted from QUEUED?',
    measure: (stand) =>
      stand.withJob({}, async (jobId) => {
        const reply = await stand.update(jobId, 'SUCCEEDED');
        return { found: said(reply), switches: { queuedToSucceededAccepted: reply.accepted } };
      }),
  },
  {
    name: 'D4',
    question: 'how does HTTPS name a stale version?',
    measure: (stand) =>
      stand.withJob({}, async (jobId) => {
        await stand.start(jobId);
        const { jobsData, facts } = stand.deps;
        const stale = { jobId, thingName: facts.thing, status: 'IN_PROGRESS', expectedVersion: 1 } as const;
        const found = await jobsData.send(new UpdateJobExecutionCommand(stale)).then(
          () => 'accepted',
          (error: unknown) => (error as Error).name,
        );
        return { found, switches: { httpStaleVersionError: found as Switches['httpStaleVersionError'] } };
      }),
  },
  {
    name: 'N18c',
    question: 'how many notify for the end of an attempt and its retry?',
    measure: (stand) =>
      stand.withJob(
        { jobExecutionsRetryConfig: { criteriaList: [{ failureType: 'FAILED', numberOfRetries: 1 }] } },
        async (jobId) => {
          await stand.start(jobId);
          await stand.settle();
          await stand.update(jobId, 'FAILED');
          const count = await notes(stand, 'notify');
          return { found: `${count}`, switches: { notifyOnRetry: count > 1 ? 'twice' : 'once' } };
        },
      ),
  },
  {
    name: 'T6',
    question: 'with which QoS does notify come?',
    async measure(stand) {
      await stand.settle();
      const jobId = await stand.create();
      const { messages } = await heardNotify(stand);
      await stand.delete(jobId);
      const qos = messages.find(({ kind }) => kind === 'notify')?.qos === 1 ? 1 : 0;
      return { found: `QoS ${qos}`, switches: { notifyQos: qos } };
    },
  },
  {
    name: 'N19',
    question: 'does notify-next come again for the same front?',
    measure: (stand) =>
      stand.withJob({}, async (jobId) => {
        await stand.start(jobId);
        await stand.settle();
        await stand.update(jobId, 'IN_PROGRESS', { statusDetails: { a: 'b' } });
        const count = await notes(stand, 'notify-next');
        return { found: `${count}`, switches: { notifyNextRepeats: count > 0 } };
      }),
  },
  {
    name: 'J11',
    question: 'what becomes of an omitted template parameter?',
    measure: (stand) =>
      stand.withJob(
        {
          jobTemplateArn: `arn:aws:iot:${regionOf(stand)}::jobtemplate/AWS-Run-Command:1.0`,
          documentParameters: { command: 'true' },
        },
        async (jobId) => {
          const { body } = await stand.deps.device.ask(`${jobId}/get`, { includeJobDocument: true });
          const { jobDocument } = body['execution'] as { jobDocument: { steps: { action: object }[] } };
          const action = jobDocument.steps[0]?.action as { runAsUser?: string };
          const left = action.runAsUser;
          return {
            found: left === undefined ? 'it is removed' : JSON.stringify(left),
            switches: { omittedTemplateParameter: left === undefined ? 'removed' : 'emptyString' },
          };
        },
      ),
  },
  {
    name: 'S24',
    question: 'how late does a timer end an execution, and (a)(b) what is said of it then?',
    measure: (stand) =>
      stand.withJob({ timeoutConfig: { inProgressTimeoutInMinutes: 1 } }, async (jobId) => {
        await stand.start(jobId);
        const ms = await stand.msUntil('the time-out', async () => !(await stand.describe(jobId)).accepted);
        const late = Math.max(0, Math.floor((ms - MINUTE_MS) / 1000));
        return {
          found: `${late} s; ${await bothSaid(stand, jobId)}`,
          switches: { lateTimersSeconds: Math.min(late, 60) },
        };
      }),
  },
  {
    name: 'S29',
    question: 'how long from CreateJob to its execution?',
    async measure(stand) {
      const jobId = await stand.create();
      const ms = await stand.msUntil('the execution', async () => (await stand.describe(jobId)).accepted);
      await stand.delete(jobId);
      return { found: `${Math.round(ms)} ms`, switches: { rolloutDelayMs: roughly(ms) } };
    },
  },
  {
    name: 'A5',
    question: 'how long does $next/get not see what was just queued?',
    async measure(stand) {
      await stand.settle();
      const jobId = await stand.create();
      await heardNotify(stand);
      const ms = await stand.msUntil('the front', async () => {
        const { body } = await stand.deps.device.ask('$next/get');
        return (body['execution'] as { jobId?: string } | undefined)?.jobId === jobId;
      });
      await stand.delete(jobId);
      return { found: `${Math.round(ms)} ms`, switches: { consistencyGapMs: roughly(ms) } };
    },
  },
  {
    name: '(a)(b)',
    question: 'update and describe of an execution that was CANCELED',
    measure: (stand) => cancelled(stand, async (jobId) => ({ found: await bothSaid(stand, jobId) })),
  },
  {
    name: '(a)(b)',
    question: 'of one that is SUCCEEDED; (c) SUCCEEDED once more',
    measure: (stand) =>
      stand.withJob({}, async (jobId) => {
        await stand.start(jobId);
        await stand.update(jobId, 'SUCCEEDED');
        const again = said(await stand.update(jobId, 'SUCCEEDED'));
        return { found: `${await bothSaid(stand, jobId)}; again: ${again}` };
      }),
  },
  {
    name: '(a)(b)',
    question: 'of one that was REMOVED with the thing from its group',
    measure: (stand) =>
      stand.withJob(
        { targets: [stand.deps.facts.groupArn], targetSelection: 'CONTINUOUS' },
        async (jobId) => {
          await stand.start(jobId);
          const { iot, facts } = stand.deps;
          await iot.send(
            new RemoveThingFromThingGroupCommand({ thingName: facts.thing, thingGroupName: facts.group }),
          );
          await stand.until('the removal', async () => !(await stand.describe(jobId)).accepted);
          return { found: await bothSaid(stand, jobId) };
        },
      ),
  },
  {
    name: '(a)(b)',
    question: 'of one that is not there',
    measure: async (stand) => ({ found: await bothSaid(stand, `${stand.deps.facts.thing}-none`) }),
  },
  {
    name: '(d)',
    question: 'does what is in progress leave the list when its window closes?',
    async measure(stand) {
      // Its own clock is the one that its windows go by.
      const openMs = Math.ceil((await serviceMs(stand)) / MINUTE_MS + 1) * MINUTE_MS;
      const closeMs = openMs + WINDOW_MINUTES * MINUTE_MS;
      const begin = new Date(openMs);
      const startTime = `cron(${begin.getUTCMinutes()} ${begin.getUTCHours()} * * ? *)`;
      const maintenanceWindows = [{ startTime, durationInMinutes: WINDOW_MINUTES }];
      return await stand.withJob(
        { targetSelection: 'CONTINUOUS', schedulingConfig: { maintenanceWindows } },
        async (jobId) => {
          await stand.start(jobId);
          await stand.settle();
          if (!(await isListed(stand, jobId)) || (await serviceMs(stand)) >= closeMs)
            throw new Error('its window closed too early');
          await stand.until(
            'the window to close',
            async () => (await serviceMs(stand)) > closeMs + MINUTE_MS,
          );
          const notify = (await stand.settle()).filter(({ kind }) => kind === 'notify').at(-1);
          const names = notify && (JSON.stringify(notify.body).includes(jobId) ? 'with it' : 'without it');
          const listed = await isListed(stand, jobId);
          const update = said(await stand.update(jobId, 'IN_PROGRESS'));
          return {
            found: `${listed ? 'listed' : 'not listed'}; notify: ${names ?? 'none'}; update: ${update}`,
            switches: { closedWindowHidesInProgress: !listed },
          };
        },
      );
    },
  },
  {
    name: '(e)',
    question: 'do the details of a cancel replace the device’s, and come back?',
    measure: (stand) =>
      stand.withJob({}, async (jobId) => {
        await stand.start(jobId, { statusDetails: { by: 'device', only: 'device' } });
        await stand.cancel(jobId, { by: 'operator' });
        const { statusDetails } = (await executionOf(stand, jobId)) ?? {};
        const { body } = await stand.update(jobId, 'IN_PROGRESS');
        const refusal = (body.executionState as { statusDetails?: object } | undefined)?.statusDetails;
        return {
          found: `kept: ${JSON.stringify(statusDetails?.detailsMap)}, refusal: ${JSON.stringify(refusal ?? null)}`,
        };
      }),
  },
  {
    name: '(f)',
    question: 'are line breaks refused in details?',
    measure: (stand) =>
      stand.withJob({}, async (jobId) => ({
        found: said(await stand.update(jobId, 'IN_PROGRESS', { statusDetails: { a: 'two\nlines' } })),
      })),
  },
];

async function bothSaid(stand: Stand, jobId: string): Promise<string> {
  const update = said(await stand.update(jobId, 'IN_PROGRESS'));
  return `update: ${update}; describe: ${said(await stand.describe(jobId))}`;
}

async function serviceMs({ deps }: Stand): Promise<number> {
  const { body } = await deps.device.ask('get');
  return Number(body['timestamp']) * 1000;
}

async function isListed({ deps }: Stand, jobId: string): Promise<boolean> {
  const { body } = await deps.device.ask('get');
  const { inProgressJobs = [] } = body as { inProgressJobs?: { jobId: string }[] };
  return inProgressJobs.some((one) => one.jobId === jobId);
}

async function heardNotify(stand: Stand) {
  const messages = stand.deps.device.heard();
  await stand.until('notify', async () => {
    messages.push(...stand.deps.device.heard());
    return messages.some(({ kind }) => kind === 'notify');
  });
  return { messages };
}

const regionOf = ({ deps }: Stand): string => deps.facts.thingArn.split(':')[3] ?? '';

/** Below a second it is the network. */
const roughly = (ms: number): number => (ms < 1000 ? 0 : Math.round(ms / 500) * 500);

/** The switches of all that was found, as options of `evenkeel simulate`, where they are not the defaults. */
export function optionsOf(switches: Partial<Switches>): string[] {
  return Object.entries(switches)
    .filter(([name, value]) => value !== DEFAULT_SWITCHES[name as keyof Switches])
    .map(([name, value]) => `--switch ${name}=${String(value)}`);
}
