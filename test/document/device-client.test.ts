import { readdir, readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { readDocument } from '../../src/document/document.ts';

/** Documents as fleets of AWS IoT Device Client have them, in its present form and in its old one. */

const HERE = new URL('device-client/', import.meta.url);
const PACKAGES = ['first-tool', 'second-tool'];
const DOWNLOAD = {
  type: 'downloadFile',
  target: '/srv/Downloaded_File.tar.gz',
  urlHasQuery: true,
  grade: 'full',
};
const OWN = { type: 'runHandler', handler: 'install-app.sh' };

/** What each of them is read into. */
const READ: Record<string, object[]> = {
  'download-file': [{ ...DOWNLOAD, name: 'Download File', runAsUser: 'root' }],
  echo: [{ type: 'check', check: { kind: 'says', text: 'Hello devices!\n' } }],
  'health-check': [{ type: 'check', check: { kind: 'says', text: '' } }],
  'install-packages': [{ type: 'installPackages', packages: PACKAGES }],
  'remove-packages': [{ type: 'removePackages', packages: PACKAGES, purge: true }],
  reboot: [{ type: 'reboot', endsBoot: true }],
  'run-shellcommand': [{ type: 'runCommand', argv: ['mkdir', 'newDir'], runAsUser: 'root', grade: 'none' }],
  'several-steps': [
    { type: 'installPackages', packages: ['first-tool'], ignoreFailure: true },
    {
      type: 'check',
      check: { kind: 'packages', packages: ['first-tool'], installed: true },
      timeoutSeconds: 1,
    },
    { type: 'downloadFile', target: '/srv/downloads/v1.3.tar.gz' },
    { type: 'removePackages', packages: ['first-tool'], purge: true },
  ],
  'verify-removed': [
    { type: 'removePackages', packages: ['first-tool'] },
    { type: 'check', check: { kind: 'packages', packages: ['first-tool'], installed: false } },
  ],
  services: [
    { type: 'restartServices', units: ['app.service'] },
    { type: 'stopServices', units: ['app.service'] },
    { type: 'startServices', units: ['app.service'] },
  ],
  'own-handler': [{ ...OWN, args: ['applicationName', 'active'], stderrLinesMax: 8 }],
  conditions: [{ type: 'check', check: { kind: 'says' } }],
  'old-download-file': [DOWNLOAD],
  'old-echo': [{ type: 'check', check: { kind: 'says', text: '"Hello world!"\n' } }],
  'old-install-packages': [{ type: 'installPackages', packages: PACKAGES }],
  'old-remove-packages': [{ type: 'removePackages', packages: PACKAGES, purge: true }],
  'old-own-handler': [{ ...OWN, args: ['applicationName'] }],
};

test('all of them are read here', async () => {
  const files = await readdir(HERE);
  expect(files.sort()).toEqual(
    Object.keys(READ)
      .map((name) => `${name}.json`)
      .sort(),
  );
});

test.each(Object.keys(READ))('%s', async (name) => {
  const text = await readFile(new URL(`${name}.json`, HERE), 'utf8');
  const document = JSON.parse(text.replaceAll('SITE', '80')) as object;
  const read = readDocument(document, { operatingSystem: 'ubuntu' });
  expect(read).toMatchObject({
    ok: true,
    plan: { dialect: name.startsWith('old-') ? 'operation' : 'aws-1.0', steps: READ[name] ?? [] },
  });
  if (!read.ok) return;
  // Its word for its own directory of handlers is no directory.
  for (const step of read.plan.steps)
    expect([step.stock?.directory, step.type === 'runHandler' ? step.directory : undefined]).toEqual([
      undefined,
      undefined,
    ]);
});

test('what it does not read is said: a condition that does not hold', async () => {
  const document = JSON.parse(await readFile(new URL('conditions.json', HERE), 'utf8')) as object;
  expect(readDocument(document, {})).toEqual({
    ok: false,
    problems: [{ path: 'conditions[0].key', reason: 'this device has operatingSystem=(nothing)' }],
  });
});

test.each(['file:///etc/shadow', 'ftp://h/f', 'presignedUrl', ''])(
  'download-file.sh fetches nothing from %j',
  (url) => {
    expect(readDocument({ operation: 'download-file.sh', args: [url, '/srv/f'] }, {})).toMatchObject({
      ok: false,
      problems: [{ path: 'args' }],
    });
  },
);
