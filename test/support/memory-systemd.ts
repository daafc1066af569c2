import { type Systemd, SystemdFailed, type UnitState, type UnitVerb } from '../../src/host/systemd.ts';

/** A machine whose PID 1 is something else. */
export const noSystemd: Systemd = {
  booted: () => Promise.resolve(false),
  ownUnit: () => Promise.resolve(undefined),
  show: () => Promise.reject(new SystemdFailed('look', 'no systemd')),
  queue: () => Promise.reject(new SystemdFailed('queue', 'no systemd')),
  resetFailed: () => Promise.resolve(),
  endBoot: () => Promise.reject(new SystemdFailed('reboot', 'no systemd')),
  reload: () => Promise.reject(new SystemdFailed('reload', 'no systemd')),
  describe: () => Promise.resolve(''),
};

/** How a unit of the machine in memory behaves. */
export interface MemoryUnit {
  up: boolean;
  /** Looks that a start or a stop takes until the unit rests. */
  slow?: number;
  /** Its start ends in a failure; asked at each start. */
  fails?: () => boolean;
  /** It falls over this many looks after its start. */
  fallsAfter?: number;
  /** Systemd starts it again when it falls. */
  restarts?: boolean;
  oneshot?: boolean;
  needsReload?: boolean;
}

export interface MemorySystemd extends Systemd {
  /** Every verb that was queued, and every reload, in order. */
  readonly asked: readonly string[];
  units: Map<string, MemoryUnit>;
  isUp(unit: string): boolean;
}

interface Running {
  active: string;
  result: string;
  run: number;
  looks: number;
  restarts: number;
  becoming?: 'active' | 'inactive' | 'failed';
}

/** A systemd in memory: jobs take looks to finish, as those of the real one take time. */
export function memorySystemd(
  units: Record<string, MemoryUnit>,
  { own }: { own?: string } = {},
): MemorySystemd {
  const known = new Map(Object.entries(units));
  const asked: string[] = [];
  const running = new Map<string, Running>(
    [...known].map(([name, { up }]) => [
      name,
      { active: up ? 'active' : 'inactive', result: 'success', run: up ? 1 : 0, looks: 0, restarts: 0 },
    ]),
  );

  const begin = (name: string, verb: UnitVerb): void => {
    const unit = known.get(name)!;
    const now = running.get(name)!;
    const wasUp = now.active === 'active';
    if (verb === 'start' && wasUp) return;
    now.looks = unit.slow ?? 1;
    if (verb === 'stop') {
      now.active = wasUp ? 'deactivating' : 'inactive';
      if (wasUp) now.becoming = 'inactive';
      return;
    }
    now.run += 1;
    now.active = 'activating';
    now.becoming = unit.fails?.() === true ? 'failed' : unit.oneshot === true ? 'inactive' : 'active';
  };

  const passLook = (name: string): void => {
    const unit = known.get(name)!;
    const now = running.get(name)!;
    if (now.becoming) {
      now.looks -= 1;
      if (now.looks > 0) return;
      now.active = now.becoming;
      now.result = now.becoming === 'failed' ? 'exit-code' : 'success';
      delete now.becoming;
      now.looks = unit.fallsAfter ?? 0;
    } else if (now.active === 'active' && now.looks > 0) {
      now.looks -= 1;
      if (now.looks > 0) return;
      now.active = unit.restarts === true ? 'active' : 'failed';
      if (unit.restarts === true) Object.assign(now, { run: now.run + 1, restarts: now.restarts + 1 });
    }
  };

  return {
    asked,
    units: known,
    isUp: (name) => running.get(name)?.active === 'active',
    booted: () => Promise.resolve(true),
    ownUnit: () => Promise.resolve(own),
    show(name) {
      const unit = known.get(name);
      if (!unit) return Promise.resolve(stateOf({}));
      if (!running.has(name))
        running.set(name, { active: 'inactive', result: 'success', run: 0, looks: 0, restarts: 0 });
      passLook(name);
      const { active, result, run, restarts, becoming } = running.get(name)!;
      return Promise.resolve(
        stateOf({
          load: 'loaded',
          active,
          result,
          type: unit.oneshot === true ? 'oneshot' : 'simple',
          invocationId: run === 0 ? '' : `run-${run}`,
          restarts,
          hasJob: becoming !== undefined,
          needsReload: unit.needsReload === true,
        }),
      );
    },
    queue(verb, name) {
      asked.push(`${verb} ${name}`);
      if (!known.has(name))
        return Promise.reject(new SystemdFailed(`${verb} ${name}`, `Unit ${name} not found.`));
      begin(name, verb);
      return Promise.resolve();
    },
    resetFailed: () => Promise.resolve(),
    endBoot(how) {
      asked.push(how);
      return Promise.resolve();
    },
    reload() {
      asked.push('reload');
      for (const unit of known.values()) unit.needsReload = false;
      return Promise.resolve();
    },
    describe: (name) => Promise.resolve(`${name}: what its log says`),
  };
}

function stateOf(change: Partial<UnitState>): UnitState {
  return {
    load: 'not-found',
    active: 'inactive',
    sub: 'dead',
    result: 'success',
    type: 'simple',
    file: 'enabled',
    invocationId: '',
    restarts: 0,
    hasJob: false,
    needsReload: false,
    ...change,
  };
}
