import { join } from 'node:path';
import type { StepContext } from '../step.ts';

/** What a package step keeps in the execution's directory. */
export interface PackageFiles {
  home: string;
  /** The `.deb` of each package that the step replaces or removes. */
  old: string;
  /** The `.deb` of each that it installs; also apt's archive directory while it does. */
  new: string;
  /** The process that changes the database now, or did last. */
  process: string;
  output: string;
  /** Paths that have a before-image, as JSON. */
  paths: string;
  /** Empty directories that dpkg might take along, as JSON. */
  directories: string;
  /** What `dpkg --audit` said before. */
  audit: string;
}

export function packageFiles(index: number, { directory }: Pick<StepContext, 'directory'>): PackageFiles {
  const home = join(directory, `packages-${index}`);
  return {
    home,
    old: join(home, 'old'),
    new: join(home, 'new'),
    process: join(home, 'process'),
    output: join(home, 'output'),
    paths: join(home, 'paths'),
    directories: join(home, 'directories'),
    audit: join(home, 'audit'),
  };
}
