import { cp } from 'node:fs/promises';

/** The compiler leaves the page's files where they are; the built console looks for them beside itself. */
await cp(
  new URL('page/', import.meta.url),
  new URL('../../../dist/simulator/console/page/', import.meta.url),
  {
    recursive: true,
  },
);
