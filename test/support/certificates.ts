import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Certificates for tests, good and bad: any authority, any name, any time. */

export interface Issued {
  certFile: string;
  keyFile: string;
  cert: string;
  key: string;
}

export interface TestAuthority {
  caFile: string;
  ca: string;
  issue(wanted: {
    commonName: string;
    /** Such as `DNS:localhost` or `IP:127.0.0.1`. */
    names?: readonly string[];
    from?: Date;
    to?: Date;
  }): Promise<Issued>;
}

const DAY_MS = 86_400_000;
const run = promisify(execFile);

export async function createAuthority(directory: string, commonName: string): Promise<TestAuthority> {
  const home = join(directory, commonName.replaceAll(/\W/g, '-'));
  await mkdir(join(home, 'issued'), { recursive: true });
  const path = (name: string): string => join(home, name);
  const key = (file: string): Promise<unknown> =>
    run('openssl', ['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', file]);
  await key(path('ca.key'));
  await writeFile(path('index.txt'), '');
  await writeFile(path('index.txt.attr'), 'unique_subject = no\n');
  await writeFile(
    path('req.cnf'),
    '[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\n',
  );
  const caRequest = ['-config', path('req.cnf'), '-extensions', 'ca', '-subj', `/CN=${commonName}`];
  await run('openssl', [
    'req',
    '-x509',
    '-new',
    '-key',
    path('ca.key'),
    '-days',
    '3650',
    '-out',
    path('ca.crt'),
    ...caRequest,
  ]);
  let issued = 0;
  return {
    caFile: path('ca.crt'),
    ca: await readFile(path('ca.crt'), 'utf8'),
    async issue({ commonName: name, names = [], from, to }) {
      issued += 1;
      const stem = path(`leaf-${issued}`);
      const config = [
        '[ca]\ndefault_ca=own',
        `[own]\nnew_certs_dir=${path('issued')}\ndatabase=${path('index.txt')}\nserial=${path('serial')}`,
        'default_md=sha256\npolicy=any\nx509_extensions=leaf\n[any]\ncommonName=supplied',
        `[leaf]\nbasicConstraints=CA:FALSE${names.length > 0 ? `\nsubjectAltName=${names.join(',')}` : ''}`,
      ];
      await writeFile(`${stem}.cnf`, `${config.join('\n')}\n`);
      await key(`${stem}.key`);
      await run('openssl', [
        'req',
        '-new',
        '-config',
        path('req.cnf'),
        '-key',
        `${stem}.key`,
        '-subj',
        `/CN=${name}`,
        '-out',
        `${stem}.csr`,
      ]);
      const dates = [from ?? new Date(Date.now() - DAY_MS), to ?? new Date(Date.now() + 90 * DAY_MS)];
      const [start = '', end = ''] = dates.map((date) => date.toISOString().replaceAll(/[-:T]|\.\d+/g, ''));
      const signed = [
        '-config',
        `${stem}.cnf`,
        '-cert',
        path('ca.crt'),
        '-keyfile',
        path('ca.key'),
        '-create_serial',
      ];
      const files = ['-in', `${stem}.csr`, '-out', `${stem}.crt`, '-startdate', start, '-enddate', end];
      await run('openssl', ['ca', '-batch', '-notext', ...signed, ...files]);
      const [cert, privateKey] = await Promise.all([
        readFile(`${stem}.crt`, 'utf8'),
        readFile(`${stem}.key`, 'utf8'),
      ]);
      return { certFile: `${stem}.crt`, keyFile: `${stem}.key`, cert, key: privateKey };
    },
  };
}
