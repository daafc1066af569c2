import { hostname } from 'node:os';
import { z } from 'zod';

/**
 * The agent's configuration, as `evenkeel.yaml` holds it. Each key carries its meaning; the commented default file and
 * the README's table are made of the same words. Units stand in the names.
 */

const path = z.string().regex(/^\//, 'must be an absolute path');
/** systemd takes any file name as the name of a credential. */
const fileOrCredential = z
  .string()
  .regex(/^(\/|credential:(?!\.{1,2}$)[^/\0]{1,255}$)/, 'must be an absolute path or credential:NAME');
const templateName = z
  .string()
  .regex(/^[0-9A-Za-z_-]{1,36}$/, 'must be a template name: 1 to 36 of a-z A-Z 0-9 _ -')
  .optional();
const seconds = (min: number, max: number) => z.number().min(min).max(max);
const grade = z.enum(['full', 'bestEffort', 'none']);

const pkcs11 = z.strictObject({
  library: path.describe("Shared library of the token's maker."),
  token: z.string().min(1).max(32).optional().describe('Label of the token, where there are several.'),
  slot: z.number().int().min(0).max(0xffff_ffff).optional().describe('Number of its slot, likewise.'),
  pin: z
    .string('must be in quotes, or a number would lose its zeros')
    .min(1)
    .max(256)
    .optional()
    .describe('PIN in quotes, or a file that holds it: a path, or credential:NAME.'),
  key: z.string().min(1).max(255).optional().describe('Label of the private key, where there are several.'),
});

interface KeySettings {
  transport: string;
  privateKey?: string | undefined;
  pkcs11?: object | undefined;
}

/** What is wrong with a key in a token beside the other settings. */
function keyProblem({ transport, privateKey, pkcs11: token }: KeySettings): string | undefined {
  if (token === undefined) return undefined;
  if (privateKey !== undefined) return 'cannot stand beside privateKey: take one of them out';
  if (transport === 'aws-sdk') return undefined;
  return 'needs transport: aws-sdk (npm install aws-crt); transport mqttjs wants the key as a file, privateKey';
}

export const configSchema = z.strictObject({
  thing: z
    .string()
    .regex(/^[a-zA-Z0-9:_-]{1,128}$/, 'must be a thing name: 1 to 128 of a-z A-Z 0-9 : _ -')
    .default(() => hostname().replace(/[^a-zA-Z0-9:_-]/g, '-'))
    .describe('Name of the thing in AWS IoT; the host name by default.'),
  connection: z
    .strictObject({
      url: z
        .string()
        .regex(/^mqtts?:\/\/\S+$/, 'must look like mqtts://host:8883')
        .default('mqtt://127.0.0.1:1883')
        .describe('Broker; at AWS mqtts://ENDPOINT:8883, or :443, which asks for x-amzn-mqtt-ca (ALPN).'),
      transport: z
        .enum(['mqttjs', 'aws-sdk'])
        .default('mqttjs')
        .describe('MQTT library; aws-sdk is the optional package aws-crt, without 32-bit ARM.'),
      mqttVersion: z
        .enum(['5', '3.1.1'])
        .optional()
        .describe('The only version to speak; 5 by default, and 3.1.1 where a broker refuses it.'),
      clientId: z.string().min(1).max(128).optional().describe('MQTT client id; the thing name by default.'),
      certificate: fileOrCredential
        .optional()
        .describe('Client certificate (PEM): a path, or credential:NAME of systemd.'),
      privateKey: fileOrCredential.optional().describe('Its private key (PEM), likewise.'),
      pkcs11: pkcs11
        .optional()
        .describe('Or its private key in a PKCS#11 token, with transport aws-sdk (needs certificate).'),
      ca: fileOrCredential
        .optional()
        .describe('Certificate authorities (PEM), likewise; those of Node.js by default.'),
      serverName: z
        .string()
        .min(1)
        .max(253)
        .optional()
        .describe('Name that the server must prove (SNI); the host of the url by default.'),
      alpn: z
        .array(z.string().min(1).max(255))
        .max(8)
        .optional()
        .describe('Protocols offered in TLS; ["x-amzn-mqtt-ca"] on port 443 by default.'),
      proxy: z
        .string()
        .regex(/^(environment|http:\/\/\S+)$/, 'must look like http://host:port, or be "environment"')
        .optional()
        .describe(
          'HTTP proxy for mqtts, http://[USER:PASSWORD@]HOST:PORT; or "environment": HTTPS_PROXY and NO_PROXY.',
        ),
      username: z.string().max(256).optional().describe('For brokers that want one.'),
      password: z.string().max(256).optional().describe('For brokers that want one.'),
      keepAliveSeconds: seconds(5, 1200).default(60).describe('MQTT keep-alive.'),
      connectTimeoutSeconds: seconds(1, 600).default(30).describe('From DNS to SUBACK.'),
      backoffFirstSeconds: seconds(0.05, 600)
        .default(1)
        .describe('First ceiling of the wait between attempts.'),
      backoffMaxSeconds: seconds(0.05, 3600)
        .default(300)
        .describe('Last ceiling; waits are drawn from 0 to the ceiling.'),
      spreadSeconds: seconds(0, 3600)
        .default(30)
        .describe('First ceiling after a boot and after a lost link, which a whole fleet may have at once.'),
    })
    .superRefine((connection, context) => {
      const message = keyProblem(connection);
      if (message !== undefined) context.addIssue({ code: 'custom', path: ['pkcs11'], message });
    })
    .prefault({}),
  provisioning: z
    .strictObject({
      template: templateName.describe(
        'Fleet provisioning template: a device without a certificate asks for its own at its first start.',
      ),
      claimCertificate: fileOrCredential
        .optional()
        .describe('Claim certificate (PEM) to ask with, likewise.'),
      claimPrivateKey: fileOrCredential.optional().describe('Its private key (PEM), likewise.'),
      parameters: z
        .record(z.string().min(1).max(256), z.string().max(4096))
        .default({})
        .describe('Of the templates; "file:/etc/machine-id" is the text in that file.'),
      keys: z
        .enum(['device', 'cloud'])
        .default('device')
        .describe('Where the key is made; one of the device never leaves it.'),
      rotationTemplate: templateName.describe(
        'Template by which a job may give the device a new certificate (rotateCertificate).',
      ),
      connectWaitSeconds: seconds(1, 86_400)
        .default(120)
        .describe('How long a new certificate is tried before the claim is asked again.'),
    })
    .prefault({}),
  state: z
    .strictObject({
      directory: path.default('/var/lib/evenkeel').describe('Journals and undo data; never on tmpfs.'),
      historyKeep: z
        .number()
        .int()
        .min(0)
        .max(10_000)
        .default(20)
        .describe('Closed executions that are kept for `show`.'),
      reserveMegabytes: z
        .number()
        .int()
        .min(0)
        .max(1_000_000)
        .default(16)
        .describe('Room that a job must leave free.'),
    })
    .prefault({}),
  mode: z
    .enum(['run', 'observe'])
    .default('run')
    .describe('With observe, jobs are planned, surveyed and graded, and nothing is started.'),
  jobs: z
    .strictObject({
      heartbeatSeconds: seconds(1, 86_400)
        .default(300)
        .describe('How late a lost notification may be noticed; twelve times as late when long idle.'),
      stepTimerMinutes: z
        .number()
        .int()
        .min(1)
        .max(10_080)
        .default(1440)
        .describe('How long the device may be silent.'),
      requestTimeoutSeconds: seconds(0.1, 300).default(10).describe('For one answer of the cloud.'),
      queueWaitSeconds: seconds(0, 604_800)
        .default(86_400)
        .describe('How long a job may wait for room and the like.'),
      queueRetrySeconds: seconds(1, 86_400).default(60).describe('How often it is looked at meanwhile.'),
    })
    .prefault({}),
  steps: z
    .strictObject({
      handlerDirectory: path.default('/etc/evenkeel/handlers').describe('Scripts that runHandler may run.'),
      attemptsMax: z
        .number()
        .int()
        .min(1)
        .max(100)
        .default(3)
        .describe('Tries of a step that was interrupted.'),
      processes: z
        .enum(['auto', 'systemd', 'group'])
        .default('auto')
        .describe(
          'How programs run: as transient services of systemd, or as process groups; auto knows which is possible.',
        ),
      memoryMegabytesMax: z
        .number()
        .int()
        .min(1)
        .max(1_000_000)
        .optional()
        .describe('For all processes of a step together; needs systemd.'),
      tasksMax: z
        .number()
        .int()
        .min(2)
        .max(1_000_000)
        .optional()
        .describe('Processes and threads of a step at a time; needs systemd.'),
      noNewPrivileges: z
        .boolean()
        .default(true)
        .describe('Programs under runAsUser gain no rights by setuid programs such as sudo.'),
      graceSeconds: seconds(0, 600).default(10).describe('Between TERM and KILL.'),
      outputBytesMax: z
        .number()
        .int()
        .min(0)
        .max(1_048_576)
        .default(16_384)
        .describe('Kept of stdout and of stderr.'),
      dpkgWaitSeconds: seconds(1, 86_400)
        .default(1800)
        .describe('How long a run of dpkg is waited for at least, before it is taken to hang.'),
      treeEntriesMax: z
        .number()
        .int()
        .min(1)
        .max(1_000_000)
        .default(20_000)
        .describe('Entries of one before-image; a path with more is REJECTED.'),
      treeMegabytesMax: z
        .number()
        .int()
        .min(1)
        .max(1_000_000)
        .default(1024)
        .describe('Size of one before-image; a path with more is REJECTED.'),
      archiveRatioMax: z
        .number()
        .int()
        .min(1)
        .max(100_000)
        .default(200)
        .describe('How many times its own size an archive may unpack to.'),
    })
    .prefault({}),
  undo: z
    .strictObject({
      attemptsMax: z.number().int().min(1).max(100).default(3).describe('Tries of an undo that failed.'),
      timeoutSeconds: seconds(1, 86_400).default(600).describe('For one try.'),
      retrySeconds: seconds(0, 3600).default(5).describe('Between two tries; grows with each.'),
    })
    .prefault({}),
  commit: z
    .strictObject({
      linkWaitSeconds: seconds(1, 604_800)
        .default(600)
        .describe('How long the link may be gone before the vote.'),
      askWaitSeconds: seconds(0, 86_400)
        .default(30)
        .describe('How long a restarted agent waits to hear of a cancel.'),
      inDoubt: z
        .enum(['keep', 'rollBack'])
        .default('keep')
        .describe('Nobody can say whether SUCCEEDED was accepted.'),
      timedOutAfterVote: z
        .enum(['rollBack', 'keep'])
        .default('rollBack')
        .describe('The cloud timed out or removed the job after the vote.'),
      offlinePivot: z
        .enum(['wait', 'rollBack'])
        .default('wait')
        .describe('Without a link before a pivot: wait for it, or roll back after linkWaitSeconds.'),
    })
    .prefault({}),
  policy: z
    .strictObject({
      minGrade: grade.default('none').describe('Jobs whose undo is worth less are REJECTED.'),
      allowHttp: z.boolean().default(false).describe('Plain http for downloads and checks.'),
      requireSha256: z.boolean().default(false).describe('Downloads must carry their sha256.'),
      allowedPaths: z.array(path).default([]).describe('What steps may touch; empty: anything.'),
      deniedPaths: z
        .array(path)
        .default(['/boot', '/etc/evenkeel', '/var/lib/evenkeel'])
        .describe('What they may not, nor what it is in; state.directory is always among them.'),
      allowedUsers: z.array(z.string()).default([]).describe('runAsUser values; empty: any.'),
      allowedSteps: z.array(z.string()).default([]).describe('Types of steps; empty: any.'),
      allowedHandlers: z
        .array(z.string())
        .default([])
        .describe('Handlers, then of steps.handlerDirectory alone; empty: any.'),
      allowedCommands: z
        .array(z.string())
        .default([])
        .describe('Programs of commands, undos and checks, as documents write them; empty: any.'),
      allowedHosts: z
        .array(z.string())
        .default([])
        .describe('Hosts of downloads and checks, "*.example.com" for all below one; empty: any.'),
    })
    .prefault({}),
  receipts: z
    .strictObject({
      shadow: z.boolean().default(true).describe('To the named shadow `evenkeel`.'),
      topic: z.string().min(1).max(256).optional().describe('And to this topic.'),
    })
    .prefault({}),
  control: z
    .strictObject({
      group: z
        .string()
        .regex(/^[^\s:/-][^\s:/]{0,255}$/, 'must be the name of a group')
        .default('evenkeel')
        .describe('Its members may ask the agent what it does, and nothing else; no such group: nobody may.'),
      directory: path.default('/run/evenkeel').describe('Where the socket that they ask stands.'),
    })
    .prefault({}),
  metrics: z
    .strictObject({
      file: path
        .regex(/\.prom$/, 'must end in .prom')
        .optional()
        .describe(
          "For Prometheus' node exporter (textfile collector), best on a tmpfs; absent: nothing is counted.",
        ),
    })
    .prefault({}),
  drainSeconds: seconds(0, 3600).default(20).describe('What SIGTERM gives the step under way.'),
  logLevel: z
    .enum(['debug', 'info', 'warn', 'error', 'silent'])
    .default('info')
    .describe('Least level that is logged.'),
});

export type Config = z.infer<typeof configSchema>;

/** All defaults, as `evenkeel run` has them without a file. */
export function defaultConfig(): Config {
  return configSchema.parse({});
}
