import { createHash } from 'node:crypto';
import type { Collection, Store } from '../store/port.ts';
import { groupArn, targetOf, thingArn } from './arns.ts';
import { type Directory, Refusal, type SimulatorClock } from './types.ts';

/** Things, thing groups and who is in which: what jobs are made for (C26). */

export type Attributes = Record<string, string>;

export interface AttributePayload {
  attributes?: Attributes;
  merge?: boolean;
}

export interface Thing {
  thingName: string;
  thingId: string;
  thingTypeName?: string;
  billingGroupName?: string;
  attributes: Attributes;
  version: number;
}

export interface Group {
  thingGroupName: string;
  thingGroupId: string;
  parentGroupName?: string;
  thingGroupDescription?: string;
  attributes: Attributes;
  version: number;
  /** Epoch seconds. */
  creationDate: number;
}

export interface GroupProperties {
  thingGroupDescription?: string;
  attributePayload?: AttributePayload;
}

/** Told when a thing comes into a group or leaves it, also by way of a group below. */
export interface MembershipListener {
  thingJoined(group: string, thing: string): void;
  thingLeft(group: string, thing: string): void;
}

interface Membership {
  thing: string;
  group: string;
}

export class Registry implements Directory {
  readonly #things: Collection<Thing>;
  readonly #groups: Collection<Group>;
  readonly #memberships: Collection<Membership>;
  readonly #inGroup = new Map<string, Set<string>>();
  readonly #ofThing = new Map<string, Set<string>>();
  readonly #below = new Map<string, Set<string>>();
  readonly #nowSeconds: () => number;
  #listener: MembershipListener = { thingJoined: () => undefined, thingLeft: () => undefined };

