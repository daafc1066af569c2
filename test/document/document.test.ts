import { fc, test as property } from '@fast-check/vitest';
import { describe, expect, test } from 'vitest';
import { defaultConfig } from '../../src/config/config.ts';
import { readDocument, sameDocument, withoutUrlQueries } from '../../src/document/document.ts';
import { policyProblems } from '../../src/document/policy.ts';

const FACTS = { thing: 'boat-1', model: 'pi4' };

function job(action: object, more: object = {}): object {
  return { version: '1.0', steps: [{ action: { name: 'one', ...action } }], ...more };
}

function stepOf(action: object) {
  const read = readDocument(job(action), FACTS);
  if (!read.ok) throw new Error(JSON.stringify(read.problems));
  return read.plan.steps[0];
}

function problemsOf(document: unknown): string[] {
  const read = readDocument(document, FACTS);
  return read.ok ? [] : read.problems.map(({ path, reason }) => `${path}: ${reason}`);
}

describe('documents of AWS IoT Device Client', () => {
  test('a command is split at commas, and a backslash keeps one', () => {
    const step = stepOf({ type: 'runCommand', input: { command: 'echo, one\\, two ,three' } });
    expect(step).toMatchObject({ argv: ['echo', 'one, two', 'three'], grade: 'none' });
  });

  test('booleans may be text, and empty parameters are absent', () => {
    const step = stepOf({
      type: 'runHandler',
      input: { handler: 'site.sh', args: ['a'], path: '' },
      runAsUser: '',
      ignoreStepFailure: 'true',
    });
    expect(step).toMatchObject({ handler: 'site.sh', args: ['a'], ignoreFailure: true });
    expect(step).not.toHaveProperty('runAsUser');
    expect(step).not.toHaveProperty('directory');
  });

  test('a final step is the last step', () => {
    const read = readDocument(
      job(
        { type: 'runCommand', input: { command: 'true' } },
        {
          finalStep: { action: { name: 'last', type: 'runCommand', input: { command: 'sync' } } },
        },
      ),
      FACTS,
    );
    expect(read).toMatchObject({
      ok: true,
      plan: { steps: [{ index: 0 }, { index: 1, path: 'finalStep.action' }] },
    });
  });

  test('the old form is one handler', () => {
    const read = readDocument({ operation: 'site.sh', args: ['a', 'b'] }, FACTS);
    expect(read).toMatchObject({
      ok: true,
      plan: { dialect: 'operation', steps: [{ type: 'runHandler', handler: 'site.sh', args: ['a', 'b'] }] },
    });
  });

  test('conditions are compared with what the device is', () => {
    const action = { type: 'runCommand', input: { command: 'true' } };
    const when = (value: string): object => ({
      conditions: [{ conditionKey: 'model', conditionValue: [value], type: 'stringEqual' }],
    });
    expect(problemsOf(job(action, when('pi4')))).toEqual([]);
    expect(problemsOf(job(action, when('pi5')))).toEqual([
      'conditions[0].conditionKey: this device has model=pi4',
    ]);
    const short = (...value: string[]): object => ({ conditions: [{ key: 'model', value }] });
    expect(problemsOf(job(action, short('pi3', 'pi4')))).toEqual([]);
    expect(problemsOf(job(action, short('pi5')))).toEqual(['conditions[0].key: this device has model=pi4']);
    expect(problemsOf(job(action, { conditions: [{ value: ['pi4'] }] }))).toEqual([
      'conditions[0].key: is missing',
    ]);
  });

  test('what nobody knows is ignored', () => {
    expect(
      problemsOf(job({ type: 'runCommand', input: { command: 'true', more: 1 }, other: 2 }, { x: 3 })),
    ).toEqual([]);
  });
});

describe('what is wrong is named with its place', () => {
  test.each([
    [{}, 'version: must be "1.0"'],
    [
      job({ type: 'downloadFile', input: { url: 'ftp://x', path: '/a' } }),
      'steps[0].action.input.url: must be an https URL',
    ],
    [
      job({ type: 'writeFile', input: { path: 'etc/x' } }),
      'steps[0].action.input.path: must be an absolute path',
    ],
    [
      job({ type: 'removeFile', input: { path: '/proc/1' } }),
      'steps[0].action.input.path: must not be under /proc',
    ],
    [
      job({ type: 'removeFile', input: { path: '/a/../b' } }),
      'steps[0].action.input.path: must be a path without ., .., // or a trailing /',
    ],
    [job({ type: 'fly' }), 'steps[0].action.type: is not known: "fly"'],
    [
      job({ type: 'runCommand', input: { command: 'a b' } }),
      'steps[0].action.input.command: the program must not contain white space: separate arguments by commas',
    ],
    [
      job({ type: 'runHandler', input: { handler: '../x' } }),
      'steps[0].action.input.handler: must be a plain file name',
    ],
  ])('%j', (document, problem) => {
    expect(problemsOf(document)).toContain(problem);
  });

  test('behind a pivot only what can be tried again may follow', () => {
    const command = (name: string, more: object): object => ({
      action: { name, type: 'runCommand', input: { command: 'true' }, ...more },
    });
    const steps = [command('a', { pivot: true, idempotent: true }), command('b', {})];
    expect(problemsOf({ version: '1.0', steps })).toEqual([
      'steps[1].action: must be idempotent: from the pivot on the job goes only forward',
    ]);
  });
});

