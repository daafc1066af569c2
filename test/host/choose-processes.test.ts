import { expect, test } from 'vitest';
import { chooseProcesses, type ProcessesChoice } from '../../src/host/choose-processes.ts';

test.each<[ProcessesChoice, { booted: boolean; own?: string; euid: number }, 'systemd' | 'group']>([
  ['auto', { booted: true, own: 'evenkeel.service', euid: 0 }, 'systemd'],
  ['auto', { booted: true, own: 'evenkeel.service', euid: 1000 }, 'group'],
  ['auto', { booted: true, euid: 0 }, 'group'],
  ['auto', { booted: false, own: 'evenkeel.service', euid: 0 }, 'group'],
  ['systemd', { booted: true, euid: 0 }, 'systemd'],
  ['systemd', { booted: false, euid: 0 }, 'group'],
  ['systemd', { booted: true, euid: 1000 }, 'group'],
  ['group', { booted: true, own: 'evenkeel.service', euid: 0 }, 'group'],
])('steps.processes %s on %o: %s', async (choice, { booted, own, euid }, kind) => {
  const systemd = { booted: () => Promise.resolve(booted), ownUnit: () => Promise.resolve(own) };
  const chosen = await chooseProcesses(choice, systemd, euid);
  expect(chosen.kind).toBe(kind);
  expect(chosen.reason).not.toBe('');
});
