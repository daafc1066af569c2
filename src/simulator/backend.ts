import { ObjectStore } from './http/objects.ts';
import { withPresignedUrls } from './service/documents.ts';
import { JobsService } from './service/jobs-service.ts';
import { Registry } from './service/registry.ts';
import { Shadows } from './service/shadows.ts';
import { Tags } from './service/tags.ts';
import { Templates } from './service/templates.ts';
import type { Notifier, SimulatorClock, Switches } from './service/types.ts';
import { createMemoryStore } from './store/memory-store.ts';
import type { Store } from './store/port.ts';

/** Everything that the planes share: what there is, and what happens to it. */
export interface Backend {
  service: JobsService;
  registry: Registry;
  templates: Templates;
  tags: Tags;
  shadows: Shadows;
  objects: ObjectStore;
}

/** As new: nothing that was made is left, in memory and on disk. */
export async function clearBackend(backend: Backend): Promise<void> {
  const { service, registry, templates, tags, shadows, objects } = backend;
  for (const thing of service.things()) for (const name of shadows.names(thing)) shadows.delete(thing, name);
  service.clear();
  // Those below before those above.
  for (const { thingGroupName } of registry.groups())
    for (const group of [...registry.groupsBelow(thingGroupName, true).reverse(), thingGroupName])
      registry.deleteGroup(group);
  for (const { jobTemplateId } of templates.list()) templates.delete(jobTemplateId);
  tags.clear();
  await objects.clear();
}

export interface BackendOptions {
  clock: SimulatorClock;
  notifier: Notifier;
  switches?: Partial<Switches>;
  /** In memory when none is given. */
  store?: Store;
  /** Where the objects of presigned URLs are. */
  objectsDirectory: string;
  /** What devices reach the HTTP plane by. */
  httpUrl(): string;
}

export function createBackend(options: BackendOptions): Backend {
  const { clock, notifier, switches, store = createMemoryStore() } = options;
  const registry = new Registry(store, clock);
  const objects = new ObjectStore({ directory: options.objectsDirectory, clock, baseUrl: options.httpUrl });
  const service = new JobsService({
    clock,
    notifier,
    ...(options.store && { store: options.store }),
    directory: registry,
    ...(switches && { switches }),
    document: (job, { thing: thingName, jobId, executionNumber }) =>
      withPresignedUrls(
        job.document,
        { thingName, jobId, executionNumber },
        job.presignedUrlConfig?.expiresInSec,
        objects,
      ),
  });
  registry.listen({
    thingJoined: (group, thing) => service.thingJoined(group, thing),
    thingLeft: (group, thing) => service.thingLeft(group, thing),
  });
  return {
    service,
    registry,
    templates: new Templates(store, clock),
    tags: new Tags(store),
    shadows: new Shadows(store),
    objects,
  };
}
