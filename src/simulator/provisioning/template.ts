import { z } from 'zod';
import { Refusal } from '../service/types.ts';

/**
 * A fleet provisioning template, as AWS writes it: parameters, and the thing, certificate and policy that they make
 * (developer guide, "Provisioning templates"). Of functions there are Ref and Fn::Join.
 */

type Value = string | { Ref: string } | { 'Fn::Join': [string, Value[]] };

const value: z.ZodType<Value> = z.lazy(() =>
  z.union([
    z.string(),
    z.strictObject({ Ref: z.string() }),
    z.strictObject({ 'Fn::Join': z.tuple([z.string(), z.array(value)]) }),
  ]),
);

const resource = z.discriminatedUnion('Type', [
  z.looseObject({
    Type: z.literal('AWS::IoT::Thing'),
    Properties: z.looseObject({ ThingName: value }),
  }),
  z.looseObject({
    Type: z.literal('AWS::IoT::Certificate'),
    Properties: z.looseObject({
      CertificateId: value,
      Status: z.enum(['Active', 'Inactive']).default('Active'),
    }),
  }),
  // A policy that is named is not looked up: what devices may do is a matter of faults here.
  z.looseObject({ Type: z.literal('AWS::IoT::Policy') }),
]);

const templateSchema = z.looseObject({
  Parameters: z.record(
    z.string(),
    z.looseObject({ Type: z.literal('String'), Default: z.string().optional() }),
  ),
  Resources: z.record(z.string(), resource),
  DeviceConfiguration: z.record(z.string(), value).default({}),
});

export type ProvisioningTemplate = z.infer<typeof templateSchema>;

/** What a template makes of one device. */
export interface Provisioned {
  thing: string | undefined;
  status: 'ACTIVE' | 'INACTIVE';
  deviceConfiguration: Record<string, string>;
}

const CERTIFICATE_ID = 'AWS::IoT::Certificate::Id';
const THING = /^[a-zA-Z0-9:_-]{1,128}$/;

/** Reads a template; the error names the place. */
export function parseProvisioningTemplate(body: unknown): ProvisioningTemplate {
  const read = templateSchema.safeParse(body);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  throw new Error(`template.${(issue?.path ?? []).join('.')}: ${issue?.message ?? 'is wrong'}`);
}

/** Fills a template in; refuses where a parameter is missing. */
export function fillIn(
  { Parameters, Resources, DeviceConfiguration }: ProvisioningTemplate,
  given: Readonly<Record<string, string>>,
  certificateId: string,
): Provisioned {
  const known = new Map<string, string>([[CERTIFICATE_ID, certificateId]]);
  for (const [name, { Default }] of Object.entries(Parameters)) {
    const text = given[name] ?? Default;
    if (text !== undefined && name !== CERTIFICATE_ID) known.set(name, text);
  }
  const textOf = (one: Value): string => {
    if (typeof one === 'string') return one;
    if ('Fn::Join' in one) return one['Fn::Join'][1].map(textOf).join(one['Fn::Join'][0]);
    const text = known.get(one.Ref);
    if (text === undefined) throw new Refusal('InvalidParameters', `the parameter ${one.Ref} is missing`);
    return text;
  };
  const provisioned: Provisioned = { thing: undefined, status: 'INACTIVE', deviceConfiguration: {} };
  for (const one of Object.values(Resources)) {
    if (one.Type === 'AWS::IoT::Thing') {
      provisioned.thing = textOf(one.Properties.ThingName);
      if (!THING.test(provisioned.thing))
        throw new Refusal('InvalidParameters', `"${provisioned.thing}" is no name of a thing`);
    }
    if (one.Type === 'AWS::IoT::Certificate')
      provisioned.status = one.Properties.Status === 'Active' ? 'ACTIVE' : 'INACTIVE';
  }
  for (const [name, one] of Object.entries(DeviceConfiguration))
    provisioned.deviceConfiguration[name] = textOf(one);
  return provisioned;
}
