/** The page's only style; its hash stands in the page's own security policy, so nothing else can be added to it. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --ground: #fbfbfa; --card: #fff; --ink: #1d2125; --soft: #5c6670; --line: #dfe3e6; --track: #eef0f2;
  --do: #3d8fd1; --undo: #b07ac9; --good: #1f7a4d; --good-ground: #e3f4ea; --warn: #8a5a00; --warn-ground: #fdf1d6;
  --bad: #b3261e; --bad-ground: #fde7e5; --calm: #1c6ea4; --calm-ground: #e3f0fa;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171a; --card: #1c2024; --ink: #e6e9ec; --soft: #9aa5b0; --line: #30363c; --track: #282d33;
    --do: #58a6e0; --undo: #c79be0; --good: #6fd09c; --good-ground: #16352a; --warn: #f0c060; --warn-ground: #3a2d10;
    --bad: #ff9189; --bad-ground: #431b18; --calm: #7cc0f0; --calm-ground: #14324a;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .6rem; }
p { margin: .3rem 0; }
code, pre, .print { font: .86em/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
small, .soft { color: var(--soft); font-size: .88rem; }
.badge { display: inline-block; padding: .1rem .6rem; border-radius: 1rem; font-weight: 600; font-size: .88rem; white-space: nowrap; }
.good { color: var(--good); background: var(--good-ground); }
.warn { color: var(--warn); background: var(--warn-ground); }
.bad { color: var(--bad); background: var(--bad-ground); }
.calm { color: var(--calm); background: var(--calm-ground); }
.plain { color: var(--soft); background: var(--track); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .8rem 0 0; }
dt { color: var(--soft); }
dd { margin: 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; }
.advice { border-left: 4px solid var(--warn); margin-top: 1.2rem; }
.advice ul { margin: .3rem 0 0; padding-left: 1.2rem; }
.rows { padding: .4rem 1rem .8rem; }
.row { display: grid; grid-template-columns: minmax(9rem, 15rem) 1fr 10rem; gap: 0 .9rem; align-items: center; padding: .35rem 0; border-top: 1px solid var(--line); }
.row:first-child { border-top: 0; }
.row .took { text-align: right; color: var(--soft); font-size: .88rem; }
.row .note { grid-column: 1 / -1; color: var(--bad); font-size: .9rem; }
svg { display: block; width: 100%; height: 1.3rem; }
.track { fill: var(--track); }
.seg-do { fill: var(--do); } .seg-undo { fill: var(--undo); } .seg-bad { fill: var(--bad); } .seg-good { fill: var(--good); }
.turn { stroke: var(--bad); stroke-width: 2; vector-effect: non-scaling-stroke; }
.commit { stroke: var(--good); stroke-width: 2; vector-effect: non-scaling-stroke; }
.key { display: inline-block; width: .9rem; height: .75rem; margin: 0 .3rem 0 .9rem; vertical-align: -.05rem; }
.key:first-child { margin-left: 0; }
.key svg { height: .75rem; }
.resource { padding: .7rem 1rem; margin-bottom: .6rem; }
.resource.differs { border-color: var(--bad); border-left: 4px solid var(--bad); }
.resource header { display: flex; gap: .6rem; justify-content: space-between; align-items: baseline; }
.prints { display: grid; grid-template-columns: max-content 1fr; gap: 0 .8rem; margin-top: .3rem; }
.prints span { color: var(--soft); font-size: .88rem; }
mark { color: inherit; background: var(--warn-ground); border-radius: .2rem; padding: 0 .15rem; }
ol.events { list-style: none; margin: 0; padding: .5rem 1rem; }
ol.events li { display: grid; grid-template-columns: 6.5rem 1fr; gap: .8rem; padding: .12rem 0; }
ol.events time { color: var(--soft); text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.strong { font-weight: 600; }
details { margin-bottom: .5rem; }
summary { cursor: pointer; }
pre { margin: .5rem 0 0; white-space: pre-wrap; max-height: 24rem; overflow: auto; }
pre.err { color: var(--bad); }
footer { margin-top: 2.5rem; }
@media (max-width: 40rem) {
  .row { grid-template-columns: 1fr max-content; }
  .row .bar { grid-column: 1 / -1; order: 3; }
  .prints { grid-template-columns: 1fr; }
  ol.events li { grid-template-columns: 4.6rem 1fr; gap: .6rem; }
  .resource header { flex-direction: column; gap: .2rem; }
  h1 { font-size: 1.25rem; }
}
@media print { body { background: none; } .card { break-inside: avoid; } pre { max-height: none; } }
`;