test('policy names the rule and the place', () => {
  const read = readDocument(
    job({ type: 'downloadFile', input: { url: 'http://h/f', path: '/boot/x' } }),
    FACTS,
  );
  if (!read.ok) throw new Error('not read');
  expect(policyProblems(read.plan, defaultConfig().policy)).toEqual([
    { path: 'steps[0].action.input.url', rule: 'policy.allowHttp: the url must be https' },
    { path: 'steps[0].action.input.path', rule: 'policy.deniedPaths forbids /boot/x (/boot)' },
  ]);
});

describe('policy names the rule and the place in the document', () => {
  const command = { type: 'runCommand', input: { command: 'sh,-c,x' } };
  const stockDownload = {
    type: 'runHandler',
    input: { handler: 'download-file.sh', args: ['https://example.com/f', '/srv/f'] },
  };
  test.each<[string, object, object, string, string]>([
    [
      'allowedSteps',
      { allowedSteps: ['writeFile'] },
      command,
      'type',
      'policy.allowedSteps does not allow runCommand',
    ],
    [
      'allowedCommands',
      { allowedCommands: ['/usr/bin/app'] },
      command,
      'input.command',
      'policy.allowedCommands does not allow sh',
    ],
    [
      'allowedCommands of an undo',
      { allowedCommands: ['sh'] },
      { ...command, undo: ['rm'] },
      'undo',
      'policy.allowedCommands does not allow rm',
    ],
    [
      'allowedCommands of a check',
      { allowedCommands: ['app'] },
      { type: 'check', input: { command: 'sh' } },
      'input.command',
      'policy.allowedCommands does not allow sh',
    ],
    [
      'allowedUsers',
      { allowedUsers: ['app'] },
      { ...command, runAsUser: 'root' },
      'runAsUser',
      'policy.allowedUsers does not allow root',
    ],
    [
      'allowedHandlers',
      { allowedHandlers: ['a.sh'] },
      { type: 'runHandler', input: { handler: 'b.sh' } },
      'input.handler',
      'policy.allowedHandlers does not allow b.sh',
    ],
    [
      'allowedHandlers elsewhere',
      { allowedHandlers: ['a.sh'] },
      { type: 'runHandler', input: { handler: 'a.sh', path: '/opt' } },
      'input.path',
      'policy.allowedHandlers allows none of another directory, such as /opt',
    ],
    [
      'allowedHosts',
      { allowedHosts: ['*.example.com'] },
      { type: 'downloadFile', input: { url: 'https://example.com/f', path: '/f' } },
      'input.url',
      'policy.allowedHosts does not allow example.com',
    ],
    [
      'allowedHosts of a check',
      { allowedHosts: ['h'] },
      { type: 'check', input: { url: 'https://h.evil/f' } },
      'input.url',
      'policy.allowedHosts does not allow h.evil',
    ],
    [
      'allowedPaths',
      { allowedPaths: ['/opt/app'] },
      { type: 'writeFile', input: { path: '/opt/apple', content: '' } },
      'input.path',
      'policy.allowedPaths does not allow /opt/apple',
    ],
    [
      'allowedPaths of an image',
      { allowedPaths: ['/opt'] },
      { ...command, snapshotPaths: ['/etc/x'] },
      'snapshotPaths',
      'policy.allowedPaths does not allow /etc/x',
    ],
    [
      'allowedPaths of a link',
      { allowedPaths: ['/opt'] },
      { type: 'switchLink', input: { link: '/x', target: '/opt' } },
      'input.link',
      'policy.allowedPaths does not allow /x',
    ],
    [
      'deniedPaths of what they are in',
      { deniedPaths: ['/etc/evenkeel'] },
      { type: 'removeFile', input: { path: '/etc' } },
      'input.path',
      'policy.deniedPaths forbids /etc (/etc/evenkeel)',
    ],
    [
      'allowedPaths of a stock handler',
      { allowedPaths: ['/opt'] },
      stockDownload,
      'input.args',
      'policy.allowedPaths does not allow /srv/f',
    ],
    [
      'allowedHosts of a stock handler',
      { allowedHosts: ['other'] },
      stockDownload,
      'input.args',
      'policy.allowedHosts does not allow example.com',
    ],
    [
      'requireSha256 of a stock handler',
      { requireSha256: true },
      stockDownload,
      'sha256',
      'policy.requireSha256: the download names no sha256',
    ],
    [
      'allowedSteps of a stock handler',
      { allowedSteps: ['writeFile'] },
      stockDownload,
      'input.handler',
      'policy.allowedSteps does not allow downloadFile',
    ],
    [
      'allowedSteps of a handler of its own',
      { allowedSteps: ['writeFile'] },
      { type: 'runHandler', input: { handler: 'own.sh' } },
      'type',
      'policy.allowedSteps does not allow runHandler',
    ],
  ])('%s', (_, change, action, place, rule) => {
    const read = readDocument(job(action), FACTS);
    if (!read.ok) throw new Error('not read');
    const policy = { ...defaultConfig().policy, deniedPaths: [], ...change };
    expect(policyProblems(read.plan, policy)).toEqual([{ path: `steps[0].action.${place}`, rule }]);
    expect(policyProblems(read.plan, { ...policy, ...open })).toEqual([]);
  });
  test.each<[string, object, object, string, string]>([
    [
      'the path of a download',
      { allowedPaths: ['/opt'] },
      { operation: 'download-file.sh', args: ['https://example.com/f', '/srv/f'] },
      'args',
      'policy.allowedPaths does not allow /srv/f',
    ],
    [
      'a handler',
      { allowedHandlers: ['x'] },
      { operation: 'own.sh' },
      'operation',
      'policy.allowedHandlers does not allow own.sh',
    ],
    [
      'the directory of a handler',
      { allowedHandlers: ['own.sh'] },
      { operation: 'own.sh', path: '/home/x' },
      'path',
      'policy.allowedHandlers allows none of another directory, such as /home/x',
    ],
    [
      'a type',
      { allowedSteps: ['writeFile'] },
      { operation: 'reboot.sh' },
      'operation',
      'policy.allowedSteps does not allow reboot',
    ],
  ])('in the form before 1.0, where there is no input: %s', (_, change, document, place, rule) => {
    const read = readDocument(document, FACTS);
    if (!read.ok) throw new Error('not read');
    const policy = { ...defaultConfig().policy, deniedPaths: [], ...change };
    expect(policyProblems(read.plan, policy)).toEqual([{ path: place, rule }]);
  });
  const open = {
    ...{ allowedSteps: [], allowedCommands: [], allowedUsers: [], allowedHandlers: [], allowedHosts: [] },
    ...{ allowedPaths: [], deniedPaths: [], requireSha256: false },
  };

  test('and a host below an allowed one is allowed', () => {
    const read = readDocument(
      job({ type: 'downloadFile', input: { url: 'https://a.example.com/f', path: '/f' } }),
      FACTS,
    );
    if (!read.ok) throw new Error('not read');
    expect(policyProblems(read.plan, { ...defaultConfig().policy, allowedHosts: ['*.example.com'] })).toEqual(
      [],
    );
  });
});

