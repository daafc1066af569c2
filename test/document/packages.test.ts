import { describe, expect, test } from 'vitest';
import { readDocument } from '../../src/document/document.ts';

/** I9: no word of a document becomes an option of apt, a pattern, or the opposite of what the step says. */

const read = (type: string, input: object) =>
  readDocument({ version: '1.0', steps: [{ action: { type, input } }] }, {});

test.each([
  ['one text with spaces, as the managed templates have it', ' nginx  g++ '],
  ['a list of words', ['nginx', 'g++']],
  ['a list of texts', ['nginx g++', 'nginx']],
])('packages are read from %s', (_, packages) => {
  const document = read('installPackages', { packages });
  expect(document).toMatchObject({
    ok: true,
    plan: {
      grade: 'full',
      steps: [{ packages: ['nginx', 'g++'], touches: ['package:nginx', 'package:g++'] }],
    },
  });
});

test('versions and architectures belong to the words', () => {
  const packages = ['libc6:arm64=2:2.36-9+deb12u4~bpo1', 'nginx=1.22.1-9'];
  expect(read('installPackages', { packages })).toMatchObject({
    ok: true,
    plan: { steps: [{ packages, touches: ['package:libc6:arm64', 'package:nginx'] }] },
  });
  expect(read('removePackages', { packages }).ok).toBe(false);
});

describe.each(['installPackages', 'removePackages'])('%s refuses', (type) => {
  test.each([
    '-y',
    '--allow-unauthenticated',
    '-oDPkg::Pre-Invoke=reboot',
    'nginx-',
    'nginx*',
    'ngin?',
    '^nginx$',
    'nginx/unstable',
    './nginx.deb',
    '/tmp/nginx.deb',
    '../nginx',
    '$(reboot)',
    'a;b',
    'Nginx',
    '~nnginx',
    '?installed',
    'nginx\u0000',
    'ñginx',
    '',
    [],
    Array.from({ length: 300 }, (_, index) => `p${index}`),
  ])('%j', (packages) => {
    expect(read(type, { packages }).ok).toBe(false);
    expect(read(type, { packages: ['fine', ...[packages].flat()] }).ok).toBe(
      packages === '' || packages.length === 0,
    );
  });
});
