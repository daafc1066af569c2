import { isDeepStrictEqual, parseArgs } from 'node:util';
import {
  CancelJobExecutionCommand,
  CreateJobCommand,
  CreateThingCommand,
  DescribeJobExecutionCommand,
  IoTClient,
} from '@aws-sdk/client-iot';
import { GetThingShadowCommand, IoTDataPlaneClient } from '@aws-sdk/client-iot-data-plane';
import { systemClock } from '../../src/host/clock.ts';
import { type Simulator, startSimulator } from '../../src/simulator/index.ts';
import {
  createDevice,
  type Device,
  type Site,
  startSite,
  TEST_TRANSPORTS,
  updateDocument,
} from '../support/device.ts';
import { until } from '../support/until.ts';
import { isAlive, processTree, type SeenProcess } from './processes.ts';
import { act, brokenClaims, holds, list, listChanges, say } from './stage.ts';

/** The promise, kept four times before your eyes: a simulator, a device with a real agent, and the AWS SDK. */

const LONG_SECONDS = 60;
const SHORT_SECONDS = 1;

/** `npm run demo -- --transport aws-sdk` */
const { transport } = parseArgs({ options: { transport: { type: 'string' } } }).values;
if (transport !== undefined && !TEST_TRANSPORTS.some((known) => known === transport))
  throw new Error(`--transport: must be one of ${TEST_TRANSPORTS.join(', ')}`);

interface Scene {
  simulator: Simulator;
  site: Site;
  iot: IoTClient;
  data: IoTDataPlaneClient;
}

async function open(): Promise<Scene> {
  const simulator = await startSimulator({ clock: systemClock });
  const client = {
    endpoint: simulator.httpUrl,
    region: 'us-east-1',
    credentials: { accessKeyId: 'demo', secretAccessKey: 'demo' },
  };
  return {
    simulator,
    site: await startSite(),
    iot: new IoTClient(client),
    data: new IoTDataPlaneClient(client),
  };
}

async function newDevice({ simulator, iot }: Scene, thing: string): Promise<Device> {
  await iot.send(new CreateThingCommand({ thingName: thing }));
  return createDevice(thing, simulator.mqttUrl, {
    jobs: { requestTimeoutSeconds: 1 },
    ...(transport !== undefined && { connection: { transport } }),
  });
}

function createJob({ iot }: Scene, device: Device, jobId: string, document: object): Promise<unknown> {
  return iot.send(
    new CreateJobCommand({
      jobId,
      targets: [`arn:aws:iot:us-east-1:123456789012:thing/${device.thing}`],
      document: JSON.stringify(document),
    }),
  );
}

async function describe({ iot }: Scene, device: Device, jobId: string) {
  const { execution } = await iot.send(new DescribeJobExecutionCommand({ jobId, thingName: device.thing }));
  return execution;
}

async function status(scene: Scene, device: Device, jobId: string): Promise<string | undefined> {
  return (await describe(scene, device, jobId))?.status;
}

/** Waits until the fourth step, the long command, has begun its work. */
async function inTheMiddle(scene: Scene, device: Device, jobId: string): Promise<void> {
  await until('the long command', async () =>
    (await device.files()).some((line) => line.startsWith('var/migrate.log')),
  );
  await until('its report', async () =>
    (await describe(scene, device, jobId))?.statusDetails?.detailsMap?.['step']?.includes('migrate'),
  );
}

async function forceCancel(scene: Scene, device: Device, jobId: string): Promise<void> {
  const { versionNumber } = (await describe(scene, device, jobId)) ?? {};
  await scene.iot.send(
    new CancelJobExecutionCommand({
      jobId,
      thingName: device.thing,
      force: true,
      expectedVersion: versionNumber,
      statusDetails: { reason: 'the operator said stop' },
    }),
  );
}

interface ReceiptSeen {
  jobId: string;
  outcome: string;
  deviceState: string;
  verified: boolean;
  cloudStatus: string;
  undone: string[];
}

function receiptOf({ data }: Scene, device: Device, jobId: string): Promise<ReceiptSeen> {
  return until('a receipt', async () => {
    try {
      const { payload } = await data.send(
        new GetThingShadowCommand({ thingName: device.thing, shadowName: 'evenkeel' }),
      );
      const shadow = JSON.parse(Buffer.from(payload ?? []).toString()) as {
        state: { reported: { receipt: ReceiptSeen } };
      };
      return shadow.state.reported.receipt.jobId === jobId ? shadow.state.reported.receipt : undefined;
    } catch {
      return undefined;
    }
  });
}

async function rolledBack(
  scene: Scene,
  device: Device,
  jobId: string,
  old: readonly string[],
  processes: readonly SeenProcess[],
): Promise<void> {
  const receipt = await receiptOf(scene, device, jobId);
  const after = await device.files();
  listChanges(old, after);
  holds('the device is as it was, file by file', isDeepStrictEqual(after, old));
  const left = await Promise.all([...processes, ...(await commandOf(device))].map(isAlive));
  holds('no process of the job is alive', !left.includes(true));
  holds('the cloud says CANCELED', (await status(scene, device, jobId)) === 'CANCELED');
  const { outcome, deviceState, verified, undone } = receipt;
  say(`receipt in the shadow: ${JSON.stringify({ outcome, deviceState, verified, undone })}`);
  holds('the receipt says so too', outcome === 'rolledBack' && deviceState === 'old' && verified);
}

/** The long command with its children. */
function commandOf(device: Device): Promise<SeenProcess[]> {
  return processTree(device.path('var/migrate.log'));
}

function names(processes: readonly SeenProcess[]): string {
  return processes.map(({ name, pid }) => `${name} (${pid})`).join(', ');
}

