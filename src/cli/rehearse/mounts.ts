/** The mounts of this machine, as a rehearsal needs them: what to lay an overlay over, and what stays outside. */

export interface MountPoint {
  path: string;
  /** Such as `ext4`. */
  type: string;
}

/** Made anew in a view, or left out of it; nothing below them is taken over. */
const FRESH = ['/proc', '/sys', '/dev', '/run'];
/** Kernel interfaces, wherever they are mounted. */
const NO_FILES = new Set([
  'autofs',
  'binfmt_misc',
  'bpf',
  'cgroup',
  'cgroup2',
  'configfs',
  'debugfs',
  'devpts',
  'devtmpfs',
  'efivarfs',
  'fusectl',
  'hugetlbfs',
  'mqueue',
  'nsfs',
  'proc',
  'pstore',
  'rpc_pipefs',
  'securityfs',
  'sysfs',
  'tracefs',
]);

/** Reads `/proc/self/mountinfo` (man 5 proc): the file systems with files, outermost first, each place once. */
export function fileMounts(mountinfo: string): MountPoint[] {
  const found = new Map<string, MountPoint>();
  for (const line of mountinfo.split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const place = left.split(' ')[4];
    const type = right.split(' ')[0];
    if (place === undefined || type === undefined || type === '') continue;
    const path = unescaped(place);
    // What is mounted later hides what was there.
    if (!NO_FILES.has(type) && !FRESH.some((fresh) => isIn(path, fresh))) found.set(path, { path, type });
  }
  return [...found.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** `path` is `directory` or below it. */
export function isIn(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === '/' ? '/' : `${directory}/`);
}

/** Space, tab, newline and backslash are written in octal there. */
function unescaped(place: string): string {
  return place.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
