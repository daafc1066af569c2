import { z } from 'zod';
import * as m from '../members.ts';
import { COMMON, operation } from '../operation.ts';

/** The registry, as far as jobs and their tools need it (C26). */

const ERRORS = [...COMMON, 'InternalFailureException'] as const;
const FOUND = [...ERRORS, 'ResourceNotFoundException'] as const;
const THING = [...ERRORS, 'UnauthorizedException', 'ServiceUnavailableException'] as const;
const thing = { thingName: m.thingName };
const group = { thingGroupName: m.groupName };
const properties = z.object(
  m.optional({
    thingGroupDescription: m.text({ max: 2028, pattern: '[\\x20-\\x7e]*' }),
    attributePayload: m.attributePayload,
  }),
);
const membership = m.optional({
  thingGroupName: m.groupName,
  thingGroupArn: m.text(),
  thingName: m.thingName,
  thingArn: m.text(),
});

export const thingOperations = {
  CreateThing: operation('iot', 'POST /things/{thingName}', {
    uri: thing,
    body: m.optional({
      thingTypeName: m.thingName,
      attributePayload: m.attributePayload,
      billingGroupName: m.thingName,
    }),
    errors: [...THING, 'ResourceAlreadyExistsException', 'ResourceNotFoundException'],
  }),
  DescribeThing: operation('iot', 'GET /things/{thingName}', {
    uri: thing,
    errors: [...THING, 'ResourceNotFoundException'],
  }),
  UpdateThing: operation('iot', 'PATCH /things/{thingName}', {
    uri: thing,
    body: m.optional({
      thingTypeName: m.thingName,
      attributePayload: m.attributePayload,
      expectedVersion: m.whole(),
      removeThingType: m.flag,
    }),
    errors: [...THING, 'ResourceNotFoundException', 'VersionConflictException'],
  }),
  DeleteThing: operation('iot', 'DELETE /things/{thingName}', {
    uri: thing,
    query: m.optional({ expectedVersion: m.whole() }),
    errors: [...THING, 'ResourceNotFoundException', 'VersionConflictException'],
  }),
  ListThings: operation('iot', 'GET /things', {
    query: {
      ...m.paged,
      ...m.optional({
        attributeName: m.text({ max: 128, pattern: '[a-zA-Z0-9_.,@/:#-]+' }),
        attributeValue: m.text({ max: 800, pattern: '[a-zA-Z0-9_.,@/:#=\\[\\]-]*' }),
        thingTypeName: m.thingName,
        usePrefixAttributeValue: m.flag,
      }),
    },
    errors: THING,
  }),
  CreateThingGroup: operation('iot', 'POST /thing-groups/{thingGroupName}', {
    uri: group,
    body: m.optional({ parentGroupName: m.groupName, thingGroupProperties: properties, tags: m.tags }),
    errors: [...ERRORS, 'ResourceAlreadyExistsException'],
  }),
  DescribeThingGroup: operation('iot', 'GET /thing-groups/{thingGroupName}', { uri: group, errors: FOUND }),
  UpdateThingGroup: operation('iot', 'PATCH /thing-groups/{thingGroupName}', {
    uri: group,
    body: { thingGroupProperties: properties, ...m.optional({ expectedVersion: m.whole() }) },
    errors: [...FOUND, 'VersionConflictException'],
  }),
  DeleteThingGroup: operation('iot', 'DELETE /thing-groups/{thingGroupName}', {
    uri: group,
    query: m.optional({ expectedVersion: m.whole() }),
    errors: [...ERRORS, 'VersionConflictException'],
  }),
  ListThingGroups: operation('iot', 'GET /thing-groups', {
    query: {
      ...m.paged,
      ...m.optional({ parentGroup: m.groupName, namePrefixFilter: m.groupName, recursive: m.flag }),
    },
    errors: FOUND,
  }),
  ListThingsInThingGroup: operation('iot', 'GET /thing-groups/{thingGroupName}/things', {
    uri: group,
    query: { ...m.paged, ...m.optional({ recursive: m.flag }) },
    errors: FOUND,
  }),
  ListThingGroupsForThing: operation('iot', 'GET /things/{thingName}/thing-groups', {
    uri: thing,
    query: m.paged,
    errors: FOUND,
  }),
  AddThingToThingGroup: operation('iot', 'PUT /thing-groups/addThingToThingGroup', {
    body: { ...membership, ...m.optional({ overrideDynamicGroups: m.flag }) },
    errors: FOUND,
  }),
  RemoveThingFromThingGroup: operation('iot', 'PUT /thing-groups/removeThingFromThingGroup', {
    body: membership,
    errors: FOUND,
  }),
  UpdateThingGroupsForThing: operation('iot', 'PUT /thing-groups/updateThingGroupsForThing', {
    body: m.optional({
      thingName: m.thingName,
      thingGroupsToAdd: z.array(m.groupName),
      thingGroupsToRemove: z.array(m.groupName),
      overrideDynamicGroups: m.flag,
    }),
    errors: FOUND,
  }),
};
