import { z } from 'zod';

/** Members that several operations share, with the limits of the API model (L1, L2, L5-L9, L13). */

/** The service wants the whole value to match. Java's class names are written as their Unicode properties. */
export function matching(pattern: string): RegExp {
  return new RegExp(`^(?:${pattern})$`, 'u');
}

export interface TextLimits {
  min?: number;
  max?: number;
  pattern?: string;
}

export function text({ min, max, pattern }: TextLimits = {}): z.ZodString {
  let shape = z.string();
  if (min !== undefined) shape = shape.min(min);
  if (max !== undefined) shape = shape.max(max);
  return pattern === undefined ? shape : shape.regex(matching(pattern));
}

export function whole(min?: number, max?: number): z.ZodInt {
  let shape = z.int();
  if (min !== undefined) shape = shape.min(min);
  if (max !== undefined) shape = shape.max(max);
  return shape;
}

/** Members that may be left out. */
export function optional<S extends z.ZodRawShape>(
  members: S,
): { [K in keyof S]: z.ZodExactOptional<S[K] & z.ZodType> } {
  return Object.fromEntries(
    Object.entries(members).map(([name, shape]) => [name, z.exactOptional(shape as z.ZodType)]),
  ) as { [K in keyof S]: z.ZodExactOptional<S[K] & z.ZodType> };
}

const NAME = '[a-zA-Z0-9:_-]+';
const NO_CONTROL = '[^\\p{C}]+';

export const flag = z.boolean();
export const jobId = text({ min: 1, max: 64, pattern: '[a-zA-Z0-9_-]+' });
export const thingName = text({ min: 1, max: 128, pattern: NAME });
export const groupName = thingName;
export const namespaceId = text({ pattern: '[a-zA-Z0-9_-]+' });
export const description = text({ max: 2028, pattern: NO_CONTROL });
export const comment = description;
export const arn = text({ max: 2048 });
export const longArn = text({ min: 1, max: 1600, pattern: 'arn:[!-~]+' });
/** L11 */
export const targets = z.array(arn).min(1).max(100);
/** L3 */
export const document = text({ max: 32_768 });
export const documentSource = text({ min: 1, max: 1350 });
export const maxResults = whole(1, 250);
export const nextToken = text();
export const paged = optional({ maxResults, nextToken });
export const executionNumber = whole();

export const jobStatus = z.enum([
  'IN_PROGRESS',
  'CANCELED',
  'COMPLETED',
  'DELETION_IN_PROGRESS',
  'SCHEDULED',
]);
export const executionStatus = z.enum([
  'QUEUED',
  'IN_PROGRESS',
  'SUCCEEDED',
  'FAILED',
  'TIMED_OUT',
  'REJECTED',
  'REMOVED',
  'CANCELED',
]);
export const targetSelection = z.enum(['CONTINUOUS', 'SNAPSHOT']);

/** L6, L7; their number (L5) is checked where they are used, since no constraint of the model says it. */
export const statusDetails = z.record(
  text({ min: 1, max: 128, pattern: NAME }),
  text({ min: 1, max: 1024, pattern: NO_CONTROL }),
);

export const tagKey = text({ min: 1, max: 128, pattern: '([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)' });
export const tags = z.array(z.object({ Key: tagKey, ...optional({ Value: text({ min: 0, max: 256 }) }) }));

const attributes = z.record(
  text({ max: 128, pattern: '[a-zA-Z0-9_.,@/:#-]+' }),
  text({ max: 800, pattern: '[a-zA-Z0-9_.,@/:#=\\[\\]-]*' }),
);
export const attributePayload = z.object(optional({ attributes, merge: flag }));

export const presignedUrlConfig = z.object(
  optional({ roleArn: text({ min: 20, max: 2048 }), expiresInSec: whole(60, 3600) }),
);
export const timeoutConfig = z.object(optional({ inProgressTimeoutInMinutes: whole(1, 10_080) }));
export const rolloutConfig = z.object(
  optional({
    maximumPerMinute: whole(1, 1000),
    exponentialRate: z.object({
      baseRatePerMinute: whole(1, 1000),
      incrementFactor: z.number().min(1.1).max(5),
      rateIncreaseCriteria: z.object(
        optional({ numberOfNotifiedThings: whole(1), numberOfSucceededThings: whole(1) }),
      ),
    }),
  }),
);
export const abortConfig = z.object({
  criteriaList: z
    .array(
      z.object({
        failureType: z.enum(['FAILED', 'REJECTED', 'TIMED_OUT', 'ALL']),
        action: z.enum(['CANCEL']),
        thresholdPercentage: z.number().max(100),
        minNumberOfExecutedThings: whole(1),
      }),
    )
    .min(1),
});
/** S16 */
export const retryConfig = z.object({
  criteriaList: z
    .array(z.object({ failureType: z.enum(['FAILED', 'TIMED_OUT', 'ALL']), numberOfRetries: whole(0, 10) }))
    .min(1)
    .max(2),
});
export const maintenanceWindows = z.array(
  z.object({ startTime: text({ min: 1, max: 256 }), durationInMinutes: whole(1, 1430) }),
);
export const schedulingConfig = z.object(
  optional({
    startTime: text({ min: 1, max: 64 }),
    endTime: text({ min: 1, max: 64 }),
    endBehavior: z.enum(['STOP_ROLLOUT', 'CANCEL', 'FORCE_CANCEL']),
    maintenanceWindows,
  }),
);
export const documentParameters = z.record(
  text({ min: 1, max: 128, pattern: '[a-zA-Z0-9_-]+' }),
  text({ min: 1, max: 30_720, pattern: NO_CONTROL }),
);
export const destinationPackageVersions = z.array(longArn).max(25);

/** What a job and a job template may both say of how it is carried out. */
export const jobConfigs = optional({
  presignedUrlConfig,
  jobExecutionsRolloutConfig: rolloutConfig,
  abortConfig,
  timeoutConfig,
  jobExecutionsRetryConfig: retryConfig,
});
