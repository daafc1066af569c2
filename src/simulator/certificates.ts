import { execFile } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** A certificate with its key, as PEM text and as files. */
export interface Certificate {
  cert: string;
  key: string;
  certFile: string;
  keyFile: string;
}

/** What a TLS listener needs. */
export type TlsFiles = Pick<Certificate, 'cert' | 'key'> & { ca: string };

/** The simulator's own authority: its CA, the certificate of its listeners, and those of its things. */
export interface Authority {
  ca: string;
  caFile: string;
  server: Certificate;
  /** A client certificate whose common name is the thing; the same one each time. */
  issue(thing: string): Promise<Certificate>;
  /** A client certificate for whoever holds the key of this request; throws where it is none, or not signed by it. */
  sign(request: string): Promise<string>;
  /** A client certificate with its key, of which nothing is kept here. */
  make(commonName: string): Promise<Pick<Certificate, 'cert' | 'key'>>;
}

const CA_DAYS = 3650;
/** The longest that every TLS library takes from a server. */
const LEAF_DAYS = 825;
const DAY_MS = 86_400_000;
const THING = /^[a-zA-Z0-9:_-]{1,128}$/;

/** Opens the authority in a directory, and makes there what is missing or about to end. */
export async function openAuthority(
  directory: string,
  { hosts, wallMs }: { hosts: readonly string[]; wallMs: number },
): Promise<Authority> {
  await mkdir(join(directory, 'things'), { recursive: true, mode: 0o700 });
  const caFile = join(directory, 'ca.crt');
  const isGood = async (file: string, names: readonly string[] = []): Promise<boolean> => {
    const text = await readFile(file, 'utf8').catch(() => undefined);
    if (text === undefined) return false;
    const found = new X509Certificate(text);
    const covers = (name: string): boolean =>
      (isIP(name) === 0 ? found.checkHost(name) : found.checkIP(name)) !== undefined;
    return Date.parse(found.validTo) > wallMs + DAY_MS && names.every(covers);
  };
  if (!(await isGood(caFile))) await makeAuthority(directory);
  const caCert = await readFile(caFile, 'utf8');
  const issued = async (
    stem: string,
    commonName: string,
    names?: readonly string[],
  ): Promise<Certificate> => {
    const certFile = `${stem}.crt`;
    const byUs =
      (await isGood(certFile, names)) &&
      new X509Certificate(await readFile(certFile)).checkIssued(new X509Certificate(caCert));
    if (!byUs) await makeLeaf(directory, stem, commonName, names);
    const keyFile = `${stem}.key`;
    const [cert, key] = await Promise.all([readFile(certFile, 'utf8'), readFile(keyFile, 'utf8')]);
    return { cert, key, certFile, keyFile };
  };
  const names = [...new Set(['localhost', '127.0.0.1', '::1', hostname(), ...hosts])];
  return {
    ca: caCert,
    caFile,
    server: await issued(join(directory, 'server'), 'localhost', names),
    async issue(thing) {
      if (!THING.test(thing))
        throw new Error(`cannot issue a certificate: "${thing}" must be 1 to 128 of a-z A-Z 0-9 : _ -`);
      return await issued(join(directory, 'things', thing), thing);
    },
    sign: (request) =>
      making(directory, async (path) => {
        await writeFile(path('leaf.csr'), request);
        await signLeaf(directory, path, CLIENT);
        return await readFile(path('leaf.crt'), 'utf8');
      }),
    make: (commonName) =>
      making(directory, async (path) => {
        await requestLeaf(path, commonName);
        await signLeaf(directory, path, CLIENT);
        const [cert, key] = await Promise.all([
          readFile(path('leaf.crt'), 'utf8'),
          readFile(path('leaf.key'), 'utf8'),
        ]);
        return { cert, key };
      }),
  };
}

async function makeAuthority(directory: string): Promise<void> {
  await making(directory, async (path) => {
    await writeKey(path('ca.key'));
    const extensions = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign'];
    await writeFile(
      path('ca.cnf'),
      ['[req]', 'distinguished_name=dn', 'x509_extensions=ca', '[dn]', '[ca]', ...extensions].join('\n'),
    );
    await openssl(
      ['req', '-x509', '-new', '-sha256', '-config', path('ca.cnf'), '-key', path('ca.key')],
      ['-days', String(CA_DAYS), '-subj', '/CN=Evenkeel simulator', '-out', path('ca.crt')],
    );
    await rename(path('ca.key'), join(directory, 'ca.key'));
    await rename(path('ca.crt'), join(directory, 'ca.crt'));
  });
}

/** A certificate for a server where `names` are given, for a client where not. */
async function makeLeaf(
  directory: string,
  stem: string,
  commonName: string,
  names?: readonly string[],
): Promise<void> {
  await making(directory, async (path) => {
    const alternative = (names ?? []).map((name) => `${isIP(name) === 0 ? 'DNS' : 'IP'}:${name}`);
    await requestLeaf(path, commonName);
    await signLeaf(
      directory,
      path,
      names ? ['extendedKeyUsage=serverAuth', `subjectAltName=${alternative.join(',')}`] : CLIENT,
    );
    await rename(path('leaf.key'), `${stem}.key`);
    await rename(path('leaf.crt'), `${stem}.crt`);
  });
}

const CLIENT = ['extendedKeyUsage=clientAuth'];

/** A key, and a request that it signs: `leaf.key` and `leaf.csr`. */
async function requestLeaf(path: (name: string) => string, commonName: string): Promise<void> {
  await writeKey(path('leaf.key'));
  await writeFile(path('req.cnf'), '[req]\ndistinguished_name=dn\n[dn]\n');
  await openssl(
    ['req', '-new', '-sha256', '-config', path('req.cnf'), '-key', path('leaf.key')],
    ['-subj', `/CN=${commonName}`, '-out', path('leaf.csr')],
  );
}

/** `leaf.crt` out of `leaf.csr`, whose own signature is checked by it. */
async function signLeaf(
  directory: string,
  path: (name: string) => string,
  extensions: readonly string[],
): Promise<void> {
  const all = ['basicConstraints=critical,CA:FALSE', 'keyUsage=critical,digitalSignature', ...extensions];
  await writeFile(path('leaf.ext'), all.join('\n'));
  await openssl(
    ['x509', '-req', '-sha256', '-in', path('leaf.csr'), '-days', String(LEAF_DAYS)],
    ['-CA', join(directory, 'ca.crt'), '-CAkey', join(directory, 'ca.key')],
    ['-CAserial', path('serial'), '-CAcreateserial'],
    ['-extfile', path('leaf.ext'), '-out', path('leaf.crt')],
  );
}

/** Works in a directory of its own, so that nobody finds half a certificate. */
async function making<T>(
  directory: string,
  work: (path: (name: string) => string) => Promise<T>,
): Promise<T> {
  const own = await mkdtemp(join(directory, 'new-'));
  try {
    return await work((name) => join(own, name));
  } finally {
    await rm(own, { recursive: true, force: true });
  }
}

async function writeKey(file: string): Promise<void> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  await writeFile(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  await chmod(file, 0o600);
}

async function openssl(...args: string[][]): Promise<void> {
  try {
    await promisify(execFile)('openssl', args.flat());
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    const cause =
      code === 'ENOENT'
        ? 'TLS needs the program openssl, which is not installed'
        : (stderr ?? String(error)).trim().split('\n').at(-1);
    throw new Error(`cannot make a certificate: ${cause ?? 'openssl failed'}`, { cause: error });
  }
}
