import { type Input, type Operation, type ServiceName } from './operation.ts';
import { accountOperations } from './table/account.ts';
import { iotDataOperations } from './table/iot-data.ts';
import { jobOperations } from './table/jobs.ts';
import { jobsDataOperations } from './table/jobs-data.ts';
import { templateOperations } from './table/templates.ts';
import { thingOperations } from './table/things.ts';

/** Every operation of the three services that is answered here. */
export const OPERATIONS = {
  ...jobOperations,
  ...templateOperations,
  ...thingOperations,
  ...accountOperations,
  ...jobsDataOperations,
  ...iotDataOperations,
};

export type OperationKey = keyof typeof OPERATIONS;
export type InputOf<K extends OperationKey> = Input<(typeof OPERATIONS)[K]>;

/** The name that the API model gives it; two services have a DescribeJobExecution (C8). */
export function nameOf(key: OperationKey): string {
  return key.replace(' (device)', '');
}

export function operationsOf(service: ServiceName): [OperationKey, Operation][] {
  return (Object.entries(OPERATIONS) as [OperationKey, Operation][]).filter(
    ([, one]) => one.service === service,
  );
}
