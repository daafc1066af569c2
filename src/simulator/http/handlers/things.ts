import { groupArn, thingArn } from '../../service/arns.ts';
import { type Group, namedBy, type Thing } from '../../service/registry.ts';
import type { Handlers, HttpPlaneDeps } from '../deps.ts';
import { pageOf } from '../paging.ts';
import type { InputOf } from '../table.ts';
import { existing, page } from './shared.ts';

type ThingHandlers = Pick<
  Handlers,
  'CreateThing' | 'DescribeThing' | 'UpdateThing' | 'DeleteThing' | 'ListThings'
>;

type GroupHandlers = Pick<
  Handlers,
  | 'CreateThingGroup'
  | 'DescribeThingGroup'
  | 'UpdateThingGroup'
  | 'DeleteThingGroup'
  | 'ListThingGroups'
  | 'ListThingsInThingGroup'
  | 'ListThingGroupsForThing'
  | 'AddThingToThingGroup'
  | 'RemoveThingFromThingGroup'
  | 'UpdateThingGroupsForThing'
>;

export function thingHandlers({ service, registry }: HttpPlaneDeps): ThingHandlers {
  return {
    CreateThing: (input) => {
      const { thingName } = input;
      const ids = { resourceId: thingName, resourceArn: thingArn(thingName) };
      const { thingId } = existing(ids, () => registry.createThing(input));
      service.createThing(thingName);
      return { thingName, thingArn: thingArn(thingName), thingId };
    },
    DescribeThing: ({ thingName }) => {
      const thing = registry.thing(thingName);
      return { defaultClientId: thingName, ...thing, thingArn: thingArn(thingName) };
    },
    UpdateThing: ({ thingName, ...changes }) => {
      registry.updateThing(thingName, changes);
      return {};
    },
    DeleteThing: ({ thingName, expectedVersion }) => {
      registry.deleteThing(thingName, expectedVersion);
      service.removeThing(thingName);
      return {};
    },
    ListThings: ({ maxResults, nextToken, ...filter }) => {
      const found = registry.things().filter((thing) => isAskedFor(thing, filter));
      const { items, ...more } = pageOf(
        found,
        (one) => one.thingName,
        page({ maxResults, nextToken }),
        filter,
      );
      const things = items.map(({ thingName, thingTypeName, attributes, version }) => ({
        thingName,
        thingTypeName,
        thingArn: thingArn(thingName),
        attributes,
        version,
      }));
      return { things, ...more };
    },
  };
}

export function groupHandlers({ registry, tags }: HttpPlaneDeps): GroupHandlers {
  return {
    CreateThingGroup: ({ tags: given, ...input }) => {
      const { thingGroupName } = input;
      const thingGroupArn = groupArn(thingGroupName);
      const ids = { resourceId: thingGroupName, resourceArn: thingGroupArn };
      const { thingGroupId } = existing(ids, () => registry.createGroup(input));
      if (given) tags.add(thingGroupArn, given);
      return { thingGroupName, thingGroupArn, thingGroupId };
    },
    DescribeThingGroup: ({ thingGroupName }) => describedGroup(registry.group(thingGroupName), registry),
    UpdateThingGroup: ({ thingGroupName, thingGroupProperties, expectedVersion }) => {
      const { version } = registry.updateGroup(thingGroupName, thingGroupProperties, expectedVersion);
      return { version };
    },
    DeleteThingGroup: ({ thingGroupName, expectedVersion }) => {
      registry.deleteGroup(thingGroupName, expectedVersion);
      tags.forget(groupArn(thingGroupName));
      return {};
    },
    ListThingGroups: ({ maxResults, nextToken, ...filter }) => {
      const names = groupNames(registry, filter);
      const { items, ...more } = pageOf(names, (one) => one, page({ maxResults, nextToken }), filter);
      return { thingGroups: items.map(nameAndArn), ...more };
    },
    ListThingsInThingGroup: ({ thingGroupName, recursive = false, ...paging }) => {
      registry.group(thingGroupName);
      const found = registry.thingsIn(thingGroupName, recursive);
      const question = { thingGroupName, recursive };
      const { items, ...more } = pageOf(found, (one) => one, page(paging), question);
      return { things: items, ...more };
    },
    ListThingGroupsForThing: ({ thingName, ...paging }) => {
      registry.thing(thingName);
      const { items, ...more } = pageOf(registry.groupsOf(thingName), (one) => one, page(paging), thingName);
      return { thingGroups: items.map(nameAndArn), ...more };
    },
    AddThingToThingGroup: (input) => {
      registry.join(...membership(input));
      return {};
    },
    RemoveThingFromThingGroup: (input) => {
      registry.leave(...membership(input));
      return {};
    },
    UpdateThingGroupsForThing: ({ thingName, thingGroupsToAdd = [], thingGroupsToRemove = [] }) => {
      const thing = namedBy('thing', thingName, undefined);
      for (const group of [...thingGroupsToAdd, ...thingGroupsToRemove]) registry.group(group);
      for (const group of thingGroupsToAdd) registry.join(thing, group);
      for (const group of thingGroupsToRemove) registry.leave(thing, group);
      return {};
    },
  };
}

function membership(input: InputOf<'AddThingToThingGroup'>): [thing: string, group: string] {
  const { thingName, thingArn: arn, thingGroupName, thingGroupArn } = input;
  return [namedBy('thing', thingName, arn), namedBy('thinggroup', thingGroupName, thingGroupArn)];
}

function isAskedFor(
  { attributes, thingTypeName }: Thing,
  filter: Omit<InputOf<'ListThings'>, 'maxResults' | 'nextToken'>,
): boolean {
  const { attributeName, attributeValue, usePrefixAttributeValue = false } = filter;
  if (filter.thingTypeName !== undefined && filter.thingTypeName !== thingTypeName) return false;
  if (attributeName === undefined) return true;
  const value = attributes[attributeName];
  if (value === undefined || attributeValue === undefined) return value !== undefined;
  return usePrefixAttributeValue ? value.startsWith(attributeValue) : value === attributeValue;
}

/** Without a parent: the whole tree, or its roots alone. */
function groupNames(
  registry: HttpPlaneDeps['registry'],
  filter: Omit<InputOf<'ListThingGroups'>, 'maxResults' | 'nextToken'>,
): string[] {
  const { parentGroup, namePrefixFilter = '', recursive } = filter;
  const names =
    parentGroup === undefined
      ? registry
          .groups()
          .flatMap(({ thingGroupName, parentGroupName }) =>
            recursive === false && parentGroupName !== undefined ? [] : [thingGroupName],
          )
      : registry.groupsBelow(registry.group(parentGroup).thingGroupName, recursive ?? false);
  return names.filter((name) => name.startsWith(namePrefixFilter));
}

const nameAndArn = (name: string): object => ({ groupName: name, groupArn: groupArn(name) });

function describedGroup(group: Group, registry: HttpPlaneDeps['registry']): object {
  const { thingGroupName, thingGroupId, version, thingGroupDescription, attributes, parentGroupName } = group;
  return {
    thingGroupName,
    thingGroupId,
    thingGroupArn: groupArn(thingGroupName),
    version,
    thingGroupProperties: { thingGroupDescription, attributePayload: { attributes } },
    thingGroupMetadata: {
      ...(parentGroupName !== undefined && { parentGroupName }),
      rootToParentThingGroups: registry.groupsAbove(thingGroupName).map(nameAndArn),
      creationDate: group.creationDate,
    },
  };
}
