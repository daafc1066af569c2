import { readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { CURRENT, FILES, parseRecord } from './credentials.ts';

/** The files of the credential in use, as whoever only looks finds them. */
export interface GivenCredential {
  name: string;
  certificate: string;
  privateKey: string;
  certificateId: string;
  thingName?: string;
  proven: boolean;
}

/** Below the state directory. */
export function credentialsDirectory(stateDirectory: string): string {
  return join(stateDirectory, 'credentials');
}

/** What `current` leads to. The link is read once: a switch between two files would make a pair that does not fit. */
export function givenCredential(stateDirectory: string): GivenCredential | undefined {
  const root = credentialsDirectory(stateDirectory);
  try {
    const name = readlinkSync(join(root, CURRENT));
    const directory = join(root, name);
    const record = parseRecord(readFileSync(join(directory, FILES.record), 'utf8'));
    if (!record) return undefined;
    const { certificateId, thingName, proven = false } = record;
    return {
      name,
      certificate: join(directory, FILES.certificate),
      privateKey: join(directory, FILES.key),
      certificateId,
      ...(thingName !== undefined && { thingName }),
      proven,
    };
  } catch {
    return undefined;
  }
}
