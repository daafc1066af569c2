import { type Context, Hono } from 'hono';
import { CERTIFICATE_STATES, type CertificateStatus } from '../provisioning/certificate-book.ts';
import type { Provisioning } from '../provisioning/provisioning.ts';

/** Templates, claims and the states of certificates, below `/_simulator`. */
export function provisioningApp(
  provisioning: Provisioning,
  objectOf: (c: Context) => Promise<Record<string, unknown>>,
  tried: <T>(act: () => T) => T,
): Hono {
  const app = new Hono();
  app.put('/provisioning-templates/:name', async (c) => {
    const body = await objectOf(c);
    tried(() => provisioning.putTemplate(c.req.param('name'), body));
    return c.json({});
  });
  app.post('/provisioning-templates/:name/claim', async (c) => {
    const { certificateId, cert, key } = await tried(() =>
      provisioning.issueClaim(c.req.param('name')),
    ).catch((error: unknown) =>
      tried(() => {
        throw error as Error;
      }),
    );
    return c.json({ certificateId, certificatePem: cert, keyPair: { PrivateKey: key } }, 201);
  });
  app.get('/certificates', (c) => c.json({ certificates: provisioning.certificates() }));
  app.patch('/certificates/:id', async (c) => {
    const { status } = await objectOf(c);
    const id = c.req.param('id');
    tried(() => {
      if (!CERTIFICATE_STATES.includes(status as CertificateStatus))
        throw new Error(`status: must be one of ${CERTIFICATE_STATES.join(', ')}`);
      if (!provisioning.setStatus(id, status as CertificateStatus))
        throw new Error(`there is no certificate "${id}"`);
    });
    return c.json({});
  });
  return app;
}
