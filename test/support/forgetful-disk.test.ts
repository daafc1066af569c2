import { constants } from 'node:fs';
import * as fs from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Disk } from '../../src/host/disk.ts';
import { nodeDisk } from '../../src/host/node-disk.ts';
import { withPlace } from '../../src/host/safe-paths.ts';
import { createForgetfulDisk, type ForgetfulDisk, type Operation } from './forgetful-disk.ts';
import { SECTOR_BYTES } from './forgetful-inode.ts';
import { type Random, randomFrom } from './random.ts';

const CUTS = 200;
const NEW = constants.O_RDWR | constants.O_CREAT;

async function write(
  disk: Disk,
  path: string,
  text: string,
  sync?: 'sync' | 'datasync',
  mode = 0o644,
): Promise<void> {
  const file = await disk.openFile(path, NEW, mode);
  await file.write(Buffer.from(text), 0);
  if (sync) await file[sync]();
  await file.close();
}

async function syncDirectory(disk: Disk, path: string): Promise<void> {
  const directory = await disk.openDirectory(path);
  await directory.sync();
  await directory.close();
}

async function read(disk: Disk, path: string): Promise<string | undefined> {
  if (!(await disk.lstat(path))) return undefined;
  const file = await disk.openFile(path, constants.O_RDONLY);
  const { sizeBytes } = await file.stat();
  const bytes = new Uint8Array(sizeBytes);
  await file.read(bytes, 0);
  await file.close();
  return Buffer.from(bytes).toString('latin1');
}

/** What may be found after a power cut: `look` of many, each from the same work. */
async function afterCuts(
  work: (disk: Disk) => Promise<void>,
  look: (disk: Disk) => Promise<string>,
): Promise<string[]> {
  const found = new Set<string>();
  for (let seed = 0; seed < CUTS; seed += 1) {
    const forgetful = createForgetfulDisk();
    const { disk } = forgetful.begin();
    await disk.mkdir('/d', 0o755);
    await write(disk, '/d/old', 'old');
    await disk.syncAll();
    await work(disk);
    forgetful.cut(randomFrom(seed));
    found.add(await look(forgetful.begin().disk));
  }
  return [...found].sort();
}

const textOf =
  (path: string) =>
  async (disk: Disk): Promise<string> =>
    (await read(disk, path)) ?? 'absent';

