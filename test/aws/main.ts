import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { DescribeEndpointCommand, IoTClient } from '@aws-sdk/client-iot';
import { IoTJobsDataPlaneClient } from '@aws-sdk/client-iot-jobs-data-plane';
import { cleanUp, NAME_PREFIX } from './account.ts';
import { measureAccount, reportOf } from './measure.ts';

/**
 * `npm run test:aws`: measures on a real account what no public source settles, and says which switches make the
 * simulator behave like it. It makes a thing, a group, a policy, a certificate and some twenty jobs, and removes them.
 */

const USAGE = `It makes things in an AWS account, and removes them again. To let it:
  EVENKEEL_TEST_AWS=1 AWS_REGION=eu-west-1 npm run test:aws          (credentials as the AWS CLI finds them)
  EVENKEEL_TEST_AWS=1 AWS_REGION=eu-west-1 npm run test:aws -- --sweep   (removes what an earlier run has left)
`;

async function main(): Promise<number> {
  if (process.env['EVENKEEL_TEST_AWS'] !== '1') {
    process.stderr.write(USAGE);
    return 2;
  }
  const note = (line: string): void => void process.stderr.write(`${line}\n`);
  const iot = new IoTClient({});
  const deps = { iot, note, pause: (ms: number) => sleep(ms) };
  if (process.argv.includes('--sweep')) {
    const left = await cleanUp(iot, NAME_PREFIX, deps);
    for (const one of left) note(`left: ${one}`);
    return left.length === 0 ? 0 : 1;
  }
  const { endpointAddress } = await iot.send(new DescribeEndpointCommand({ endpointType: 'iot:Jobs' }));
  const jobsData = new IoTJobsDataPlaneClient({ endpoint: `https://${endpointAddress}` });
  const stopped = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      note('stopping; what was made is being removed');
      stopped.abort(new Error(signal));
    });
  const measured = await measureAccount(
    { ...deps, jobsData, nowMs: () => performance.now(), signal: stopped.signal },
    randomBytes(4).toString('hex'),
  );
  process.stdout.write(`${reportOf(measured)}\n`);
  return measured.left.length === 0 ? 0 : 1;
}

process.exitCode = await main();
