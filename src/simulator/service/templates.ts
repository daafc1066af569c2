import type { Collection, Store } from '../store/port.ts';
import { ACCOUNT, REGION } from './arns.ts';
import { MANAGED_TEMPLATES, type ManagedTemplate } from './managed-templates.ts';
import { type NewJob, Refusal, type SchedulingConfig, type SimulatorClock } from './types.ts';

/** Job templates of the account, and what a template brings into a job. */

type Configs = Pick<
  NewJob,
  | 'presignedUrlConfig'
  | 'jobExecutionsRolloutConfig'
  | 'abortConfig'
  | 'timeoutConfig'
  | 'jobExecutionsRetryConfig'
  | 'destinationPackageVersions'
>;

export interface NewTemplate extends Configs {
  jobTemplateId: string;
  description: string;
  document: string;
  documentSource?: string;
  maintenanceWindows?: NonNullable<SchedulingConfig['maintenanceWindows']>;
}

export interface Template extends NewTemplate {
  jobTemplateArn: string;
  /** Epoch seconds. */
  createdAt: number;
}

/** What a job takes from its template where it says nothing itself. */
export interface FromTemplate extends Configs {
  document: string;
  documentSource?: string;
  schedulingConfig?: SchedulingConfig;
  /** Only a managed template has places for parameters. */
  managed?: ManagedTemplate;
}

export class Templates {
  readonly #templates: Collection<Template>;
  readonly #nowSeconds: () => number;

  constructor(store: Store, clock: Pick<SimulatorClock, 'wallMs'>) {
    this.#templates = store.collection('jobTemplates');
    this.#nowSeconds = () => Math.floor(clock.wallMs()) / 1000;
  }

  has(jobTemplateId: string): boolean {
    return this.#templates.has(jobTemplateId);
  }

  get(jobTemplateId: string): Template {
    const template = this.#templates.get(jobTemplateId);
    if (!template) throw new Refusal('ResourceNotFound', `Job template ${jobTemplateId} cannot be found.`);
    return template;
  }

  list(): Template[] {
    return [...this.#templates.values()];
  }

  create(wanted: NewTemplate): Template {
    const template = {
      ...wanted,
      jobTemplateArn: arnOf(wanted.jobTemplateId),
      createdAt: this.#nowSeconds(),
    };
    this.#templates.set(wanted.jobTemplateId, template);
    return template;
  }

  delete(jobTemplateId: string): void {
    this.get(jobTemplateId);
    this.#templates.delete(jobTemplateId);
  }

  /** The template that an ARN names, managed or own. */
  byArn(arn: string): FromTemplate {
    const [, account, name = ''] = /^arn:[^:]+:iot:[^:]*:([^:]*):jobtemplate\/(.+)$/.exec(arn) ?? [];
    if (account === '') {
      const managed = managedTemplate(...splitVersion(name));
      return { document: managed.document, managed };
    }
    if (account === undefined || !this.has(name))
      throw new Refusal('ResourceNotFound', `Job template ${arn} cannot be found.`);
    const { maintenanceWindows, ...template } = this.get(name);
    const { jobTemplateId: _, jobTemplateArn: __, createdAt: ___, description: ____, ...taken } = template;
    return { ...taken, ...(maintenanceWindows && { schedulingConfig: { maintenanceWindows } }) };
  }
}

export function managedTemplate(templateName: string, version?: string): ManagedTemplate {
  const found = MANAGED_TEMPLATES.find(
    (one) => one.templateName === templateName && (version === undefined || one.templateVersion === version),
  );
  if (!found) throw new Refusal('ResourceNotFound', `Managed job template ${templateName} cannot be found.`);
  return found;
}

/** Refuses parameters that are missing, unknown or of the wrong form. */
export function checkParameters(
  managed: ManagedTemplate | undefined,
  parameters: Readonly<Record<string, string>> = {},
): void {
  const known = managed?.documentParameters ?? [];
  const unknown = Object.keys(parameters).find((name) => !known.some(({ key }) => key === name));
  if (unknown !== undefined && !managed)
    throw new Refusal('InvalidRequest', 'documentParameters can only be used with an AWS managed template.');
  if (unknown !== undefined)
    throw new Refusal(
      'InvalidRequest',
      `Template ${managed?.templateName ?? ''} has no parameter ${unknown}.`,
    );
  for (const { key, regex, optional } of known) {
    const value = parameters[key];
    if (value === undefined && !optional)
      throw new Refusal('InvalidRequest', `Missing required document parameter ${key}.`);
    if (value !== undefined && !new RegExp(`^(?:${regex})$`, 's').test(value))
      throw new Refusal('InvalidRequest', `Document parameter ${key} does not match ${regex}.`);
  }
}

function arnOf(jobTemplateId: string): string {
  return `arn:aws:iot:${REGION}:${ACCOUNT}:jobtemplate/${jobTemplateId}`;
}

function splitVersion(name: string): [name: string, version: string | undefined] {
  const [, plain, version] = /^(.*?)(?::([^:]+))?$/.exec(name) ?? [];
  return [plain ?? '', version];
}
