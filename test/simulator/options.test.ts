import { expect, test } from 'vitest';
import {
  DEFAULT_SWITCHES,
  faultOfSwitch,
  parseSwitch,
  SWITCHES,
  setSwitches,
} from '../../src/simulator/options.ts';

/** The table of switches: what may be set, and to what. */

test('every switch has a default that is allowed, the rules it is about, and one line of meaning', () => {
  for (const [name, one] of Object.entries(SWITCHES)) {
    expect(faultOfSwitch(name, one.default), name).toBeUndefined();
    expect(one.rules, name).toMatch(/^[A-Z]\d+[a-z]?$/);
    expect(one.meaning, name).toMatch(/^\S.*[^.]$/);
    expect(DEFAULT_SWITCHES[name as keyof typeof SWITCHES]).toBe(one.default);
  }
});

test('every allowed value can be written as text', () => {
  for (const [name, one] of Object.entries(SWITCHES)) {
    const values: readonly unknown[] = 'values' in one ? one.values : [one.min, one.max];
    for (const value of values) expect(parseSwitch(`${name}=${String(value)}`)).toEqual({ [name]: value });
  }
});

test.each([
  'nothing',
  'toString=true',
  'terminalBeforeVersion',
  'terminalBeforeVersion=yes',
  'notifyQos=2',
  'lateTimersSeconds=61',
  'lateTimersSeconds=-1',
  'consistencyGapMs=1.5',
])('"%s" is refused', (text) => {
  expect(() => parseSwitch(text)).toThrow('cannot read a switch');
});

test('switches are set all or none', () => {
  const switches = { ...DEFAULT_SWITCHES };
  expect(() => setSwitches(switches, { notifyQos: 0, lateTimersSeconds: 99 })).toThrow('0 to 60');
  expect(switches).toEqual(DEFAULT_SWITCHES);
  setSwitches(switches, { notifyQos: 0, lateTimersSeconds: 60 });
  expect(switches).toEqual({ ...DEFAULT_SWITCHES, notifyQos: 0, lateTimersSeconds: 60 });
});