test('J14: no query of a URL is kept, and it makes no difference', () => {
  const of = (query: string): object => ({ a: [`https://h/f${query}`, `get https://h/g${query} now`] });
  expect(JSON.stringify(withoutUrlQueries(of('?secret=1')))).not.toContain('secret');
  expect(sameDocument(of('?a=1'), of('?b=2'))).toBe(true);
  expect(sameDocument(of(''), { a: [] })).toBe(false);
});

const keys = fc.constantFrom(
  'version',
  'steps',
  'action',
  'type',
  'input',
  'command',
  'handler',
  'args',
  'url',
  'path',
  'name',
  'operation',
  'conditions',
  'finalStep',
  'snapshotPaths',
  'undo',
  'pivot',
);
const leaves = fc.oneof(
  fc.constantFrom(
    '1.0',
    'runCommand',
    'runHandler',
    'writeFile',
    'check',
    'downloadFile',
    'switchLink',
    'removeFile',
    '/a',
    'https://h/f',
    '',
  ),
  fc.string(),
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
);
const almostDocuments = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    leaves,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(keys, tie('value'), { maxKeys: 6 }),
  ),
})).value;

property.prop([fc.oneof(almostDocuments, fc.jsonValue(), fc.anything())], { numRuns: 3000 })(
  'I9: whatever a document is, it is a frozen plan or problems with places, never a throw',
  (document) => {
    const read = readDocument(document, FACTS);
    if (read.ok) expect(Object.isFrozen(read.plan.steps)).toBe(true);
    else expect(read.problems.length).toBeGreaterThan(0);
  },
);
