import { writeSync } from 'node:fs';

/** What systemd is told of this process (man 3 sd_notify), and how often it wants a sign of life. */
export interface Notifier {
  /** Whether anybody listens. */
  readonly heard: boolean;
  /** `undefined` where nobody would miss it. */
  readonly watchdogMs: number | undefined;
  /** Assignments such as `READY=1`, in one datagram. Never throws: that systemd is not told is no reason to end. */
  tell(...assignments: string[]): void;
}

const FIRST_FD = 3;
const FD_NAME = 'notify';
const CHARS_MAX = 200;

/**
 * Node has no datagram sockets of Unix, but it can write to one that is connected already: the one that the unit's
 * launcher hands on as NOTIFY_FD, or that systemd (253 and later) opens by `OpenFile=/run/systemd/notify:notify`.
 */
export function createNotifier(
  env: NodeJS.ProcessEnv = process.env,
  pid = process.pid,
  write: (fd: number, text: string) => void = writeSync,
): Notifier {
  const fd = notifyFd(env, pid);
  const forUs = env['WATCHDOG_PID'] === undefined || Number(env['WATCHDOG_PID']) === pid;
  const watchdogUs = Number(env['WATCHDOG_USEC']);
  return {
    heard: fd !== undefined,
    watchdogMs: fd !== undefined && forUs && watchdogUs > 0 ? watchdogUs / 1000 : undefined,
    tell(...assignments) {
      if (fd === undefined || assignments.length === 0) return;
      try {
        write(fd, assignments.join('\n'));
      } catch {
        // PID 1 is busy, or has executed itself anew: it is told again.
      }
    },
  };
}

/** One line that `systemctl status` shows. */
export function statusLine(text: string): string {
  return `STATUS=${text.replace(/\s+/g, ' ').slice(0, CHARS_MAX)}`;
}

function notifyFd(env: NodeJS.ProcessEnv, pid: number): number | undefined {
  const handed = Number(env['NOTIFY_FD']);
  if (Number.isInteger(handed) && handed >= FIRST_FD) return handed;
  if (Number(env['LISTEN_PID']) !== pid) return undefined;
  const index = (env['LISTEN_FDNAMES'] ?? '').split(':').indexOf(FD_NAME);
  return index < 0 ? undefined : FIRST_FD + index;
}