  constructor(store: Store, clock: Pick<SimulatorClock, 'wallMs'>) {
    this.#nowSeconds = () => Math.floor(clock.wallMs()) / 1000;
    this.#things = store.collection('things');
    this.#groups = store.collection('thingGroups');
    this.#memberships = store.collection('memberships');
    for (const group of this.#groups.values()) this.#indexGroup(group);
    for (const membership of this.#memberships.values()) this.#index(membership);
  }

  listen(listener: MembershipListener): void {
    this.#listener = listener;
  }

  hasThing(thing: string): boolean {
    return this.#things.has(thing);
  }

  addThing(thing: string): void {
    if (!this.hasThing(thing)) this.createThing({ thingName: thing });
  }

  thingNames(): IterableIterator<string> {
    return this.things()
      .map(({ thingName }) => thingName)
      .values();
  }

  thing(name: string): Thing {
    const thing = this.#things.get(name);
    if (!thing) throw new Refusal('ResourceNotFound', `Thing ${name} cannot be found.`);
    return thing;
  }

  things(): Thing[] {
    return [...this.#things.values()];
  }

  /** The same thing once more is no error; another one by its name is. */
  createThing(wanted: {
    thingName: string;
    thingTypeName?: string;
    billingGroupName?: string;
    attributePayload?: AttributePayload;
  }): Thing {
    const { thingName, attributePayload, ...rest } = wanted;
    const attributes = { ...attributePayload?.attributes };
    const old = this.#things.get(thingName);
    if (old) {
      const { thingTypeName, billingGroupName } = old;
      const same =
        wanted.thingTypeName === thingTypeName &&
        wanted.billingGroupName === billingGroupName &&
        sameAttributes(attributes, old.attributes);
      if (same) return old;
      throw new Refusal(
        'ResourceAlreadyExists',
        `Thing ${thingName} already exists in account with different attributes`,
      );
    }
    const thing: Thing = { thingName, thingId: idOf('thing', thingName), ...rest, attributes, version: 1 };
    this.#things.set(thingName, thing);
    return thing;
  }

  updateThing(
    thingName: string,
    changes: {
      thingTypeName?: string;
      attributePayload?: AttributePayload;
      expectedVersion?: number;
      removeThingType?: boolean;
    },
  ): void {
    const { thingTypeName, attributePayload, expectedVersion, removeThingType = false } = changes;
    const thing = this.thing(thingName);
    if (removeThingType && thingTypeName !== undefined)
      throw new Refusal('InvalidRequest', 'thingTypeName and removeThingType cannot be given together');
    checkVersion(thing.version, expectedVersion);
    if (thingTypeName !== undefined) thing.thingTypeName = thingTypeName;
    if (removeThingType) delete thing.thingTypeName;
    if (attributePayload) thing.attributes = changedAttributes(thing.attributes, attributePayload);
    thing.version += 1;
    this.#things.set(thingName, thing);
  }

  /** A thing that does not exist is no error. */
  deleteThing(thing: string, expectedVersion?: number): void {
    const found = this.#things.get(thing);
    if (!found) return;
    checkVersion(found.version, expectedVersion);
    for (const group of [...(this.#ofThing.get(thing) ?? [])]) this.#leave(thing, group);
    this.#things.delete(thing);
  }

  hasGroup(group: string): boolean {
    return this.#groups.has(group);
  }

  group(name: string): Group {
    const group = this.#groups.get(name);
    if (!group) throw new Refusal('ResourceNotFound', `Thing group ${name} cannot be found.`);
    return group;
  }

  groups(): Group[] {
    return [...this.#groups.values()];
  }

  createGroup(wanted: {
    thingGroupName: string;
    parentGroupName?: string;
    thingGroupProperties?: GroupProperties;
  }): Group {
    const { thingGroupName, parentGroupName, thingGroupProperties = {} } = wanted;
    const { thingGroupDescription, attributePayload } = thingGroupProperties;
    if (parentGroupName !== undefined) this.group(parentGroupName);
    const old = this.#groups.get(thingGroupName);
    if (old) {
      const same =
        old.parentGroupName === parentGroupName &&
        old.thingGroupDescription === thingGroupDescription &&
        sameAttributes(old.attributes, attributePayload?.attributes ?? {});
      if (same) return old;
      throw new Refusal('ResourceAlreadyExists', `Thing Group ${thingGroupName} already exists`);
    }
    const group: Group = {
      thingGroupName,
      thingGroupId: idOf('thinggroup', thingGroupName),
      ...(parentGroupName !== undefined && { parentGroupName }),
      ...(thingGroupDescription !== undefined && { thingGroupDescription }),
      attributes: { ...attributePayload?.attributes },
      version: 1,
      creationDate: this.#nowSeconds(),
    };
    this.#groups.set(thingGroupName, group);
    this.#indexGroup(group);
    return group;
  }

  updateGroup(name: string, properties: GroupProperties, expectedVersion?: number): Group {
    const group = this.group(name);
    checkVersion(group.version, expectedVersion);
    const { thingGroupDescription, attributePayload } = properties;
    if (thingGroupDescription !== undefined) group.thingGroupDescription = thingGroupDescription;
    if (attributePayload) group.attributes = changedAttributes(group.attributes, attributePayload);
    group.version += 1;
    this.#groups.set(name, group);
    return group;
  }

  /** A group that does not exist is no error; one with groups below it is. */
  deleteGroup(name: string, expectedVersion?: number): void {
    const group = this.#groups.get(name);
    if (!group) return;
    checkVersion(group.version, expectedVersion);
    if ((this.#below.get(name)?.size ?? 0) > 0)
      throw new Refusal(
        'InvalidRequest',
        `Cannot delete thing group ${name} when there are still child groups attached to it`,
      );
    for (const thing of [...(this.#inGroup.get(name) ?? [])]) this.#leave(thing, name);
    this.#groups.delete(name);
    if (group.parentGroupName !== undefined) this.#below.get(group.parentGroupName)?.delete(name);
  }

  /** The groups right below, or all groups below. */
  groupsBelow(name: string, recursive = false): string[] {
    const direct = [...(this.#below.get(name) ?? [])];
    return recursive ? direct.flatMap((one) => [one, ...this.groupsBelow(one, true)]) : direct;
  }

  /** From the root down to the parent. */
  groupsAbove(name: string): string[] {
    const parent = this.#groups.get(name)?.parentGroupName;
    return parent === undefined ? [] : [...this.groupsAbove(parent), parent];
  }

  isIn(thing: string, group: string): boolean {
    return this.#around(thing).has(group);
  }

  thingsIn(group: string, recursive = true): string[] {
    const groups = recursive ? [group, ...this.groupsBelow(group, true)] : [group];
    return [...new Set(groups.flatMap((one) => [...(this.#inGroup.get(one) ?? [])]))];
  }

  groupsOf(thing: string): string[] {
    return [...(this.#ofThing.get(thing) ?? [])];
  }

  join(thing: string, group: string): void {
    this.thing(thing);
    this.group(group);
    if (this.#inGroup.get(group)?.has(thing) === true) return;
    const before = this.#around(thing);
    const membership = { thing, group };
    this.#memberships.set(`${group}/${thing}`, membership);
    this.#index(membership);
    for (const one of this.#around(thing)) if (!before.has(one)) this.#listener.thingJoined(one, thing);
  }

  leave(thing: string, group: string): void {
    this.thing(thing);
    this.group(group);
    this.#leave(thing, group);
  }

  #leave(thing: string, group: string): void {
    if (!this.#memberships.delete(`${group}/${thing}`)) return;
    const before = this.#around(thing);
    this.#inGroup.get(group)?.delete(thing);
    this.#ofThing.get(thing)?.delete(group);
    const after = this.#around(thing);
    for (const one of before) if (!after.has(one)) this.#listener.thingLeft(one, thing);
  }

  /** Every group that counts the thing as its own, directly or by a group below. */
  #around(thing: string): Set<string> {
    return new Set(this.groupsOf(thing).flatMap((one) => [...this.groupsAbove(one), one]));
  }

  #index({ thing, group }: Membership): void {
    this.#inGroup.set(group, (this.#inGroup.get(group) ?? new Set<string>()).add(thing));
    this.#ofThing.set(thing, (this.#ofThing.get(thing) ?? new Set<string>()).add(group));
  }

  #indexGroup({ thingGroupName, parentGroupName }: Group): void {
    if (parentGroupName === undefined) return;
    const below = this.#below.get(parentGroupName) ?? new Set<string>();
    this.#below.set(parentGroupName, below.add(thingGroupName));
  }
}

/** The name that a request means, given by name or by ARN. */
export function namedBy(
  kind: 'thing' | 'thinggroup',
  name: string | undefined,
  arn: string | undefined,
): string {
  const target = arn === undefined ? undefined : targetOf(arn);
  if (arn !== undefined && target?.kind !== kind)
    throw new Refusal('InvalidRequest', `${arn} is no ARN of a ${kind}`);
  const found = name ?? target?.name;
  if (found === undefined || (name !== undefined && target && target.name !== name))
    throw new Refusal('InvalidRequest', `the name or the ARN of one ${kind} is needed`);
  return found;
}

export function arnOf(kind: 'thing' | 'thinggroup', name: string): string {
  return kind === 'thing' ? thingArn(name) : groupArn(name);
}

function checkVersion(version: number, expected: number | undefined): void {
  if (expected !== undefined && expected !== version)
    throw new Refusal(
      'VersionConflict',
      `Expected version ${expected} but the current version is ${version}`,
    );
}

/** Merged or replaced; an empty value removes its attribute. */
function changedAttributes(
  old: Attributes,
  { attributes = {}, merge = false }: AttributePayload,
): Attributes {
  const all = { ...(merge ? old : {}), ...attributes };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== ''));
}

function sameAttributes(a: Attributes, b: Attributes): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

/** Ids look like the service's, and are the same in every run. */
export function idOf(kind: string, name: string): string {
  const hex = createHash('sha256').update(`${kind}/${name}`).digest('hex');
  return [8, 4, 4, 4, 12]
    .reduce(({ ids, at }, length) => ({ ids: [...ids, hex.slice(at, at + length)], at: at + length }), {
      ids: [] as string[],
      at: 0,
    })
    .ids.join('-');
}
