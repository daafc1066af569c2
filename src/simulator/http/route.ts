import { HttpRefusal } from './errors.ts';
import type { Operation, ServiceName } from './operation.ts';
import { type OperationKey, operationsOf } from './table.ts';

/** Finds the operation of a request. */

export interface Route {
  key: OperationKey;
  operation: Operation;
  uri: Record<string, string>;
}

interface Candidate {
  key: OperationKey;
  operation: Operation;
  segments: string[];
  literals: number;
}

const SERVICES: readonly ServiceName[] = ['iot', 'iot-data', 'iot-jobs-data'];

/** The path with the most literal segments is looked at first. */
const CANDIDATES = new Map<ServiceName, Candidate[]>(
  SERVICES.map((service) => [
    service,
    operationsOf(service)
      .map(([key, operation]) => {
        const segments = operation.path.slice(1).split('/');
        return { key, operation, segments, literals: segments.filter((one) => !one.startsWith('{')).length };
      })
      .sort((a, b) => b.literals - a.literals),
  ]),
);

/**
 * C8: two operations of two services share their method and path, so the service that the request was signed for
 * decides. A request without a signature (curl) may mean any; the control plane comes first.
 */
export function servicesOf(signedFor: string | undefined): readonly ServiceName[] {
  if (signedFor === undefined) return SERVICES;
  if (signedFor === 'iot-jobs-data') return ['iot-jobs-data'];
  return signedFor === 'iotdata' || signedFor === 'iotdevicegateway' ? ['iot-data'] : ['iot'];
}

export function routed(services: readonly ServiceName[], method: string, path: string): Route | undefined {
  const segments = path.slice(1).split('/').map(decodedSegment);
  for (const service of services) {
    for (const { key, operation, segments: wanted } of CANDIDATES.get(service) ?? []) {
      if (operation.method !== method) continue;
      const uri = matched(wanted, segments);
      if (uri) return { key, operation, uri };
    }
  }
  return undefined;
}

function matched(wanted: readonly string[], segments: readonly string[]): Record<string, string> | undefined {
  const greedy = wanted.at(-1)?.endsWith('+}') === true;
  if (greedy ? segments.length < wanted.length : segments.length !== wanted.length) return undefined;
  const uri: Record<string, string> = {};
  for (const [index, one] of wanted.entries()) {
    if (one.endsWith('+}')) uri[one.slice(1, -2)] = segments.slice(index).join('/');
    else if (one.startsWith('{')) uri[one.slice(1, -1)] = segments[index] ?? '';
    else if (one !== segments[index]) return undefined;
  }
  return uri;
}

/** C6: `T%3A1` is `T:1`, `%24next` is `$next`. */
function decodedSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new HttpRefusal('InvalidRequest', `cannot decode "${segment}" of the path`);
  }
}
