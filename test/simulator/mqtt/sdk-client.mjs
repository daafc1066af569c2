// Scenario 1 as AWS' own IotJobsClientv2 lives it, in a process of its own: the library keeps a process alive, and
// ends with process.exit alone. Talks to the test by messages: says 'step NAME', and waits to be told to go on.
import { once } from 'node:events';
import { io, iotjobs, mqtt, mqtt5 } from 'aws-iot-device-sdk-v2';

const [url, version, thingName] = process.argv.slice(2);
const { hostname, port } = new URL(url);
const heard = { notify: [], next: [] };
const options = {
  maxRequestResponseSubscriptions: 6,
  maxStreamingSubscriptions: 2,
  operationTimeoutInSeconds: 20,
};

async function connect() {
  if (version === '5') {
    const client = new mqtt5.Mqtt5Client({
      hostName: hostname,
      port: Number(port),
      connectProperties: { clientId: `sdk-${thingName}`, keepAliveIntervalSeconds: 60 },
    });
    const connected = once(client, 'connectionSuccess');
    client.start();
    await connected;
    return iotjobs.IotJobsClientv2.newFromMqtt5(client, options);
  }
  const connection = new mqtt.MqttClient().new_connection({
    client_id: `sdk-${thingName}`,
    host_name: hostname,
    port: Number(port),
    clean_session: true,
    keep_alive: 60,
    socket_options: new io.SocketOptions(),
  });
  await connection.connect();
  return iotjobs.IotJobsClientv2.newFromMqtt311(connection, options);
}

async function opened(stream, into) {
  stream.on('incomingPublish', ({ message }) => into.push(message));
  const established = new Promise((resolve) => stream.on('subscriptionStatus', resolve));
  stream.open();
  await established;
}

const until = async (look) => {
  for (;;) {
    const found = look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};
/** Tells the test, and waits for its word. */
const ask = async (step) => {
  process.send(step);
  await once(process, 'message');
};

const jobs = await connect();
await opened(jobs.createJobExecutionsChangedStream({ thingName }), heard.notify);
await opened(jobs.createNextJobExecutionChangedStream({ thingName }), heard.next);
const pending = await jobs.getPendingJobExecutions({ thingName });
await ask({ step: 'empty', pending });
await until(() => heard.notify.length === 1 && heard.next.length === 1);
await ask({ step: 'queued', heard });
const started = await jobs.startNextPendingJobExecution({ thingName });
const { jobId } = started.execution;
const described = await jobs.describeJobExecution({ thingName, jobId });
await ask({ step: 'started', started, described, notifies: heard.notify.length });
await jobs.updateJobExecution({ thingName, jobId, status: 'SUCCEEDED' });
await until(() => heard.notify.length === 2 && heard.next.length === 2);
const left = await jobs.getPendingJobExecutions({ thingName });
const refused = await jobs
  .updateJobExecution({ thingName, jobId, status: 'IN_PROGRESS' })
  .catch((error) => error.modeledError);
await ask({ step: 'done', heard, left, refused });
process.exit(0);