describe('after a power cut', () => {
  test('a file that was synced whose directory was not may be absent, never half', async () => {
    const found = await afterCuts((disk) => write(disk, '/d/new', 'new', 'sync'), textOf('/d/new'));
    expect(found).toEqual(['absent', 'new']);
  });

  test('a file whose directory alone was synced is there, with any of its content', async () => {
    const found = await afterCuts(async (disk) => {
      await write(disk, '/d/new', 'new');
      await syncDirectory(disk, '/d');
    }, textOf('/d/new'));
    expect(found).toEqual(expect.arrayContaining(['', '\0\0\0', 'new']));
    expect(found).not.toContain('absent');
  });

  test('file and directory synced: all of it is there', async () => {
    const found = await afterCuts(async (disk) => {
      await write(disk, '/d/new', 'new', 'sync');
      await syncDirectory(disk, '/d');
    }, textOf('/d/new'));
    expect(found).toEqual(['new']);
  });

  test('a rename over a file is there or not; without a sync of the content it may leave an empty file', async () => {
    const replace = async (disk: Disk, sync?: 'sync'): Promise<void> => {
      await write(disk, '/d/staged', 'new', sync);
      await disk.rename('/d/staged', '/d/old');
    };
    expect(await afterCuts((disk) => replace(disk, 'sync'), textOf('/d/old'))).toEqual(['new', 'old']);
    expect(await afterCuts((disk) => replace(disk), textOf('/d/old'))).toContain('');
  });

  test('a rename between directories happens in both or in none, and a sync of either makes it durable', async () => {
    const look = async (disk: Disk): Promise<string> =>
      `${await textOf('/d/old')(disk)} ${await textOf('/e/old')(disk)}`;
    const move = async (disk: Disk): Promise<void> => {
      await disk.mkdir('/e', 0o755);
      await disk.syncAll();
      await disk.rename('/d/old', '/e/old');
    };
    expect(await afterCuts(move, look)).toEqual(['absent old', 'old absent']);
    for (const directory of ['/d', '/e']) {
      const found = await afterCuts(async (disk) => {
        await move(disk);
        await syncDirectory(disk, directory);
      }, look);
      expect(found).toEqual(['absent old']);
    }
  });

  test('fdatasync keeps the content and its size, not the mode', async () => {
    const modeOf = async (disk: Disk): Promise<string> =>
      `${((await disk.lstat('/d/old'))?.mode ?? 0).toString(8)} ${await textOf('/d/old')(disk)}`;
    const work = async (disk: Disk, sync: 'sync' | 'datasync'): Promise<void> => {
      const file = await disk.openFile('/d/old', constants.O_RDWR);
      await file.write(Buffer.from('longer'), 0);
      await file.chmod(0o600);
      await file[sync]();
    };
    expect(await afterCuts((disk) => work(disk, 'datasync'), modeOf)).toEqual(['600 longer', '644 longer']);
    expect(await afterCuts((disk) => work(disk, 'sync'), modeOf)).toEqual(['600 longer']);
  });

  test('a write over several sectors is torn at any of them, and a sector under change may rot', async () => {
    const sectors = 4;
    const found = await afterCuts(
      async (disk) => {
        await write(disk, '/d/old', 'a'.repeat(SECTOR_BYTES * sectors), 'sync');
        await write(disk, '/d/old', 'b'.repeat(SECTOR_BYTES * sectors));
      },
      async (disk) => {
        const text = (await read(disk, '/d/old')) ?? '';
        return Array.from({ length: sectors }, (_, sector) => {
          const part = text.slice(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
          return part === 'a'.repeat(SECTOR_BYTES) ? 'a' : part === 'b'.repeat(SECTOR_BYTES) ? 'b' : '?';
        }).join('');
      },
    );
    expect(found).toEqual(expect.arrayContaining(['aaaa', 'bbbb', 'abab', 'baba', 'abbb']));
    expect(found.some((text) => text.includes('?'))).toBe(true);
  });

  test('changes of one entry keep their order, and of different entries do not', async () => {
    const found = await afterCuts(
      async (disk) => {
        await write(disk, '/d/first', '1', 'sync');
        await write(disk, '/d/second', '2', 'sync');
        await disk.unlink('/d/old');
        await write(disk, '/d/old', 'again', 'sync');
      },
      async (disk) => `${await textOf('/d/first')(disk)} ${await textOf('/d/second')(disk)}`,
    );
    expect(found).toEqual(['1 2', '1 absent', 'absent 2', 'absent absent']);
  });

  test('sync of a file system leaves the others as they are', async () => {
    const found = new Set<string>();
    for (let seed = 0; seed < CUTS; seed += 1) {
      const forgetful = createForgetfulDisk({ mounts: ['/a', '/b'] });
      const { disk } = forgetful.begin();
      await write(disk, '/a/file', 'a');
      await write(disk, '/b/file', 'b');
      await disk.syncFileSystem('/a');
      forgetful.cut(randomFrom(seed));
      const { disk: next } = forgetful.begin();
      found.add(`${await textOf('/a/file')(next)} ${(await next.lstat('/b/file')) ? 'there' : 'absent'}`);
    }
    expect([...found].sort()).toEqual(['a absent', 'a there']);
  });
});

describe('a life', () => {
  test('that ended never goes on, and without a power cut the page cache stays', async () => {
    const forgetful = createForgetfulDisk();
    const seen: string[] = [];
    const life = forgetful.begin(({ name }) =>
      name === 'unlink' ? { kind: 'end', when: 'before', finish: () => life.end() } : undefined,
    );
    await write(life.disk, '/file', 'text');
    void life.disk.unlink('/file').then(() => seen.push('unlinked'));
    void life.disk.lstat('/file').then(() => seen.push('looked'));
    await new Promise((resolve) => setImmediate(resolve));
    expect(seen).toEqual([]);
    expect(await read(forgetful.begin().disk, '/file')).toBe('text');
  });

  test('is told of a failed operation; a failed sync leaves in the page cache what no later one writes', async () => {
    const found = new Set<string>();
    for (let seed = 0; seed < CUTS; seed += 1) {
      let fails = true;
      const forgetful = createForgetfulDisk();
      const { disk } = forgetful.begin(({ name }: Operation) =>
        name === 'file.datasync' && fails ? { kind: 'error', code: 'EIO' } : undefined,
      );
      await write(disk, '/file', 'old', 'sync');
      await syncDirectory(disk, '/');
      const file = await disk.openFile('/file', constants.O_RDWR);
      await file.write(Buffer.from('new'), 0);
      await expect(file.datasync()).rejects.toMatchObject({ code: 'EIO' });
      fails = false;
      await file.datasync();
      expect(await read(disk, '/file')).toBe('new');
      forgetful.cut(randomFrom(seed));
      found.add((await read(forgetful.begin().disk, '/file')) ?? 'absent');
    }
    expect(found.has('old')).toBe(true);
  });
});

describe('without a power cut it is like the disk of this machine', () => {
  let root: string;
  beforeAll(async () => {
    root = await fs.mkdtemp('/var/tmp/evenkeel-forgetful-');
  });
  afterAll(() => fs.rm(root, { recursive: true }));

  const NAMES = ['a', 'b', 'c', 'a/x', 'a/y', 'b/x', 'b/x/z', 'c/x'];
  const MODES = [0o600, 0o644, 0o755, 0o4755];

  function operation(
    random: Random,
    at: (name: string) => string,
  ): [string, (disk: Disk) => Promise<unknown>] {
    const one = random.pick(NAMES);
    const other = random.pick(NAMES);
    const mode = random.pick(MODES);
    const size = random.below(1500);
    const text = 'abcdefgh'.repeat(1 + random.below(150));
    const flags = random.pick([
      constants.O_RDONLY,
      constants.O_RDWR,
      constants.O_RDWR | constants.O_CREAT,
      constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL,
      constants.O_WRONLY | constants.O_TRUNC,
    ]);
    const does: [string, (disk: Disk) => Promise<unknown>][] = [
      [
        `write ${one} at ${size}`,
        async (disk) => {
          const file = await disk.openFile(at(one), flags, mode);
          try {
            if ((flags & (constants.O_RDWR | constants.O_WRONLY)) !== 0) {
              await file.write(Buffer.from(text), size);
              if (size % 3 === 0) await file.truncate(size);
              await file.chmod(mode);
            }
            return await file
              .read(new Uint8Array(10), 0)
              .catch((error: unknown) => (error as NodeJS.ErrnoException).code);
          } finally {
            await file.close();
          }
        },
      ],
      [`mkdir ${one}`, (disk) => disk.mkdir(at(one), mode & 0o777)],
      [`mkdir ${one}`, (disk) => disk.mkdir(at(one), mode & 0o777)],
      [`rmdir ${one}`, (disk) => disk.rmdir(at(one))],
      [`unlink ${one}`, (disk) => disk.unlink(at(one))],
      [`rename ${one} ${other}`, (disk) => disk.rename(at(one), at(other))],
      [`rename ${one} ${other}`, (disk) => disk.rename(at(one), at(other))],
      [`link ${one} ${other}`, (disk) => disk.link(at(one), at(other))],
      [`symlink ${one}`, (disk) => disk.symlink(other, at(one))],
      [`chmod ${one}`, (disk) => disk.chmod(at(one), mode)],
      [`lutimes ${one}`, (disk) => disk.lutimes(at(one), 5000, 7000)],
      [`readlink ${one}`, (disk) => disk.readlink(at(one))],
      [`list ${one}`, (disk) => disk.readDirectory(at(one))],
      [`copyAttributes ${one} ${other}`, (disk) => copyAttributes(disk, at(one), at(other))],
      [
        `through ${one}`,
        (disk) =>
          withPlace(disk, at(one), async (place) => {
            const found = await disk.lstat(place.path);
            await place.directory.sync();
            return found?.kind;
          }),
      ],
    ];
    return random.pick(does);
  }

  /** Of files: `cp` takes no directory without all that is in it. */
  async function copyAttributes(disk: Disk, from: string, to: string): Promise<void> {
    const [a, b] = [await disk.lstat(from), await disk.lstat(to)];
    if (a && b && a.kind === 'file' && b.kind === 'file' && a.ino !== b.ino)
      await disk.copyAttributes(from, to);
  }

  async function outcome(work: Promise<unknown>): Promise<unknown> {
    try {
      return await work;
    } catch (error) {
      const { code, name } = error as NodeJS.ErrnoException;
      return code ?? name;
    }
  }

  async function tree(disk: Disk, at: string, shown = ''): Promise<string[]> {
    const lines: string[] = [];
    for (const name of await disk.readDirectory(at)) {
      const path = join(at, name);
      const stat = (await disk.lstat(path))!;
      const what = `${shown}${name} ${stat.kind} ${stat.mode.toString(8)} ${stat.uid}:${stat.gid}`;
      if (stat.kind === 'directory') lines.push(what, ...(await tree(disk, path, `${shown}${name}/`)));
      else if (stat.kind === 'link') lines.push(`${what} ${await disk.readlink(path)}`);
      else lines.push(`${what} ${stat.linkCount} ${stat.sizeBytes} ${(await read(disk, path))!}`);
    }
    return lines;
  }

  async function umaskHere(path: string): Promise<number> {
    await fs.mkdir(path, 0o777);
    return 0o777 & ~(await fs.lstat(path)).mode;
  }

  test('in random sequences of operations', async () => {
    const first = Number(process.env['EVENKEEL_SEED'] ?? 1);
    for (let seed = first; seed < first + 40; seed += 1) {
      const random = randomFrom(seed);
      const real = join(root, String(seed));
      await fs.mkdir(real);
      const umask = await umaskHere(join(root, `umask-${seed}`));
      const owner = { uid: process.geteuid!(), gid: process.getegid!() };
      const forgetful = createForgetfulDisk({ owner, umask });
      forgetful.files.mkdir('/var', 0o755);
      const { disk } = forgetful.begin();
      const said: string[] = [];
      for (let count = 0; count < 40; count += 1) {
        const state = random.fork();
        const copy = randomFrom(state.below(2 ** 32));
        const seedOfOne = copy.below(2 ** 32);
        const [name, onReal] = operation(randomFrom(seedOfOne), (path) => join(real, path));
        const [, onForgetful] = operation(randomFrom(seedOfOne), (path) => join('/var', path));
        const expected = await outcome(onReal(nodeDisk));
        said.push(`${name}: ${String(expected)}`);
        const found = await outcome(onForgetful(disk));
        expect(found, `seed ${seed}: ${said.join('; ')}`).toEqual(expected);
      }
      expect(await tree(disk, '/var'), `seed ${seed}: ${said.join('; ')}`).toEqual(
        await tree(nodeDisk, real),
      );
    }
  });
});

/** Nothing here may depend on the order in which a set was filled: the same seed, the same disk. */
test('the same seed, the same power cut', async () => {
  const once = async (): Promise<unknown> => {
    const forgetful: ForgetfulDisk = createForgetfulDisk();
    const { disk } = forgetful.begin();
    for (const name of ['/a', '/b', '/c']) await write(disk, name, name.repeat(900));
    forgetful.cut(randomFrom(7));
    const { disk: next } = forgetful.begin();
    return Promise.all(['/a', '/b', '/c'].map((name) => read(next, name)));
  };
  expect(await once()).toEqual(await once());
});
