import { describe, expect, test } from 'vitest';
import { readDocument } from '../../src/document/document.ts';

/** AWS' managed templates and Device Client's documents run as they are: a stock handler's name is a built-in step. */

const read = (input: object) =>
  readDocument(
    { version: '1.0', steps: [{ action: { name: 'x', type: 'runHandler', input } }] },
    { thing: 't' },
  );

describe.each([
  ['install-packages.sh', { type: 'installPackages', packages: ['nginx', 'curl'] }],
  ['remove-packages.sh', { type: 'removePackages', packages: ['nginx', 'curl'], purge: true }],
  ['start-services.sh', { type: 'startServices', units: ['nginx.service', 'curl.service'] }],
  ['stop-services.sh', { type: 'stopServices', units: ['nginx.service', 'curl.service'] }],
  ['restart-services.sh', { type: 'restartServices', units: ['nginx.service', 'curl.service'] }],
])('%s', (handler, step) => {
  test.each([
    ['of a template', ['nginx curl'], ''],
    ['of a sample', ['nginx', 'curl'], 'default'],
  ])('%s', (_, args, path) => {
    expect(read({ handler, args, path })).toMatchObject({ ok: true, plan: { steps: [step] } });
  });

  test.each([[[]], [['-y']], [['nginx', '../x']], [['nginx;reboot']]])('not with %j', (args) => {
    expect(read({ handler, args })).toMatchObject({
      ok: false,
      problems: [{ path: 'steps[0].action.input.args' }],
    });
  });
});

test('download-file.sh is a download', () => {
  const args = ['https://h/f?x=1', '/opt/f'];
  expect(read({ handler: 'download-file.sh', args })).toMatchObject({
    ok: true,
    plan: { steps: [{ type: 'downloadFile', target: '/opt/f', urlHasQuery: true, grade: 'full' }] },
  });
});

test('a sha256 that the document adds to it is the one of the download', () => {
  const sha256 = 'a'.repeat(64);
  const input = { handler: 'download-file.sh', args: ['https://h/f', '/opt/f'] };
  const action = { name: 'x', type: 'runHandler', input, sha256 };
  expect(readDocument({ version: '1.0', steps: [{ action }] }, {})).toMatchObject({
    plan: { steps: [{ type: 'downloadFile', sha256 }] },
  });
});

test('reboot.sh ends the boot in its place, shutdown.sh behind the commit', () => {
  expect(read({ handler: 'reboot.sh', path: '' })).toMatchObject({
    ok: true,
    plan: { grade: 'full', steps: [{ type: 'reboot', endsBoot: true }] },
  });
  expect(read({ handler: 'shutdown.sh' })).toMatchObject({
    ok: true,
    plan: { steps: [{ type: 'shutdown', finishEndsBoot: true }] },
  });
});

test('what is only called like a part of an object is a handler of the site', () => {
  expect(read({ handler: 'constructor' })).toMatchObject({
    ok: true,
    plan: { steps: [{ type: 'runHandler' }] },
  });
});
