import { readdir, readFile } from 'node:fs/promises';

export interface SeenProcess {
  pid: number;
  parent: number;
  name: string;
  /** Clock ticks since boot: with the pid it names one process for good (man 5 proc). */
  startTime: string;
}

/** The processes whose command line contains `text`, with all that descends from them. */
export async function processTree(text: string): Promise<SeenProcess[]> {
  const all = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  const rows = (await Promise.all(all.map(rowOf))).filter((row) => row !== undefined);
  const found = rows.filter(({ line }) => line.includes(text)).map(({ row }) => row);
  for (let at = 0; at < found.length; at += 1) {
    const children = rows.map(({ row }) => row).filter(({ parent }) => parent === found[at]?.pid);
    found.push(...children.filter(({ pid }) => !found.some((known) => known.pid === pid)));
  }
  return found;
}

export async function isAlive({ pid, startTime }: SeenProcess): Promise<boolean> {
  return (await rowOf(String(pid)))?.row.startTime === startTime;
}

async function rowOf(pid: string): Promise<{ row: SeenProcess; line: string } | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8');
    const [, name = '', rest = ''] = /^\d+ \((.*)\) (.*)$/s.exec(stat) ?? [];
    const fields = rest.split(' ');
    if (fields[0] === 'Z') return undefined;
    return {
      row: { pid: Number(pid), parent: Number(fields[1]), name, startTime: fields[19] ?? '' },
      line,
    };
  } catch {
    return undefined;
  }
}
