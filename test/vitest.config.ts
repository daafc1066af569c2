import { defineConfig } from 'vitest/config';

const report = process.env['EVENKEEL_TEST_REPORT'];

export default defineConfig({
  test: {
    root: new URL('..', import.meta.url).pathname,
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    // Most tests wait for processes of their own: two share a small machine well.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    // Real processes on a busy machine: one more try in CI, and the report says that there was one.
    retry: process.env['CI'] === undefined ? 0 : 1,
    reporters: report === undefined ? ['default'] : ['default', 'json'],
    ...(report === undefined ? {} : { outputFile: { json: report } }),
  },
});
