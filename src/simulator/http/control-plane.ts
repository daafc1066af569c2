import { Hono } from 'hono';
import type { HttpPlaneDeps } from './deps.ts';
import { createEdge } from './edge.ts';
import { OBJECTS_PATH } from './objects.ts';

/** `iot`, `iot-jobs-data` and `iot-data` over HTTP: what the AWS SDKs, boto3 and the aws CLI send (section 4). */

export type { HttpCall, HttpFault, HttpFaults, HttpPlaneDeps } from './deps.ts';

export function controlPlane(deps: HttpPlaneDeps): Hono {
  const app = new Hono();
  const edge = createEdge(deps);
  app.all(`${OBJECTS_PATH}/*`, (c) => deps.objects.answer(c.req.raw));
  app.all('*', (c) => edge(c.req.raw));
  return app;
}
