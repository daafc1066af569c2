import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { CONDITION, DOCUMENT, readDocument } from '../../src/document/document.ts';
import { Fields, type Problem } from '../../src/document/fields.ts';
import { ACTION, INPUTS } from '../../src/document/inputs.ts';
import type { Shape } from '../../src/document/members.ts';
import { documentJsonSchema } from '../../src/document/schema.ts';

const published = JSON.parse(documentJsonSchema()) as Parameters<typeof z.fromJSONSchema>[0];
const schema = z.fromJSONSchema(published);

test('config/job-document.schema.json is made of what the reader reads', async () => {
  const file = await readFile(new URL('../../config/job-document.schema.json', import.meta.url), 'utf8');
  expect(JSON.parse(file)).toEqual(published);
});

describe('the schema refuses what the reader refuses for its form', () => {
  const action = (type: string, input: object, more: object = {}): object => ({
    version: '1.0',
    steps: [{ action: { type, input, ...more } }],
  });
  test.each<[string, object]>([
    ['no steps', { version: '1.0', steps: [] }],
    ['an unknown version', { ...action('runCommand', { command: 'true' }), version: '2.0' }],
    ['an unknown type', action('fly', {})],
    ['a command that is missing', action('runCommand', {})],
    ['a relative path', action('removeFile', { path: 'etc/x' })],
    ['a path under /proc', action('removeFile', { path: '/proc/1' })],
    ['another protocol', action('downloadFile', { url: 'ftp://h/f', path: '/a' })],
    ['a mode that is no octal', action('writeFile', { path: '/a', mode: '9' })],
    ['a time that is too long', action('runCommand', { command: 'true' }, { timeoutSeconds: 10 ** 9 })],
    ['a handler elsewhere', action('runHandler', { handler: '../x' })],
  ])('%s', (_, document) => {
    expect(readDocument(document, {}).ok).toBe(false);
    expect(schema.safeParse(document).success).toBe(false);
  });
});

/** Values that some member takes, and some that none does. */
const VALUES: readonly unknown[] = [
  ...['', 'true', true, false, 0, 1, 600, '600', '00', -1, 1.5, 10 ** 9, '/etc/a', '/etc/../a', '/etc/', '/'],
  ...[
    '/proc/1',
    '/process',
    'etc/a',
    'https://h/f?x=1',
    'HTTPS://h/f',
    'http://h',
    'site.sh',
    '.x',
    'a,b',
    ',a',
  ],
  ...[
    'QUJD',
    'QUJ',
    '=',
    '0644',
    '0999',
    'f'.repeat(64),
    'F'.repeat(64),
    'f'.repeat(63),
    'x'.repeat(5000),
    '\0',
  ],
  ...[['/etc/a', '/opt/b'], ['etc/a'], ['echo', 'x'], ['a b'], [''], [], [1], {}, { a: 1 }],
];
const SHAPES: Record<string, Shape> = { action: ACTION, document: DOCUMENT, condition: CONDITION, ...INPUTS };
const members = Object.entries(SHAPES).flatMap(([shape, of]) =>
  Object.entries(of).map(([name, member]) => ({ title: `${shape}.${name}`, name, member })),
);

test.each(members)('the schema takes what the reader takes: $title', ({ name, member }) => {
  const one = z.fromJSONSchema(member.schema as typeof published);
  const taken = VALUES.filter((value) => {
    const problems: Problem[] = [];
    member.read(new Fields({ [name]: value }, '', problems), name);
    return problems.length === 0;
  });
  expect(taken.length).toBeGreaterThan(0);
  expect(taken.filter((value) => !one.safeParse(value).success)).toEqual([]);
});
