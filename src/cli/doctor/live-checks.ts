import type { LiveCheck } from '../control/commands.ts';
import { explain } from './explain.ts';
import { type Finding, fail, ok, skipped, warn } from './finding.ts';

/** The link as the running agent sees it: a second connection with its client id would end its session (L26). */
export function liveChecks({ pid, link, agent, roundTrip, describe }: LiveCheck): Finding[] {
  const asked = `the running agent (pid ${pid}) was asked, since a second connection would end its session`;
  const findings: Finding[] = [];
  if (link.up) {
    const version = link.mqttVersion === undefined ? '' : `, MQTT ${link.mqttVersion === 5 ? '5' : '3.1.1'}`;
    findings.push(ok('CONNECT', `up since ${link.since}${version}; ${asked}`));
    findings.push(ok('SUBSCRIBE', `all ${link.filters.length} filters are granted`));
  } else if (link.lastFailure === undefined) {
    findings.push(warn('CONNECT', `the link is not up yet; ${asked}`, 'ask again in a moment'));
  } else {
    const { cause, fix } = explain(link.lastFailure);
    const said = cause === link.lastFailure ? cause : `${cause}: ${link.lastFailure}`;
    findings.push(fail('CONNECT', `down since ${link.since}: ${said}; ${asked}`, fix));
  }
  if (link.up && link.lastFailure !== undefined && /session taken over/i.test(link.lastFailure)) {
    const { cause, fix } = explain(link.lastFailure);
    findings.push(fail('client id', `${cause}; last at ${link.lastFailureAt ?? 'an unknown time'}`, fix));
  }
  if (roundTrip) {
    findings.push(
      roundTrip.ok
        ? ok('round trip', `${roundTrip.ms} ms`)
        : fail('round trip', roundTrip.reason, 'the link is up and carries nothing: look at the network'),
    );
  }
  if (describe) findings.push(describeFinding(describe));
  findings.push(
    agent.stranded === undefined
      ? ok('agent', agent.job ? `${agent.state}: ${agent.job.jobId}, ${agent.job.move}` : agent.state)
      : fail('agent', `stranded: ${agent.stranded}`, 'it starts nothing but a job with "repair": true'),
  );
  if (!link.up)
    findings.push(skipped('filters', 'stop the agent to try each by itself: systemctl stop evenkeel'));
  return findings;
}

function describeFinding(describe: NonNullable<LiveCheck['describe']>): Finding {
  const name = 'PUBLISH $next/get';
  switch (describe.kind) {
    case 'accepted':
      return ok(name, 'answered');
    case 'rejected':
      return warn(name, `answered: ${describe.reason}`, 'the agent tries again by itself');
    case 'noAnswer':
      return fail(
        name,
        `no answer: ${describe.reason}`,
        'the policy may not allow iot:Publish on it or iot:Receive on its answers (evenkeel policy), or no AWS IoT Jobs is behind this broker',
      );
  }
}
