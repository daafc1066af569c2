import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { Hono } from 'hono';
import type { HttpPlaneDeps } from './deps.ts';
import { createEdge, type Sent } from './edge.ts';
import { OBJECTS_PATH } from './objects.ts';

/** `iot`, `iot-jobs-data` and `iot-data` over HTTP: what the AWS SDKs, boto3 and the aws CLI send (section 4). */

export type { HttpCall, HttpFault, HttpFaults, HttpPlaneDeps } from './deps.ts';

export function controlPlane(deps: HttpPlaneDeps): Hono {
  const app = new Hono<{ Bindings: { outgoing?: ServerResponse } }>();
  const edge = createEdge(deps);
  app.all(`${OBJECTS_PATH}/*`, (c) => deps.objects.answer(c.req.raw));
  app.all('*', (c) => edge(c.req.raw, sentBy(c.env?.outgoing)));
  return app as unknown as Hono;
}

/** Behind a server its end is known; without one (a call of `fetch`) a turn of the event loop has to do. */
function sentBy(outgoing: ServerResponse | undefined): Sent | undefined {
  return (
    outgoing &&
    (async () => {
      if (!outgoing.closed) await once(outgoing, 'close');
    })
  );
}
