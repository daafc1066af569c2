import { defineConfig } from 'vitest/config';

/** Tests that run inside of a booted machine, where a systemd of its own is PID 1. */
export default defineConfig({
  cacheDir: '/var/tmp/vite',
  test: {
    root: new URL('../..', import.meta.url).pathname,
    include: ['test/**/*.inside.ts'],
    pool: 'threads',
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ['json'],
  },
});
