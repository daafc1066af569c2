/** T1: everything of AWS IoT Jobs for one thing is under this prefix. */
export function jobsPrefix(thing: string): string {
  return `$aws/things/${thing}/jobs/`;
}

export function shadowPrefix(thing: string, name: string): string {
  return `$aws/things/${thing}/shadow/name/${name}/`;
}

/** The named shadow that receipts go to. */
export const RECEIPT_SHADOW = 'evenkeel';

/** All that the agent publishes to, besides a receipt topic of the configuration. */
export function requestTopics(thing: string): {
  pending: string;
  describe(jobId: string): string;
  update(jobId: string): string;
  receiptShadow: string;
} {
  const jobs = jobsPrefix(thing);
  return {
    pending: `${jobs}get`,
    describe: (jobId) => `${jobs}${jobId}/get`,
    update: (jobId) => `${jobs}${jobId}/update`,
    receiptShadow: `${shadowPrefix(thing, RECEIPT_SHADOW)}update`,
  };
}

/** All that the agent listens to; at most eight, one SUBSCRIBE packet (L20). */
export function jobsFilters(thing: string): string[] {
  const jobs = jobsPrefix(thing);
  return [
    `${jobs}notify`,
    `${jobs}notify-next`,
    `${jobs}get/+`,
    `${jobs}+/get/+`,
    `${jobs}+/update/+`,
    `${shadowPrefix(thing, RECEIPT_SHADOW)}update/+`,
  ];
}
