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
