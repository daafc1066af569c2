import { CONDITION, DOCUMENT, OPERATION } from './document.ts';
import { ACTION, INPUTS } from './inputs.ts';
import { type JsonSchema, objectSchema } from './members.ts';

/** The JSON Schema of a job document, as `config/job-document.schema.json` publishes it: made of the reader's tables. */
export function documentJsonSchema(): string {
  return `${JSON.stringify(documentSchema(), null, 2)}\n`;
}

function documentSchema(): JsonSchema {
  const step = { type: 'object', properties: { action: { $ref: '#/$defs/action' } }, required: ['action'] };
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Job document of AWS IoT Device Client, with the extension keys of Evenkeel',
    anyOf: [{ $ref: '#/$defs/document' }, { $ref: '#/$defs/operation' }],
    $defs: {
      document: objectSchema(DOCUMENT, {
        properties: {
          version: { enum: ['1.0', 1] },
          steps: { type: 'array', items: step, minItems: 1 },
          finalStep: step,
          conditions: { type: 'array', items: objectSchema(CONDITION) },
        },
        required: ['version', 'steps'],
      }),
      operation: objectSchema(OPERATION),
      action: {
        oneOf: Object.entries(INPUTS).map(([type, input]) => actionSchema(type, objectSchema(input))),
      },
    },
  };
}

function actionSchema(type: string, input: JsonSchema): JsonSchema {
  return objectSchema(ACTION, { properties: { type: { const: type }, input }, required: ['type', 'input'] });
}