async function committed(scene: Scene, device: Device, jobId: string, old: readonly string[]): Promise<void> {
  await until(`${jobId} SUCCEEDED`, async () => (await status(scene, device, jobId)) === 'SUCCEEDED');
  await until(
    'the undo data to go',
    async () => !(await device.files()).some((line) => line.includes('.evenkeel-')),
  );
  const after = await device.files();
  listChanges(old, after);
  holds('the cloud says SUCCEEDED', (await status(scene, device, jobId)) === 'SUCCEEDED');
  const migrated = after.some((line) => line.startsWith('var/migrate.log 644 15 bytes'));
  holds('the device is new', after.includes('current -> releases/2') && migrated);
  holds('the undo data is gone', !after.some((line) => line.includes('.evenkeel-')));
}

async function actOne(scene: Scene): Promise<void> {
  act(
    'Act 1. A job is cancelled by force in the middle of its fourth step; the next one waits until all is back.',
  );
  const device = await newDevice(scene, 'boat-1');
  try {
    const old = await device.files();
    say('before:');
    list(old);
    await device.start();
    await createJob(scene, device, 'update-1', updateDocument(device, scene.site, LONG_SECONDS));
    await createJob(scene, device, 'next-1', {
      version: '1.0',
      steps: [{ action: { name: 'look', type: 'runCommand', input: { command: 'true' } } }],
    });
    await inTheMiddle(scene, device, 'update-1');
    say('during the long command, against before:');
    listChanges(old, await device.files());
    const processes = await commandOf(device);
    say(`its processes: ${names(processes)}`);
    holds('the second job waits', (await status(scene, device, 'next-1')) === 'QUEUED');
    await forceCancel(scene, device, 'update-1');
    say('CancelJobExecution(force: true) sent; AWS refuses every word of the device from now on');
    await rolledBack(scene, device, 'update-1', old, processes);
    await until('next-1 SUCCEEDED', async () => (await status(scene, device, 'next-1')) === 'SUCCEEDED');
    holds('then the second job ran, and SUCCEEDED', true);
  } finally {
    await device.stop('SIGTERM');
    await device.remove();
  }
}

async function actTwo(scene: Scene): Promise<void> {
  act('Act 2. The agent is killed in the middle of a step, and the job is cancelled while it is dead.');
  const device = await newDevice(scene, 'boat-2');
  try {
    const old = await device.files();
    await device.start();
    await createJob(scene, device, 'update-2', updateDocument(device, scene.site, LONG_SECONDS));
    await inTheMiddle(scene, device, 'update-2');
    await device.stop('SIGKILL');
    const orphans = await commandOf(device);
    say(`agent killed (SIGKILL); it leaves ${names(orphans)}`);
    holds('the command outlived the agent', orphans.length > 0);
    await forceCancel(scene, device, 'update-2');
    say('the job is cancelled; nobody is there to hear it');
    await device.start();
    say('the agent starts again');
    await rolledBack(scene, device, 'update-2', old, orphans);
  } finally {
    await device.stop('SIGTERM');
    await device.remove();
  }
}

async function actThree(scene: Scene): Promise<void> {
  act('Act 3. The cancel lands between the last step and the answer to SUCCEEDED, in both orders.');
  const { faults } = scene.simulator;
  const device = await newDevice(scene, 'boat-3');
  try {
    const old = await device.files();
    await device.start();
    let lost = 0;
    const isVote = (request: { thing: string; body: Record<string, unknown> }): boolean =>
      request.thing === device.thing && request.body['status'] === 'SUCCEEDED';
    const stop = faults.onRequest((request) => {
      if (!isVote(request)) return { kind: 'process' };
      lost += 1;
      return { kind: 'drop' };
    });
    await createJob(scene, device, 'update-3', updateDocument(device, scene.site, SHORT_SECONDS));
    await until('the vote', () => lost > 0);
    say('the device has voted SUCCEEDED, the vote is lost on its way, and the cancel is first');
    await forceCancel(scene, device, 'update-3');
    stop();
    await rolledBack(scene, device, 'update-3', old, []);

    let answered = 0;
    const stopAnswers = faults.onAnswer((request) => {
      if (!isVote(request) || answered > 0) return { kind: 'process' };
      answered += 1;
      return { kind: 'drop' };
    });
    await createJob(scene, device, 'update-3b', updateDocument(device, scene.site, SHORT_SECONDS));
    await until('the vote', () => answered > 0);
    say('the vote is first now, and only its answer is lost; then the cancel comes');
    const refused = await forceCancel(scene, device, 'update-3b').then(
      () => 'accepted',
      (error: unknown) => (error as Error).name,
    );
    stopAnswers();
    holds('AWS refuses the cancel', refused === 'InvalidStateTransitionException');
    await committed(scene, device, 'update-3b', old);
  } finally {
    await device.stop('SIGTERM');
    await device.remove();
  }
}

async function actFour(scene: Scene): Promise<void> {
  act('Act 4. The same job, left alone.');
  const device = await newDevice(scene, 'boat-4');
  try {
    const old = await device.files();
    await device.start();
    await createJob(scene, device, 'update-4', updateDocument(device, scene.site, SHORT_SECONDS));
    await committed(scene, device, 'update-4', old);
  } finally {
    await device.stop('SIGTERM');
    await device.remove();
  }
}

const scene = await open();
try {
  for (const play of [actOne, actTwo, actThree, actFour]) await play(scene);
} finally {
  scene.iot.destroy();
  scene.data.destroy();
  await scene.site.close();
  await scene.simulator.close();
}
const broken = brokenClaims();
process.stdout.write(broken === 0 ? '\nThe promise was kept.\n' : `\n${broken} claims did not hold.\n`);
process.exitCode = broken === 0 ? 0 : 1;
