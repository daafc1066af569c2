import { join } from 'node:path';
import { type Admission, admit } from '../agent/admission.ts';
import { readDocument } from '../document/document.ts';
import { type PlanStep, resourceOf } from '../document/plan.ts';
import { bootId } from '../host/boot.ts';
import { systemClock } from '../host/clock.ts';
import { nodeDisk } from '../host/node-disk.ts';
import { createProcessGroups } from '../host/process-group.ts';
import { createSystemd } from '../host/systemd.ts';
import { CommandFailed } from './command-failed.ts';
import { agentSettings, deviceFacts, readConfig, readText, stepSettings } from './settings.ts';

/** `evenkeel check DOCUMENT`: what a job would do here, and what its undo would be worth. Reads only. */
export async function check(path: string, options: { config?: string; json?: boolean }): Promise<void> {
  const config = readConfig(options.config);
  const document = parse(path);
  const facts = deviceFacts(config);
  const settings = agentSettings(config, options.config);
  const processes = createProcessGroups({ clock: systemClock, bootId: await bootId() });
  const admission = await admit(document, {
    facts,
    policy: settings.policy,
    disk: nodeDisk,
    reserveBytes: settings.reserveBytes,
    context: {
      disk: nodeDisk,
      clock: systemClock,
      processes,
      systemd: createSystemd(),
      key: 'check',
      directory: join(settings.stateDirectory, 'executions', 'check'),
      settings: stepSettings(config),
      freshUrl: (step) => Promise.resolve(step.url),
    },
  });
  const read = readDocument(document, facts);
  const planned = read.ok ? read.plan.steps : [];
  const steps = admission.kind === 'admissible' ? admission.plan.steps : planned;
  if (options.json) process.stdout.write(`${JSON.stringify({ admission, steps }, null, 2)}\n`);
  else process.stdout.write(described(steps, admission));
  if (admission.kind === 'refused') process.exitCode = 1;
}

function parse(path: string): unknown {
  try {
    return JSON.parse(readText(path)) as unknown;
  } catch (error) {
    if (error instanceof CommandFailed) throw error;
    throw new CommandFailed(`${path}: is no JSON: ${(error as Error).message}`);
  }
}

function described(steps: readonly PlanStep[], admission: Admission): string {
  const lines = steps.flatMap((step) => {
    const grade = admission.kind === 'admissible' ? admission.grades[step.index] : step.grade;
    const notes = admission.kind === 'admissible' ? (admission.notes[step.index] ?? []) : [];
    return [
      `${step.index + 1}. ${step.name} (${step.type}${step.pivot ? ', pivot' : ''})`,
      `   touches  ${step.touches.map((id) => resourceOf(id).name).join(', ') || 'nothing that it declares'}`,
      `   undo     ${undoWords(step)}`,
      `   grade    ${grade}`,
      ...notes.map((note) => `   note     ${note}`),
    ];
  });
  return `${[...lines, '', verdictWords(admission)].join('\n')}\n`;
}

function undoWords(step: PlanStep): string {
  const command = step.undo ? [`run ${step.undo.join(' ')}`] : [];
  const paths = step.touches.some((id) => id.startsWith('path:'))
    ? ['put its paths back, and compare them']
    : [];
  if (step.type === 'installPackages' || step.type === 'removePackages') {
    return 'bring versions, selections, marks and conffiles back from archives that were secured before';
  }
  if (step.type === 'rotateCertificate') return 'the old certificate, until the commit';
  if (step.type === 'check') return 'none needed';
  if (step.type === 'reboot') return 'none needed; behind the undos of what it touches, one more reboot';
  if (step.type === 'shutdown') return 'none needed: it is done when the job has succeeded';
  if ('units' in step) return 'start or stop what it stopped or started; restart behind all undos';
  return [...command, ...paths].join(', then ') || 'none';
}

function verdictWords(admission: Admission): string {
  switch (admission.kind) {
    case 'admissible':
      return `this device would run it; its undo is worth: ${admission.grade}`;
    case 'waits':
      return `this device would leave it QUEUED for now: ${admission.reason}`;
    case 'refused':
      return `this device would answer REJECTED (${admission.code}): ${admission.reason}`;
  }
}
