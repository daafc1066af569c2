import { z } from 'zod';
import * as m from '../members.ts';
import { COMMON, operation } from '../operation.ts';

/** Shadows and publishing over HTTPS. */

const ERRORS = [
  ...COMMON,
  'UnauthorizedException',
  'InternalFailureException',
  'MethodNotAllowedException',
] as const;
const ENCODED = [...ERRORS, 'ServiceUnavailableException', 'UnsupportedDocumentEncodingException'] as const;
const SHADOW = [...ENCODED, 'ResourceNotFoundException'] as const;
const thing = { thingName: m.thingName };
const shadowName = m.text({ min: 1, max: 64, pattern: '[$a-zA-Z0-9:_-]+' });
/** A shadow's name goes by `name` in the query. */
const named = m.optional({ name: shadowName });

export const iotDataOperations = {
  GetThingShadow: operation('iot-data', 'GET /things/{thingName}/shadow', {
    uri: thing,
    query: named,
    errors: SHADOW,
  }),
  UpdateThingShadow: operation('iot-data', 'POST /things/{thingName}/shadow', {
    uri: thing,
    query: named,
    payload: true,
    errors: [...ENCODED, 'ConflictException', 'RequestEntityTooLargeException'],
  }),
  DeleteThingShadow: operation('iot-data', 'DELETE /things/{thingName}/shadow', {
    uri: thing,
    query: named,
    errors: SHADOW,
  }),
  ListNamedShadowsForThing: operation(
    'iot-data',
    'GET /api/things/shadow/ListNamedShadowsForThing/{thingName}',
    {
      uri: thing,
      query: m.optional({ nextToken: m.nextToken, pageSize: m.whole(1, 100) }),
      errors: [...ERRORS, 'ResourceNotFoundException', 'ServiceUnavailableException'],
    },
  ),
  Publish: operation('iot-data', 'POST /topics/{topic+}', {
    uri: { topic: m.text() },
    query: m.optional({
      qos: m.whole(0, 1),
      retain: m.flag,
      contentType: z.string(),
      responseTopic: z.string(),
      messageExpiry: m.whole(),
    }),
    payload: true,
    errors: ERRORS,
  }),
};
