import type { MiddlewareHandler } from 'hono';

/**
 * Pages of other sites must not reach a simulator on this machine. SDKs and the CLI are no browsers and never send
 * `Origin` or `Sec-Fetch-Site`; a browser always sends one of them with what another site could make it send.
 */
export function ownPagesOnly(boundHost: string): MiddlewareHandler {
  return async (c, next) => {
    const origin = c.req.header('origin');
    const site = c.req.header('sec-fetch-site');
    if (origin === undefined && site === undefined) return next();
    const host = c.req.header('host') ?? new URL(c.req.url).host;
    const reason =
      nameRefusal(host, boundHost) ??
      siteRefusal(c.req.method, c.req.path, { host, origin, site }) ??
      contentRefusal(c.req.method, c.req.header('content-type'));
    if (reason === undefined) return next();
    return c.json({ message: `refused: ${reason}` }, 403);
  };
}

/** A name that its owner may point anywhere (DNS rebinding) is not this machine's; an address cannot be pointed. */
function nameRefusal(host: string, boundHost: string): string | undefined {
  const name = host.replace(/:\d+$/, '').toLowerCase();
  const isAddress = /^\[[0-9a-f:.]+\]$/.test(name) || /^\d{1,3}(\.\d{1,3}){3}$/.test(name);
  if (isAddress || name === 'localhost' || name.endsWith('.localhost') || name === boundHost)
    return undefined;
  return `open the console by address or as localhost, not as ${name}`;
}

interface Sender {
  host: string;
  origin: string | undefined;
  site: string | undefined;
}

function siteRefusal(method: string, path: string, { host, origin, site }: Sender): string | undefined {
  if (origin !== undefined && origin.replace(/^https?:\/\//, '') !== host) return 'a page of another site';
  const own = site === undefined || site === 'same-origin' || site === 'none';
  // A link from elsewhere may open the page; nothing else.
  const opens = (method === 'GET' || method === 'HEAD') && path === '/';
  return own || opens ? undefined : 'a page of another site';
}

/** A form can send other types without being asked first. */
function contentRefusal(method: string, type: string | undefined): string | undefined {
  if (method === 'GET' || method === 'HEAD' || method === 'DELETE') return undefined;
  return type?.split(';')[0]?.trim() === 'application/json' ? undefined : 'the content type must be JSON';
}

/** Nothing but our own files, no inline script or style, and no text that is taken for markup. */
export const PAGE_HEADERS = {
  'Content-Security-Policy': [
    "default-src 'self'",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cross-Origin-Opener-Policy': 'same-origin',
} as const;
