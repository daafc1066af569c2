import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

/** An account of this machine. */
export interface User {
  name: string;
  uid: number;
  gid: number;
  home: string;
  shell: string;
}

export type FindUser = (name: string) => Promise<User | undefined>;

const PASSWD_PATH = '/etc/passwd';
const GETENT_TIMEOUT_MS = 10_000;
const USER_NAME_LENGTH_MAX = 256;

/**
 * The account of that name: from /etc/passwd, else from the name service (LDAP and the like) by `getent`.
 * `undefined` when there is none; a number is not a name. Throws when /etc/passwd exists and cannot be read.
 */
export async function findUser(name: string): Promise<User | undefined> {
  if (!isUserName(name)) return undefined;
  const isIt = (user: User): boolean => user.name === name;
  return usersIn(await readPasswd()).find(isIt) ?? usersIn(await askNameService('passwd', name)).find(isIt);
}

/** The account with that number; `undefined` when it has no name here. */
export async function findUserById(uid: number): Promise<User | undefined> {
  const isIt = (user: User): boolean => user.uid === uid;
  return (
    usersIn(await readPasswd()).find(isIt) ?? usersIn(await askNameService('passwd', String(uid))).find(isIt)
  );
}

/** The number of the group of that name, from /etc/group, else from the name service; `undefined` when there is none. */
export async function findGroup(name: string): Promise<number | undefined> {
  if (!isUserName(name)) return undefined;
  const known = await readFile('/etc/group', 'utf8').catch(() => '');
  return groupIn(known, name) ?? groupIn(await askNameService('group', name), name);
}

/** Reads text of the form of /etc/group (man 5 group). */
function groupIn(text: string, name: string): number | undefined {
  const ids = text.split('\n').flatMap((line) => {
    const [found, , gid = ''] = line.split(':');
    return found === name && isId(gid) ? [Number(gid)] : [];
  });
  return ids[0];
}

/** Reads text of the form of /etc/passwd (man 5 passwd); lines that are not of that form are passed over. */
export function usersIn(passwd: string): User[] {
  return passwd.split('\n').flatMap((line) => {
    const fields = line.split(':');
    const [name = '', , uid = '', gid = '', , home = '', shell = ''] = fields;
    if (fields.length < 7 || !isUserName(name) || !isId(uid) || !isId(gid)) return [];
    return [{ name, uid: Number(uid), gid: Number(gid), home: home || '/', shell: shell || '/bin/sh' }];
  });
}

function isUserName(name: string): boolean {
  return name.length > 0 && name.length <= USER_NAME_LENGTH_MAX && /^[^\s:/\0-][^\s:/\0]*$/.test(name);
}

function isId(text: string): boolean {
  // 2^32-1 means "unchanged" to the kernel, so it is nobody's id.
  return /^\d{1,10}$/.test(text) && Number(text) < 0xffff_ffff;
}

let own: Promise<User | undefined> | undefined;

/** The account that this process runs under, looked up once; `undefined` when it has no name here. */
export function ownUser(): Promise<User | undefined> {
  own ??= findUserById(process.geteuid?.() ?? 0).catch((error: unknown) => {
    own = undefined;
    throw error;
  });
  return own;
}

async function readPasswd(): Promise<string> {
  try {
    return await readFile(PASSWD_PATH, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw new Error(`cannot read ${PASSWD_PATH}: ${(error as Error).message}`, { cause: error });
  }
}

async function askNameService(database: 'passwd' | 'group', nameOrNumber: string): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)('getent', [database, nameOrNumber], {
      timeout: GETENT_TIMEOUT_MS,
    });
    return stdout;
  } catch {
    // No getent, or no such name: either way nobody is known by it.
    return '';
  }
}
