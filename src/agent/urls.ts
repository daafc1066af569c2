import { type DeviceFacts, readDocument } from '../document/document.ts';

/** The URL of a download step in a document as the cloud gives it now; `undefined` when there is none (J14). */
export function urlOf(document: unknown, step: number, facts: DeviceFacts): string | undefined {
  const read = readDocument(document, facts);
  const planned = read.ok ? read.plan.steps[step] : undefined;
  return planned && 'urlHasQuery' in planned ? planned.url : undefined;
}
