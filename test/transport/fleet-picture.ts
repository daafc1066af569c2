import { ACCOUNT_CONNECTS_PER_SECOND, DEVICES, type Outcome, type Scenario, type Strategy } from './fleet.ts';

/** The outcomes of a fleet as a picture (SVG) and as a table (Markdown). */
export type Outcomes = Record<Scenario, Record<Strategy, Outcome>>;

const COLOURS: Record<Strategy, string> = {
  'no jitter': '#9a9a9a',
  'equal jitter': '#d97706',
  'full jitter': '#1d4ed8',
};
const WIDTH = 860;
const PANEL = { left: 70, top: 74, width: 760, height: 150, gap: 74 };
const SECONDS_SHOWN: Record<Scenario, number> = {
  'every link is cut, and the broker is there': 120,
  'the broker is away for ten minutes': 360,
  'power is back, every device boots in the same second': 120,
};
const TOP = 20_000;

export function pictureOf(outcomes: Outcomes): string {
  const scenarios = Object.entries(outcomes) as [Scenario, Record<Strategy, Outcome>][];
  const height = PANEL.top + scenarios.length * (PANEL.height + PANEL.gap) - 20;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    `<title>CONNECTs in each second, of ${DEVICES.toLocaleString('en')} devices</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    text(PANEL.left, 22, `CONNECTs in each second, of ${DEVICES.toLocaleString('en')} devices`, 'bold'),
    ...legend(),
    ...scenarios.flatMap(([scenario, of], index) =>
      panel(scenario, of, PANEL.top + index * (PANEL.height + PANEL.gap)),
    ),
    '</svg>',
  ].join('\n')}\n`;
}

function legend(): string[] {
  return Object.entries(COLOURS).flatMap(([strategy, colour], index) => {
    const x = PANEL.left + index * 130;
    return [`<rect x="${x}" y="34" width="18" height="4" fill="${colour}"/>`, text(x + 24, 40, strategy)];
  });
}

function panel(scenario: Scenario, of: Record<Strategy, Outcome>, top: number): string[] {
  const seconds = SECONDS_SHOWN[scenario];
  const bottom = top + PANEL.height;
  const right = PANEL.left + PANEL.width;
  const x = (second: number): number => round(PANEL.left + (second / seconds) * PANEL.width);
  const y = (count: number): number =>
    round(count < 1 ? bottom : bottom - ((Math.log10(count) + 0.2) / (Math.log10(TOP) + 0.2)) * PANEL.height);
  const lines: string[] = [text(PANEL.left, top - 8, scenario, 'bold')];
  for (const count of [1, 10, 100, 1000, 10_000]) {
    lines.push(line(PANEL.left, y(count), right, y(count), '#e5e5e5'));
    lines.push(text(PANEL.left - 8, y(count) + 4, count.toLocaleString('en'), 'normal', 'end'));
  }
  for (let second = 0; second <= seconds; second += seconds / 6) {
    lines.push(text(x(second), bottom + 16, `${second} s`, 'normal', 'middle'));
  }
  for (const strategy of Object.keys(COLOURS) as Strategy[]) {
    lines.push(curve(of[strategy].perSecond.slice(0, seconds), COLOURS[strategy], { x, y }));
  }
  const limit = y(ACCOUNT_CONNECTS_PER_SECOND);
  lines.push(line(PANEL.left, limit, right, limit, '#b91c1c', '6 4'));
  lines.push(
    text(right, limit - 5, `quota: ${ACCOUNT_CONNECTS_PER_SECOND} a second`, 'normal', 'end', '#b91c1c'),
  );
  lines.push(line(PANEL.left, bottom, right, bottom, '#525252'));
  return lines;
}

/** A step for each second. */
function curve(
  perSecond: readonly number[],
  colour: string,
  { x, y }: { x(second: number): number; y(count: number): number },
): string {
  const steps = perSecond.map((count, second) => `V${y(count)}H${x(second + 1)}`);
  return `<path d="M${x(0)},${y(0)}${steps.join('')}V${y(0)}" fill="none" stroke="${colour}" stroke-width="1.4"/>`;
}

function line(x1: number, y1: number, x2: number, y2: number, colour: string, dash = ''): string {
  const dashed = dash === '' ? '' : ` stroke-dasharray="${dash}"`;
  return `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${colour}"${dashed}/>`;
}

function text(
  x: number,
  y: number,
  words: string,
  weight = 'normal',
  anchor = 'start',
  fill = '#171717',
): string {
  return `<text x="${x}" y="${y}" font-weight="${weight}" text-anchor="${anchor}" fill="${fill}">${words}</text>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

export function tableOf(outcomes: Outcomes): string {
  const rows = Object.entries(outcomes).flatMap(([scenario, of]) =>
    Object.entries(of).map(
      ([strategy, { peak, allBackSeconds }]) =>
        `| ${scenario} | ${strategy} | ${peak.toLocaleString('en')} | ${spell(allBackSeconds)} |`,
    ),
  );
  return [
    '| what happened | waits | most CONNECTs in a second | all are back after |',
    '|---|---|---|---|',
    ...rows,
  ].join('\n');
}

function spell(seconds: number): string {
  return seconds < 600 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}
