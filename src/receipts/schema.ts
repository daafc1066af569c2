import { z } from 'zod';
import { receiptSchema } from './receipt.ts';

/** The JSON Schema of a receipt, as `config/receipt.schema.json` publishes it. */
export function receiptJsonSchema(): string {
  return `${JSON.stringify(z.toJSONSchema(receiptSchema), null, 2)}\n`;
}
