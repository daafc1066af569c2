import type { Socket } from 'node:net';
import { join, resolve } from 'node:path';
import { type AgentDeps, createAgent } from '../agent/agent.ts';
import { beginLife, watchLife } from '../agent/life.ts';
import { linkFingerprint } from '../agent/link.ts';
import { bootId, machineId, uptimeMs } from '../host/boot.ts';
import { chooseProcesses, createProcesses } from '../host/choose-processes.ts';
import { systemClock } from '../host/clock.ts';
import { createLog } from '../host/log.ts';
import { nodeDisk } from '../host/node-disk.ts';
import { createNotifier } from '../host/notify.ts';
import { createSystemd } from '../host/systemd.ts';
import { createJobsClient } from '../jobs/client.ts';
import { type ChannelDeps, shadowChannel, topicChannel } from '../receipts/channels.ts';
import { createDelivery } from '../receipts/delivery.ts';
import { countReceipts, openOutbox } from '../receipts/outbox.ts';
import { readRefusals, writeRefusals } from '../receipts/refusals.ts';
import { JournalFailed } from '../store/journal.ts';
import { acquireStateLock, checkStateDirectory } from '../store/state-lock.ts';
import type { TransportTls } from '../transport/port.ts';
import { askForCertificate, wantsCertificate } from './certificate.ts';
import { CommandFailed } from './command-failed.ts';
import { type CommandDeps, ownerCommands, readCommands } from './control/commands.ts';
import { LinkWatch } from './control/link-watch.ts';
import { openReadSocket } from './control/read-socket.ts';
import { forReaders, serveControl } from './control/server.ts';
import { findRivals, inTheWay } from './device-client/rival.ts';
import { startMetrics } from './metrics/metrics.ts';
import { openTransport } from './open-transport.ts';
import { createCertificates } from './rotation.ts';
import {
  agentSettings,
  deviceFacts,
  HEALTHY_AFTER_MS,
  readConfig,
  stepSettings,
  tlsOptions,
  transportOptions,
  withGivenThing,
} from './settings.ts';
import { openLibrary } from './story/library.ts';
import { packageVersion } from './version.ts';
import { keepTelling, statusText, watchedDisk } from './watchdog.ts';

/**
 * `evenkeel run`: wires the agent to this machine, and owns the signals. Returns when drained by SIGTERM or SIGINT.
 * `onRecord` hears of each journal record as soon as it is durable.
 */
