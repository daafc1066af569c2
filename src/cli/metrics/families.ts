import { type Counters, SECONDS } from './counters.ts';
import { exposition, type Family, histogramSamples } from './exposition.ts';

export interface Gauges {
  version: string;
  linkUp: boolean;
  receiptsWaiting: number;
  journalBytes: number;
  underWay: number;
  needsHelp: number;
}

const OUTCOMES = ['committed', 'rolledBack', 'notReversed', 'inconsistent', 'rejected'];
const GRADES = ['full', 'bestEffort', 'none'];
const RESULTS = ['rolledBack', 'notReversed', 'inconsistent'];

/** Every sample is there from the start, with 0: an alarm on a rate needs the value before the first one. */
export function metricsText(counters: Counters, gauges: Gauges): string {
  const families: Family[] = [
    {
      name: 'evenkeel_build_info',
      type: 'gauge',
      help: 'Version of the agent; always 1.',
      samples: [{ labels: { version: gauges.version }, value: 1 }],
    },
    {
      name: 'evenkeel_jobs_total',
      type: 'counter',
      help: 'Jobs that have ended here, by outcome.',
      samples: OUTCOMES.map((outcome) => ({ labels: { outcome }, value: counters.jobs[outcome] ?? 0 })),
    },
    {
      name: 'evenkeel_rollbacks_total',
      type: 'counter',
      help: 'Jobs that were turned back, by the grade of their plan and what became of the device.',
      samples: GRADES.flatMap((grade) =>
        RESULTS.map((result) => ({
          labels: { grade, result },
          value: counters.rollbacks[`${grade} ${result}`] ?? 0,
        })),
      ),
    },
    {
      name: 'evenkeel_cancel_latency_seconds',
      type: 'histogram',
      help: 'From knowing that a job has to end to its step having stopped and the undo beginning.',
      samples: histogramSamples(counters.cancelSeconds, SECONDS),
    },
    {
      name: 'evenkeel_undo_duration_seconds',
      type: 'histogram',
      help: 'From turning back to the device being compared with what it was.',
      samples: histogramSamples(counters.undoSeconds, SECONDS),
    },
    {
      name: 'evenkeel_reconnects_total',
      type: 'counter',
      help: 'Links to the cloud that were made anew while the agent ran.',
      samples: [{ value: counters.reconnects }],
    },
    gauge('evenkeel_link_up', 'Whether the link to the cloud is up.', gauges.linkUp ? 1 : 0),
    gauge('evenkeel_outbox_receipts', 'Receipts that the cloud has not taken yet.', gauges.receiptsWaiting),
    gauge('evenkeel_journal_bytes', 'Size of all journals together.', gauges.journalBytes),
    gauge('evenkeel_jobs_running', 'Jobs under way.', gauges.underWay),
    gauge(
      'evenkeel_needs_help',
      'Jobs that left the device inconsistent, and journals that cannot be read.',
      gauges.needsHelp,
    ),
  ];
  return exposition(families);
}

function gauge(name: string, help: string, value: number): Family {
  return { name, type: 'gauge', help, samples: [{ value }] };
}
