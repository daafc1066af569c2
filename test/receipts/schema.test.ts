import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { receiptJsonSchema } from '../../src/receipts/schema.ts';

test('config/receipt.schema.json is the schema that receipts are checked with', async () => {
  const published = await readFile(new URL('../../config/receipt.schema.json', import.meta.url), 'utf8');
  expect(JSON.parse(published)).toEqual(JSON.parse(receiptJsonSchema()));
});
