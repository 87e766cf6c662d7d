/** A square with a round hole: the tab is found again. */
export const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="4" fill="#1a56c4"/><circle cx="8" cy="8" r="3.2" fill="none" stroke="#fff" stroke-width="2"/></svg>`;

/** The page's own style sheet: light and dark by the reader's choice; nothing is loaded from elsewhere. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #f4f5f7; --card: #ffffff; --sunk: #f3f4f7; --line: #dfe2e8; --text: #1b1f27; --quiet: #5d6675; --link: #1a56c4;
  --good: #17703a; --good-bg: #dff3e5; --busy: #1a56c4; --busy-bg: #e1eafb; --warn: #8a5000; --warn-bg: #fcefd4;
  --bad: #b3261e; --bad-bg: #fbe4e2; --off: #4d5564; --off-bg: #e6e9ee; --odd: #6b3fa0; --odd-bg: #eee5f8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #101319; --card: #181c24; --sunk: #1f242e; --line: #2d343f; --text: #e4e7ec; --quiet: #98a2b3; --link: #84adff;
    --good: #6fd394; --good-bg: #143322; --busy: #84adff; --busy-bg: #182a4c; --warn: #f2b84b; --warn-bg: #3a2a0d;
    --bad: #ff8a80; --bad-bg: #431c1a; --off: #b0b8c4; --off-bg: #2a303a; --odd: #c9a7f0; --odd-bg: #33234a;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 75rem; padding: 1.5rem 1.25rem 3rem; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; overflow-wrap: anywhere;
}
h1, h2, h3, h4, p, ul, ol { margin: 0; padding: 0; }
ul, ol { list-style: none; }
a { color: var(--link); }
/* A text of others that runs from right to left does not reorder what stands beside it. */
code, strong, h3, .text, .hint, .why, .file, .because, .said { unicode-bidi: isolate; }
code, pre { font: 0.87em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
h1 { font-size: 1.7rem; line-height: 1.2; letter-spacing: -0.01em; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 0.7rem; }
h3 { font-size: 1.05rem; }
h3 a { color: inherit; text-decoration: none; }
h3 a:hover, h3 a:focus { text-decoration: underline; }
h4 { font-size: 0.72rem; font-weight: 600; text-transform: uppercase; letter-spacing: 0.07em; color: var(--quiet); margin-bottom: 0.25rem; }
.brand, .count, .quiet { color: var(--quiet); font-weight: 400; }
.brand { font-size: 1rem; letter-spacing: 0; }
.count { font-size: 0.87rem; margin-left: 0.35rem; }
.quiet, .hint, .because { font-size: 0.92em; }
.bar { display: flex; flex-wrap: wrap; gap: 0.2rem 1.5rem; justify-content: space-between; align-items: baseline; }
.looked { color: var(--quiet); font-size: 0.92em; }
.commit { margin-top: 0.6rem; }
.note { margin-top: 0.8rem; padding: 0.6rem 0.8rem; border-radius: 8px; background: var(--bad-bg); border-left: 4px solid var(--bad); }
.conditions { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 0.6rem; margin-top: 1rem; }
.conditions li { background: var(--card); border: 1px solid var(--line); border-top: 3px solid var(--good); border-radius: 8px; padding: 0.5rem 0.75rem 0.6rem; }
.conditions li.bad { border-top-color: var(--bad); }
.conditions .word { display: block; font-weight: 600; color: var(--good); }
.conditions .bad .word { color: var(--bad); }
.conditions .text { font-size: 0.92em; }
.hint { display: block; color: var(--quiet); }
.hint::before { content: "→ "; }
.service, .pass, .issues li, .scroll { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.service { padding: 0.8rem 1rem 0.9rem; margin-bottom: 0.75rem; border-left: 5px solid var(--edge, var(--line)); }
.title { display: flex; flex-wrap: wrap; align-items: center; gap: 0.25rem 0.7rem; }
.title .file { margin-left: auto; }
.badge { padding: 0.08rem 0.6rem; border-radius: 99px; font-size: 0.85em; font-weight: 600; color: var(--ink); background: var(--paint); }
.s-converged { --edge: var(--good); --ink: var(--good); --paint: var(--good-bg); }
.s-changing, .s-removing { --edge: var(--busy); --ink: var(--busy); --paint: var(--busy-bg); }
.s-waiting, .s-held-back { --edge: var(--warn); --ink: var(--warn); --paint: var(--warn-bg); }
.s-degraded, .s-refused, .s-returning, .s-flapping { --edge: var(--bad); --ink: var(--bad); --paint: var(--bad-bg); }
.s-stopped, .s-paused, .s-unknown { --edge: var(--off); --ink: var(--off); --paint: var(--off-bg); }
.s-orphan { --edge: var(--odd); --ink: var(--odd); --paint: var(--odd-bg); }
.lines { margin-top: 0.6rem; border-radius: 6px; overflow: hidden; }
.lines li { padding: 0.4rem 0.7rem; background: var(--warn-bg); border-bottom: 1px solid var(--card); }
.lines .k-refused, .lines .k-error, .lines .k-last-error { background: var(--bad-bg); }
.lines .hint, .lines .quiet { color: inherit; opacity: 0.8; }
.word { font-weight: 600; }
.lines .word { color: var(--warn); }
.lines .k-refused .word, .lines .k-error .word, .lines .k-last-error .word, .issues .error .word { color: var(--bad); }
.columns { display: grid; grid-template-columns: 1fr 1fr 1.25fr; gap: 0.6rem; margin-top: 0.7rem; }
.column { background: var(--sunk); border-radius: 6px; padding: 0.55rem 0.75rem 0.6rem; min-width: 0; }
.container + .container { margin-top: 0.5rem; padding-top: 0.5rem; border-top: 1px solid var(--line); }
.build pre { max-height: 22rem; overflow: auto; background: var(--sunk); padding: 0.6rem; font-size: 0.85em; }
.fine { color: var(--good); }
.off, .differs { color: var(--bad); font-weight: 600; }
.calm { color: var(--quiet); }
.soon { color: var(--warn); font-weight: 600; }
.why { color: var(--bad); font-size: 0.92em; }
.ways { display: flex; flex-wrap: wrap; gap: 0.2rem 1.6rem; margin-top: 0.6rem; font-size: 0.95em; }
.label { color: var(--quiet); font-size: 0.72rem; font-weight: 600; text-transform: uppercase; letter-spacing: 0.07em; }
.reason { margin-top: 0.5rem; padding-top: 0.5rem; border-top: 1px solid var(--line); font-size: 0.95em; }
summary { cursor: pointer; }
.patch summary { color: var(--link); font-size: 0.9em; }
pre { margin: 0.3rem 0 0; padding: 0.6rem 0.75rem; background: var(--sunk); border-radius: 6px; white-space: pre-wrap; }
.issues li { padding: 0.5rem 0.8rem; margin-bottom: 0.4rem; border-left: 5px solid var(--warn); }
.issues .error { border-left-color: var(--bad); }
.issues .word { color: var(--warn); }
.issues .cleared { border-left-color: var(--line); }
.issues .cleared .word { color: var(--quiet); }
.pass { margin-bottom: 0.4rem; padding: 0.45rem 0.8rem; }
.pass .number { font-weight: 600; }
.steps { margin: 0.4rem 0 0.2rem; }
.steps li { display: grid; grid-template-columns: 6rem 1fr; gap: 0 0.6rem; padding: 0.35rem 0; border-top: 1px solid var(--line); }
.result { font-size: 0.92em; }
.kind { color: var(--quiet); }
.because { color: var(--quiet); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.95em; }
td:last-child { white-space: nowrap; }
th, td { text-align: left; padding: 0.35rem 0.8rem; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--quiet); font-weight: 600; font-size: 0.85em; }
.empty { color: var(--quiet); padding: 0.5rem 0; }
footer { margin-top: 2.5rem; color: var(--quiet); font-size: 0.87em; }
@media (max-width: 46rem) {
  body { padding: 1rem 0.75rem 2rem; }
  .columns { grid-template-columns: 1fr; gap: 0.35rem; }
  .column { display: grid; grid-template-columns: 5.2rem 1fr; }
  .column h4 { grid-row: 1 / span 9; padding-top: 0.15rem; }
  .column > :not(h4) { grid-column: 2; }
  .conditions { gap: 0.4rem; }
  .title .file { margin-left: 0; width: 100%; }
  .steps li { grid-template-columns: 4.6rem 1fr; }
}
`;
