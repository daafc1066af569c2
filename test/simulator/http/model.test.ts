import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import type { Operation, ServiceName } from '../../../src/simulator/http/operation.ts';
import { nameOf, operationsOf } from '../../../src/simulator/http/table.ts';

/** Our table of operations against the API models that AWS publishes with botocore (`python3-botocore`). */

const MODELS = '/usr/lib/python3/dist-packages/botocore/data';
const SERVICES: [ServiceName, string][] = [
  ['iot', 'iot/2015-05-28'],
  ['iot-data', 'iot-data/2015-05-28'],
  ['iot-jobs-data', 'iot-jobs-data/2017-09-29'],
];
/** In the API today, and not yet in every packaged model. */
const NEWER = ['StartCommandExecution'];
const NEWER_MEMBERS = ['beforeSubstitution', 'destinationPackageVersions', 'maintenanceWindows'];

interface Member {
  shape: string;
  location?: string;
  locationName?: string;
}
interface Shape {
  type: string;
  members?: Record<string, Member>;
  required?: string[];
  payload?: string;
  min?: number;
  max?: number;
  enum?: string[];
  error?: { httpStatusCode: number };
}
interface Model {
  operations: Record<
    string,
    { http: { method: string; requestUri: string }; input?: Member; errors?: Member[] }
  >;
  shapes: Record<string, Shape>;
}

describe.skipIf(!existsSync(MODELS)).each(SERVICES)('%s', (service, path) => {
  const model = async () => JSON.parse(await readFile(`${MODELS}/${path}/service-2.json`, 'utf8')) as Model;
  const rows = operationsOf(service).filter(([key]) => !NEWER.includes(key));

  test('C1: the table is not empty, and every operation is one of AWS', async () => {
    const { operations } = await model();
    expect(rows.length).toBeGreaterThan(3);
    expect(rows.map(([key]) => nameOf(key)).filter((name) => !(name in operations))).toEqual([]);
  });

  test.each(rows)('C1 C5 C6: %s has the method, path, members and limits of the model', async (key, row) => {
    const { operations, shapes } = await model();
    const { http, input } = operations[nameOf(key)] ?? expect.unreachable();
    // `{topic+}`: our way to say that the rest of the path is meant; the model has it with MQTT topics alone.
    expect(`${row.method} ${row.path}`.replace('+}', '}')).toBe(`${http.method} ${http.requestUri}`);
    const shape = input ? shapes[input.shape] : undefined;
    const members = Object.entries(shape?.members ?? {});
    for (const [location, where, ours] of [
      ['uri', 'uri', row.uri],
      ['querystring', 'query', row.query],
      [undefined, 'body', row.body],
    ] as const) {
      const theirs = members.filter(
        ([name, member]) => member.location === location && name !== shape?.payload,
      );
      const names = theirs.map(([name, member]) => (location ? (member.locationName ?? name) : name));
      const unknown = Object.keys(ours).filter(
        (name) => !names.includes(name) && !NEWER_MEMBERS.includes(name),
      );
      expect(unknown, `${where}: not in the model`).toEqual([]);
      for (const [at, [name, member]] of theirs.entries()) {
        const mine = (ours as Record<string, z.ZodType>)[names[at] ?? ''];
        if (!mine) continue;
        expect(z.object({ name: mine }).safeParse({}).success, `${name}: may be left out`).toBe(
          shape?.required?.includes(name) !== true,
        );
        expectLimits(name, mine, shapes[member.shape] ?? expect.unreachable());
      }
    }
  });

  test.each(rows)('C3 C13 D3: %s knows only errors of the model', async (key, row: Operation) => {
    const { operations } = await model();
    const theirs = (operations[nameOf(key)]?.errors ?? []).map(({ shape }) => shape);
    expect(row.errors.filter((name) => !theirs.includes(name))).toEqual([]);
  });
});

function expectLimits(name: string, mine: z.ZodType, { type, min, max, enum: values }: Shape): void {
  const tells = z.toJSONSchema(mine, { io: 'input', unrepresentable: 'any' }) as Record<string, unknown>;
  if (values) {
    expect(values, `${name}: values`).toEqual(expect.arrayContaining((tells['enum'] as string[]) ?? []));
    return;
  }
  const lower = { string: 'minLength', list: 'minItems' }[type] ?? 'minimum';
  const upper = { string: 'maxLength', list: 'maxItems' }[type] ?? 'maximum';
  if (max !== undefined && tells[upper] !== undefined && type !== 'map')
    expect(tells[upper], `${name}: at most`).toBe(max);
  if (min !== undefined && tells[lower] !== undefined && type !== 'map')
    expect(tells[lower], `${name}: at least`).toBe(min);
}