export async function run(options: { config?: string }, onRecord?: AgentDeps['onRecord']): Promise<void> {
  const configPath = options.config === undefined ? undefined : resolve(options.config);
  const configured = readConfig(configPath);
  const { directory: stateDirectory } = configured.state;
  await checkStateDirectory(nodeDisk, stateDirectory).catch(asFailure);
  let serve = (socket: Socket): void => void socket.destroy();
  const lock = await acquireStateLock(nodeDisk, stateDirectory, (socket) => serve(socket)).catch(asFailure);
  const rootLog = createLog(configured.logLevel);
  const notifier = createNotifier();
  const over = new AbortController();
  const watched = watchedDisk(nodeDisk, systemClock);
  let status = (): string => 'starts';
  const answers = () => nodeDisk.room(stateDirectory);
  const { waitMs: journalWaitMs } = watched;
  void keepTelling(
    { notifier, clock: systemClock, status: () => status(), answers, journalWaitMs },
    over.signal,
  );
  // Before anything that depends on the name of the thing.
  if (wantsCertificate(configured)) {
    // It may take as long as there is no network, and nothing is to wait for that.
    status = () => 'asks for a certificate of its own';
    notifier.tell('READY=1');
    await askForCertificate(configured, rootLog).catch(asFailure);
  }
  const config = withGivenThing(configured);
  const { clientId = config.thing } = config.connection;
  const inWay = inTheWay(await findRivals(), config.thing, clientId);
  if (inWay !== undefined) throw new CommandFailed(inWay);
  const settings = agentSettings(config, configPath);
  const log = rootLog.child({ thing: config.thing });
  const linkWatch = new LinkWatch(systemClock);
  const metrics = await startMetrics({
    file: config.metrics.file,
    stateDirectory: settings.stateDirectory,
    version: packageVersion(),
    disk: nodeDisk,
    clock: systemClock,
    log,
  });
  let usedTls: TransportTls | undefined;
  const currentTls = (): TransportTls => {
    usedTls = tlsOptions(config);
    return usedTls;
  };
  const linkOptions = { ...transportOptions(config), currentTls };
  const transport = await openTransport(config.connection.transport, linkOptions, {
    clock: systemClock,
    log: (event, fields) => {
      linkWatch.heard(event, fields);
      metrics.heard(event);
      log.info(fields, event);
    },
  }).catch(asFailure);
  const [boot, machine] = await Promise.all([bootId(), machineId()]);

  const jobs = createJobsClient(transport, config.thing, {
    clock: systemClock,
    requestTimeoutMs: settings.requestTimeoutMs,
    log,
  });
  const outbox = await openOutbox(nodeDisk, join(settings.stateDirectory, 'outbox'), log);
  const channelDeps: ChannelDeps = {
    thing: config.thing,
    jobs,
    transport,
    clock: systemClock,
    requestTimeoutMs: settings.requestTimeoutMs,
  };
  const { shadow, topic } = config.receipts;
  const delivery = createDelivery({
    outbox,
    channels: [
      ...(shadow ? [shadowChannel(channelDeps)] : []),
      ...(topic === undefined ? [] : [topicChannel(topic, channelDeps)]),
    ],
    transport,
    clock: systemClock,
    log,
    refused: await readRefusals(nodeDisk, settings.stateDirectory),
    saveRefused: (refused) => writeRefusals(nodeDisk, settings.stateDirectory, refused),
    onDelivered: () => metrics.touch(),
  });
  const systemd = createSystemd();
  const chosen = await chooseProcesses(config.steps.processes, systemd, process.geteuid?.() ?? 0);
  const processes = await createProcesses(chosen, systemd, { clock: systemClock, log });
  const certificates = await createCertificates(config, transport, () => usedTls, log);
  const agent = createAgent({
    settings,
    transport,
    jobs,
    outbox,
    drainOutbox: delivery.look,
    disk: watched.disk,
    clock: systemClock,
    processes,
    systemd,
    stepContext: (key, directory) => ({
      disk: nodeDisk,
      clock: systemClock,
      processes,
      systemd,
      key,
      directory,
      settings: stepSettings(config),
      ...(certificates && { certificates }),
    }),
    linkFingerprint,
    facts: deviceFacts(config),
    bootId: boot,
    uptimeMs,
    machineId: machine,
    agentVersion: packageVersion(),
    log,
    onRecord: (key, record) => {
      onRecord?.(key, record);
      metrics.onRecord(key, record);
    },
    onTurn: metrics.onTurn.bind(metrics),
    onRejected: metrics.onRejected.bind(metrics),
  });

  const commandDeps: CommandDeps = {
    facts: {
      version: packageVersion(),
      pid: process.pid,
      thing: config.thing,
      mode: config.mode,
      startedAt: new Date(systemClock.wallMs()).toISOString(),
    },
    agent,
    jobs,
    transport,
    clock: systemClock,
    link: () => linkWatch.status(transport, transportOptions(config)),
    refusedChannels: () => readRefusals(nodeDisk, settings.stateDirectory),
    receiptsWaiting: () => countReceipts(nodeDisk, settings.stateDirectory),
    library: openLibrary(nodeDisk, settings.stateDirectory),
    requestTimeoutMs: settings.requestTimeoutMs,
  };
  const reads = readCommands(commandDeps);
  const acts = ownerCommands(commandDeps);
  const controlDeps = { clock: systemClock, log };
  serve = serveControl({ ...reads, ...acts }, controlDeps);
  const closeReaders = await openReadSocket(
    config.control,
    serveControl(forReaders(reads, acts), controlDeps),
    { log },
  );

  let draining = false;
  const drain = (signal: NodeJS.Signals): void => {
    if (draining) return;
    draining = true;
    log.info({ signal }, 'draining');
    notifier.tell('STOPPING=1');
    agent.drain().catch(() => undefined);
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, drain);
  // Another version was installed, or another configuration: systemd starts it when no job is in the middle.
  process.on('SIGHUP', () => {
    log.info({}, 'leaving at the next edge');
    agent.leave().catch(() => undefined);
  });
  const life = await beginLife(
    { disk: nodeDisk, stateDirectory: settings.stateDirectory, log },
    { bootId: boot, uptimeMs: await uptimeMs() },
    transportOptions(config).backoff.lostMs,
  );
  watchLife(life, transport, systemClock, HEALTHY_AFTER_MS);
  agent.start();
  transport.start(life.connectWithinMs);
  status = () => statusText(agent.status());
  notifier.tell('READY=1');
  const { url, transport: library } = config.connection;
  log.info(
    { version: packageVersion(), mode: config.mode, url, transport: library, processes: chosen.kind },
    'evenkeel runs',
  );
  try {
    await agent.done;
  } catch (error) {
    log.error({ error: String(error) }, 'the agent cannot go on');
    // Design section 6: what is on disk is not known, and nothing of this process may touch the device any more.
    if (error instanceof JournalFailed) process.kill(process.pid, 'SIGKILL');
    process.exit(1);
  }
  over.abort();
  delivery.close();
  jobs.close();
  await transport.close();
  await life.proved();
  await metrics.close();
  await closeReaders();
  await lock.release();
  log.info({}, 'drained');
  // The CRT keeps a process alive until the collector has found its clients, if it ever does.
  if (config.connection.transport === 'aws-sdk') process.exit();
}

function asFailure(error: unknown): never {
  throw new CommandFailed((error as Error).message);
}
