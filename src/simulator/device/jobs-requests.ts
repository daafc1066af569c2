import { type JobsService, summaryOf } from '../service/jobs-service.ts';
import { type Execution, Refusal, type Status, TERMINAL } from '../service/types.ts';
import { type Body, booleanIn, detailsIn, jobIdIn, numberIn, statusIn, stepTimeoutIn } from './members.ts';
import { NEXT } from './topics.ts';

/** How a plane tells things: `jobDocument` is an object on MQTT and text over HTTPS (P7). */
export type DocumentForm = 'object' | 'text';

/** The four requests of a device (sections 1.4-1.7), without what the plane adds to each answer (P2, P3, D2). */
export class JobsRequests {
  readonly #service: JobsService;
  readonly #form: DocumentForm;

  constructor(service: JobsService, form: DocumentForm) {
    this.#service = service;
    this.#form = form;
  }

  /** P8-P10: both lists, also when they are empty. */
  getPending(thing: string): object {
    const listed = this.#service.listedPending(thing);
    const under = (status: Status): object[] => listed.filter((one) => one.status === status).map(summaryOf);
    return { inProgressJobs: under('IN_PROGRESS'), queuedJobs: under('QUEUED') };
  }

  /** P11-P14 */
  startNext(thing: string, body: Body): object {
    const statusDetails = detailsIn(body);
    const stepTimeoutInMinutes = stepTimeoutIn(body);
    const started = this.#service.startNext(thing, {
      ...(statusDetails && { statusDetails }),
      ...(stepTimeoutInMinutes !== undefined && { stepTimeoutInMinutes }),
    });
    return started ? { execution: this.#described(started, true) } : {};
  }

  /** P16-P20 */
  describe(thing: string, target: string, body: Body): object {
    const withDocument = booleanIn(body, 'includeJobDocument') ?? true;
    const executionNumber = numberIn(body, 'executionNumber');
    if (target === NEXT) {
      // P17: nothing pending is no refusal.
      const front = this.#service.front(thing);
      return front ? { execution: this.#described(front, withDocument) } : {};
    }
    const execution = this.#find(thing, target, executionNumber);
    if (TERMINAL.includes(execution.status))
      throw new Refusal('TerminalStateReached', `the execution is ${execution.status}`);
    return { execution: this.#described(execution, withDocument) };
  }

  /** P21-P26 */
  update(thing: string, target: string, body: Body): object {
    const status = statusIn(body);
    const statusDetails = detailsIn(body);
    const expectedVersion = numberIn(body, 'expectedVersion');
    const executionNumber = numberIn(body, 'executionNumber');
    const stepTimeoutInMinutes = stepTimeoutIn(body);
    const withState = booleanIn(body, 'includeJobExecutionState') ?? false;
    const withDocument = booleanIn(body, 'includeJobDocument') ?? false;
    this.#find(thing, target, executionNumber);
    const execution = this.#service.update(thing, target, {
      status,
      ...(statusDetails && { statusDetails }),
      ...(expectedVersion !== undefined && { expectedVersion }),
      ...(executionNumber !== undefined && { executionNumber }),
      ...(stepTimeoutInMinutes !== undefined && { stepTimeoutInMinutes }),
    });
    return {
      ...(withState && { executionState: stateOf(execution) }),
      ...(withDocument && { jobDocument: this.#document(execution) }),
    };
  }

  /** T9: a job of a namespace is not to be found here. */
  #find(thing: string, target: string, executionNumber: number | undefined): Execution {
    const execution = this.#service.execution(thing, jobIdIn(target), executionNumber);
    if (this.#service.job(target).namespaceId !== undefined)
      throw new Refusal('ResourceNotFound', `no execution of ${target} on ${thing}`);
    return execution;
  }

  #described(execution: Execution, withDocument: boolean): object {
    const jobDocument = withDocument ? { jobDocument: this.#document(execution) } : {};
    return { ...this.#service.described(execution, false), ...jobDocument };
  }

  #document(execution: Execution): unknown {
    const text = this.#service.documentOf(execution);
    return this.#form === 'text' ? text : (JSON.parse(text) as unknown);
  }
}

/** A JobExecutionState (section 1.3): empty details are left out. */
export function stateOf({ status, statusDetails, versionNumber }: Execution): object {
  const hasDetails = Object.keys(statusDetails).length > 0;
  return { status, ...(hasDetails && { statusDetails: { ...statusDetails } }), versionNumber };
}
