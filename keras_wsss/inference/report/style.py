"""What the report looks like beyond what all pages share."""

STYLE = """\
:root { --bar: 66 120 220; --run-0: #0b57a8; --run-1: #b3261e; --run-2: #2e7d32;
  --run-3: #7b1fa2; --run-4: #a15c00; --run-5: #00696f }
@media (prefers-color-scheme: dark) { :root { --bar: 90 140 235; --run-0: #8ab8f5;
  --run-1: #f2998f; --run-2: #81c784; --run-3: #d19ae0; --run-4: #f0b254; --run-5: #6fd0d6 } }
nav ul, .legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; list-style: none;
  max-width: none; padding: 0 }
h3, h4 { font-size: 1rem; margin: 1.5rem 0 .3rem }
section section > p { margin: .3rem 0 }
.scroll { margin: .5rem 0 1rem; overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal }
caption { color: var(--quiet); padding: .3rem 0; text-align: left }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .6rem; text-align: right }
th:first-child { text-align: left } th:has(.swatch) { white-space: nowrap }
.bar { background: linear-gradient(to right, rgb(var(--bar) / .35) var(--part), transparent 0);
  min-width: 5rem }
.shade { background: rgb(var(--bar) / calc(var(--part) * .6)); min-width: 3rem }
.swatch { border: 1px solid var(--line); display: inline-block; height: .8rem;
  margin-right: .4rem; width: .8rem }
.legend svg { height: .6rem; margin-right: .4rem; width: 2.5rem }
.chart { display: block; width: 100% }
.chart text { fill: var(--quiet); font-size: 11px }
.chart .title { fill: var(--text); font-size: 13px; font-weight: bold }
.chart .left { text-anchor: end } .chart .below { text-anchor: middle }
.grid { stroke: var(--line) }
.curve { fill: none; stroke: var(--own); stroke-width: 2 }
pre { background: var(--soft); overflow-x: auto; padding: 1rem }
dl { display: grid; gap: .3rem 1.2rem; grid-template-columns: max-content auto }
dt { font-weight: bold } dd { margin: 0 }
summary { cursor: pointer }
"""
