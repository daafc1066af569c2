import { Refusal } from '../../service/types.ts';
import type { Handlers, HttpPlaneDeps } from '../deps.ts';

type AccountHandlers = Pick<
  Handlers,
  | 'DescribeEndpoint'
  | 'DescribeEventConfigurations'
  | 'UpdateEventConfigurations'
  | 'TagResource'
  | 'UntagResource'
  | 'ListTagsForResource'
>;

const ENDPOINT_TYPES = ['iot:Data', 'iot:Data-ATS', 'iot:Data-Beta', 'iot:CredentialProvider', 'iot:Jobs'];

export function accountHandlers(deps: HttpPlaneDeps): AccountHandlers {
  const { service, registry, templates, tags, endpoint } = deps;
  const checkResource = (arn: string): void => {
    const [, kind, name = ''] =
      /^arn:[^:]+:iot:[^:]*:[^:]*:(job|jobtemplate|thinggroup)\/(.+)$/.exec(arn) ?? [];
    if (kind === 'job') service.job(name);
    else if (kind === 'jobtemplate') templates.get(name);
    else if (kind === 'thinggroup') registry.group(name);
    else throw new Refusal('InvalidRequest', `${arn} is no ARN of a job, a job template or a thing group.`);
  };
  return {
    DescribeEndpoint: ({ endpointType = 'iot:Data' }, { host }) => {
      if (!ENDPOINT_TYPES.includes(endpointType))
        throw new Refusal('InvalidRequest', `Endpoint type ${endpointType} is unknown.`);
      return { endpointAddress: endpoint?.(endpointType) ?? host };
    },
    DescribeEventConfigurations: () => ({
      eventConfigurations: service.eventConfigurations(),
      ...service.eventsConfiguredAt(),
    }),
    UpdateEventConfigurations: ({ eventConfigurations = {} }) => {
      const changes = Object.entries(eventConfigurations).map(([type, { Enabled = false }]) => [
        type,
        { Enabled },
      ]);
      service.updateEventConfigurations(Object.fromEntries(changes) as Record<string, { Enabled: boolean }>);
      return {};
    },
    TagResource: ({ resourceArn, tags: given }) => {
      checkResource(resourceArn);
      tags.add(resourceArn, given);
      return {};
    },
    UntagResource: ({ resourceArn, tagKeys }) => {
      checkResource(resourceArn);
      tags.remove(resourceArn, tagKeys);
      return {};
    },
    ListTagsForResource: ({ resourceArn }) => {
      checkResource(resourceArn);
      return { tags: tags.of(resourceArn) };
    },
  };
}
