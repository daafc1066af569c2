import { type Context, Hono } from 'hono';
import type { Certificate } from '../certificates.ts';
import type { Faults } from '../faults.ts';
import type { MqttPlane } from '../mqtt/plane.ts';
import type { Provisioning } from '../provisioning/provisioning.ts';
import type { SimulatorClock } from '../service/types.ts';
import { provisioningApp } from './provisioning-app.ts';
import type { SwitchBoard } from './switch-board.ts';

/** A clock that can be moved on. */
export interface MovableClock extends SimulatorClock {
  advance(byMs: number): Promise<void>;
}

export interface AdminDeps {
  clock: SimulatorClock | MovableClock;
  faults: Faults;
  mqtt: Pick<MqttPlane, 'disconnect' | 'expireSession' | 'clients'>;
  switches: SwitchBoard;
  provisioning: Provisioning;
  /** As new: no jobs, no faults, no trace, every switch at its default. */
  reset(): void | Promise<void>;
  /** A client certificate for a thing; only with TLS. */
  issueCertificate(thing: string): Promise<Certificate>;
  /** Resolves when all that was changed is durable. */
  saved(): Promise<void>;
  /** The addresses of this simulator. */
  urls: object;
}

const ADVANCE_MS_MAX = 3_153_600_000_000;

/** What a mistake in a request is answered with. */
class Mistake extends Error {
  readonly status: 400 | 404 | 409;
  constructor(message: string, status: 400 | 404 | 409 = 400) {
    super(message);
    this.status = status;
  }
}

/** Live control of the simulator, below `/_simulator` on the HTTP port. AWS has nothing like it. */
export function adminApp(deps: AdminDeps): Hono {
  const { clock, faults, mqtt, switches } = deps;
  const app = new Hono();
  app.onError((error, c) =>
    error instanceof Mistake
      ? c.json({ message: error.message }, error.status)
      : c.json({ message: `internal error: ${error.message}` }, 500),
  );
  /** Errors of what a request says are the sender's. */
  const tried = <T>(act: () => T): T => {
    try {
      return act();
    } catch (error) {
      throw new Mistake((error as Error).message);
    }
  };

  app.get('/health', (c) => c.json({ status: 'ok', ...deps.urls }));
  app.post('/reset', async (c) => {
    await deps.reset();
    await deps.saved();
    return c.json({});
  });

  app.get('/switches', (c) => c.json(switches.values()));
  app.patch('/switches', async (c) => {
    const changes = await objectOf(c);
    tried(() => switches.set(changes));
    await deps.saved();
    return c.json(switches.values());
  });
  // What is not named goes back to its default.
  app.put('/switches', async (c) => {
    const wanted = await objectOf(c);
    tried(() => switches.set({ ...switches.defaults(), ...wanted }));
    await deps.saved();
    return c.json(switches.values());
  });

  const listed = (): object => ({
    faults: faults.rules().map(({ id, rule, matched, acted }) => ({ ...rule, id, matched, acted })),
  });
  app.get('/faults', (c) => c.json(listed()));
  app.post('/faults', async (c) => {
    const body = await jsonOf(c);
    const wanted = isObject(body) && 'faults' in body ? body['faults'] : body;
    const ids = tried(() => faults.add(Array.isArray(wanted) ? wanted : [wanted]));
    return c.json({ ids }, 201);
  });
  app.delete('/faults', (c) => {
    faults.clear();
    return c.json({});
  });
  app.delete('/faults/:id', (c) => {
    const id = c.req.param('id');
    if (!faults.remove(id)) throw new Mistake(`no fault "${id}"`, 404);
    return c.json({});
  });

  const time = (): object => ({ wallMs: clock.wallMs(), isVirtual: 'advance' in clock });
  app.get('/clock', (c) => c.json(time()));
  app.post('/clock/advance', async (c) => {
    const body = await objectOf(c);
    const { seconds, ms = typeof seconds === 'number' ? seconds * 1000 : undefined } = body;
    if (typeof ms !== 'number' || !(ms >= 0) || ms > ADVANCE_MS_MAX)
      throw new Mistake('seconds (or ms): must be a number of 0 or more');
    if (!('advance' in clock))
      throw new Mistake('the clock is the real one: start with --virtual-clock', 409);
    await clock.advance(ms);
    return c.json(time());
  });

  // The key is this device's own: it goes to who may read the simulator's files anyway.
  app.post('/certificates/:thing', async (c) => {
    const { cert, key, certFile, keyFile } = await deps
      .issueCertificate(c.req.param('thing'))
      .catch((error: unknown) => {
        throw new Mistake((error as Error).message, 409);
      });
    return c.json({ certificatePem: cert, keyPair: { PrivateKey: key }, certFile, keyFile }, 201);
  });

  app.get('/clients', (c) => c.json({ clients: mqtt.clients() }));
  app.post('/clients/:client/disconnect', (c) => {
    const client = c.req.param('client');
    if (!mqtt.disconnect(client)) throw new Mistake(`"${client}" is not connected`, 404);
    return c.json({});
  });
  app.post('/clients/:client/expire-session', async (c) => {
    const client = c.req.param('client');
    if (!(await mqtt.expireSession(client)))
      throw new Mistake(`"${client}" has no session that could expire now`, 404);
    return c.json({});
  });
  app.route('/', provisioningApp(deps.provisioning, objectOf, tried));
  app.all('*', (c) => c.json({ message: `nothing at ${c.req.method} ${c.req.path}` }, 404));
  return app;
}

async function jsonOf(c: Context): Promise<unknown> {
  const text = await c.req.text();
  try {
    return text === '' ? {} : (JSON.parse(text) as unknown);
  } catch (error) {
    throw new Mistake(`the body is no JSON: ${(error as Error).message}`);
  }
}

async function objectOf(c: Context): Promise<Record<string, unknown>> {
  const body = await jsonOf(c);
  if (!isObject(body)) throw new Mistake('the body must be a JSON object');
  return body;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
