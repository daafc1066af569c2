// The last step of `npm run build`: when this was built, which no clock that is right can be behind.
import { writeFileSync } from 'node:fs';

const epoch = process.env['SOURCE_DATE_EPOCH'];
const builtAtMs = epoch === undefined ? Date.now() : Number(epoch) * 1000;
writeFileSync(new URL('../../dist/cli/built.json', import.meta.url), `${JSON.stringify({ builtAtMs })}\n`);
