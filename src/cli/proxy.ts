import type { Config } from '../config/config.ts';
import { parseEndpoint } from '../transport/endpoint.ts';

/**
 * The proxy for the link. The environment counts only when the configuration says so: a variable that somebody sets for
 * a package manager must not move the link of an unattended device.
 */
export function proxyOf(
  { connection }: Pick<Config, 'connection'>,
  env: NodeJS.ProcessEnv = process.env,
): string | undefined {
  if (connection.proxy !== 'environment') return connection.proxy;
  const { host, port } = parseEndpoint(connection.url);
  if (isExempt(host, port, env['NO_PROXY'] ?? env['no_proxy'] ?? '')) return undefined;
  const proxy = env['HTTPS_PROXY'] ?? env['https_proxy'];
  return proxy === undefined || proxy === '' ? undefined : proxy;
}

/** NO_PROXY as curl reads it: `*`, or names, each with its subdomains and perhaps a port. */
function isExempt(host: string, port: number, list: string): boolean {
  return list.split(/[\s,]+/).some((entry) => {
    if (entry === '*') return true;
    const [, name = '', only] = /^\.?(\[[^\]]+\]|[^:]+|.*)(?::(\d+))?$/.exec(entry) ?? [];
    const bare = name.replace(/^\[(.*)\]$/, '$1').toLowerCase();
    if (bare === '' || (only !== undefined && Number(only) !== port)) return false;
    return host.toLowerCase() === bare || host.toLowerCase().endsWith(`.${bare}`);
  });
}
