import { ReasonCodes } from 'mqtt';
import { expect, test } from 'vitest';
import { reasonWords } from '../../src/transport/reasons.ts';

test('every code of MQTT has the words that mqtt.js has for it', () => {
  for (let code = 1; code <= 0xff; code += 1) {
    const words = (ReasonCodes as Record<number, string | undefined>)[code] ?? 'unknown reason';
    expect(reasonWords(code)).toBe(`${words} (0x${code.toString(16).padStart(2, '0')})`);
  }
});
