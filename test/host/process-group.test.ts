import { bootId } from '../../src/host/boot.ts';
import { systemClock } from '../../src/host/clock.ts';
import { createProcessGroups } from '../../src/host/process-group.ts';
import { processesContract } from './processes-contract.ts';

processesContract('process groups', async () =>
  createProcessGroups({ clock: systemClock, bootId: await bootId() }),
);
