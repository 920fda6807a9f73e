"""The style of the page: two palettes, one layout from 390 px to paper."""

from string import Template

from lipkit.plots import CLASS_COLORS

LIGHT = {
    "bg": "#ffffff",
    "surface": "#f6f7f9",
    "text": "#1b1f24",
    "muted": "#58616d",
    "rule": "#dfe2e7",
    "blue": CLASS_COLORS[-1],
    "orange": CLASS_COLORS[1],
    "between": "#e9edf3",
}
DARK = {
    "bg": "#13161a",
    "surface": "#1b1f25",
    "text": "#e4e7eb",
    "muted": "#9ba5b1",
    "rule": "#2f353d",
    "blue": "#7fb0f5",
    "orange": "#f0916a",
    "between": "#232a33",
}
SHEET = Template("""
:root { color-scheme: light; $light }
@media screen and (prefers-color-scheme: dark) { :root { color-scheme: dark; $dark } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--bg); color: var(--text); font: 16px/1.55 system-ui,
  -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif; }
.page { max-width: 1120px; margin: 0 auto; padding: 0 24px 64px; display: grid;
  grid-template-columns: 172px minmax(0, 1fr); column-gap: 48px; }
header { grid-column: 1 / -1; padding: 40px 0 24px; border-bottom: 1px solid var(--rule);
  margin-bottom: 32px; }
main { min-width: 0; counter-reset: section; }
h1, h2, h3 { line-height: 1.25; margin: 0; font-weight: 650; text-wrap: balance;
  overflow-wrap: anywhere; }
h1 { font-size: 30px; letter-spacing: -0.01em; }
h2 { font-size: 21px; margin-bottom: 12px; }
h2::before { counter-increment: section; content: counter(section) "\\2002"; color: var(--muted);
  font-weight: 400; }
h3 { font-size: 16px; margin: 28px 0 10px; }
p { margin: 0 0 14px; max-width: 70ch; }
p, li, dd, code { overflow-wrap: anywhere; }
td, th { overflow-wrap: break-word; }
tbody th:not(.number) { overflow-wrap: anywhere; min-width: 8em; }
section { padding-bottom: 44px; scroll-margin-top: 20px; }
.over { color: var(--muted); font-size: 14px; margin-bottom: 6px; }
.lead { font-size: 19px; line-height: 1.5; max-width: 62ch; margin-bottom: 22px; }
.warnings { border-left: 4px solid var(--orange); background: var(--surface); margin: 0 0 18px;
  padding: 12px 18px 2px; border-radius: 0 6px 6px 0; }
.warnings h3 { margin: 0 0 6px; }
.under { color: var(--muted); margin: 8px 0 0; }
.note { color: var(--muted); font-size: 14px; }
a { color: var(--blue); text-underline-offset: 3px; }
nav { font-size: 14px; position: sticky; top: 24px; align-self: start; }
nav ol { list-style: none; margin: 0; padding: 0; }
nav a { display: block; padding: 5px 0; color: var(--muted); text-decoration: none; }
nav a:hover, nav a:focus-visible { color: var(--text); text-decoration: underline; }
:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
code, pre { font: 13.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono",
  monospace; overflow-wrap: anywhere; }
pre { background: var(--surface); border: 1px solid var(--rule); border-radius: 6px;
  padding: 12px 14px; white-space: pre-wrap; margin: 0 0 16px; }
.tiles { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 1px;
  background: var(--rule); border: 1px solid var(--rule); border-radius: 8px; overflow: hidden;
  margin: 0 0 20px; }
.tiles div { background: var(--bg); padding: 16px 18px; display: grid; grid-row: span 3;
  grid-template-rows: subgrid; row-gap: 0; }
.tiles dt { font-size: 14px; color: var(--muted); line-height: 1.35; }
.tiles .value { margin: 4px 0 2px; font-size: 27px; font-weight: 650; letter-spacing: -0.01em;
  font-variant-numeric: tabular-nums; white-space: nowrap; line-height: 1.3; }
.tiles .detail { margin: 0; font-size: 13.5px; color: var(--muted); line-height: 1.4; }
.two { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 28px; }
.scroll { overflow-x: auto; margin: 0 0 18px; }
table { border-collapse: collapse; width: 100%; font-size: 14.5px;
  line-height: 1.4; }
caption { text-align: left; font-size: 14px; color: var(--muted); padding-bottom: 6px; }
th, td { padding: 5px 16px 5px 0; text-align: left; vertical-align: top; font-weight: 400;
  border-bottom: 1px solid var(--rule); }
th:last-child, td:last-child { padding-right: 0; }
thead th { font-size: 13.5px; color: var(--muted); vertical-align: bottom;
  border-bottom-color: var(--muted); overflow-wrap: normal; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
tbody .number { white-space: nowrap; }
.facts tbody th { color: var(--muted); width: 24%; min-width: 132px; }
.facts table { border-top: 1px solid var(--rule); }
.facts caption { padding-bottom: 8px; }
.matrix td { text-align: right; font-variant-numeric: tabular-nums; min-width: 84px;
  padding: 8px 12px; border: 1px solid var(--rule);
  background: color-mix(in srgb, var(--cell) calc(var(--share) * 45%), transparent); }
.matrix th { padding-right: 14px; }
.matrix tbody th { vertical-align: middle; }
.matrix thead th:not(:first-child) { text-align: right; padding: 6px 12px; }
.matrix small { display: block; color: var(--muted); font-size: 12.5px; }
.matrix td small { color: inherit; }
.matrix .none { color: var(--muted); }
.dense td { min-width: 0; padding: 5px 10px; }
.dense thead th:not(:first-child) { padding: 5px 10px; }
.dense small { display: none; }
figure { margin: 0 0 20px; min-width: 0; max-width: 620px; }
figcaption { font-weight: 600; font-size: 14.5px; margin-bottom: 6px; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 18px; font-size: 13.5px; color: var(--muted);
  margin-bottom: 4px; }
.entry { display: inline-flex; align-items: center; gap: 7px; }
.key { display: inline-block; flex: none; width: 20px; }
.key.line { border-top: 2.5px solid; }
.key.box { height: 12px; width: 14px; border-radius: 2px; background: currentColor; }
.key.accuracy { color: var(--muted); }
.key.certified, .key.right { color: var(--blue); }
.key.attacked, .key.wrong { color: var(--orange); }
.key.attacked { border-top-style: dashed; }
.key.thin { border-top-width: 1px; }
.key.between { color: var(--between); }
.key.span { color: color-mix(in srgb, var(--blue) 30%, transparent); }
.key.upright { color: var(--muted); border-top-style: dotted; }
svg { display: block; width: 100%; height: auto; }
svg text { font-family: inherit; fill: var(--text); font-size: 13.5px;
  paint-order: stroke; stroke: var(--bg); stroke-width: 4px; stroke-linejoin: round;
  font-variant-numeric: tabular-nums; }
svg .tick, svg .axis-name { fill: var(--muted); }
.grid { stroke: var(--rule); stroke-width: 1; }
.axis { stroke: var(--muted); stroke-width: 1; }
.line { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
.line.thin { stroke-width: 1; }
.line.certified, .range { stroke: var(--blue); }
.line.accuracy { stroke: var(--muted); }
.line.attacked { stroke: var(--orange); stroke-dasharray: 5 3; }
.dot.certified, rect.right { fill: var(--blue); }
.dot.accuracy { fill: var(--muted); }
.dot.attacked, rect.wrong { fill: var(--orange); }
.range { stroke-width: 4; stroke-opacity: 0.45; }
.range.span { stroke-width: 3; stroke-opacity: 0.3; }
.area.between { fill: var(--between); }
.upright { stroke: var(--muted); stroke-width: 1.4; stroke-dasharray: 2 3; }
.example { border-top: 1px solid var(--rule); padding-top: 12px; margin-bottom: 14px; }
.one .example { display: grid; grid-template-columns: 200px minmax(0, 1fr); gap: 32px; }
.example h4 { font-size: 15px; margin: 0 0 2px; font-weight: 600; overflow-wrap: anywhere; }
.pictures { display: grid; grid-template-columns: repeat(3, minmax(0, 120px)); gap: 14px;
  margin-top: 10px; }
.pictures figure { margin: 0; }
.pictures img { width: 100%; image-rendering: pixelated; border: 1px solid var(--rule);
  border-radius: 3px; display: block; }
.pictures figcaption { font-weight: 400; font-size: 13px; color: var(--muted); margin: 5px 0 0;
  line-height: 1.35; overflow-wrap: anywhere; }
.plain { padding-left: 20px; margin: 0 0 16px; max-width: 72ch; }
.plain li { margin-bottom: 8px; }
details { margin-bottom: 18px; }
summary { cursor: pointer; color: var(--muted); font-size: 14px; margin-bottom: 8px; }
@media (max-width: 900px) {
  .page { grid-template-columns: minmax(0, 1fr); padding: 0 16px 48px; }
  header { padding: 24px 0 18px; margin-bottom: 24px; }
  nav { position: static; margin-bottom: 28px; }
  nav ol { display: flex; flex-wrap: wrap; column-gap: 18px; }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
@media (max-width: 700px) {
  .two { grid-template-columns: minmax(0, 1fr); gap: 12px; }
  .one .example { grid-template-columns: minmax(0, 1fr); gap: 0; }
  h1 { font-size: 25px; }
  .lead { font-size: 17px; }
  .tiles div { padding: 12px 14px; }
  .tiles .value { font-size: 23px; }
  svg text { font-size: 16px; }
  th, td { padding-right: 11px; }
  table { font-size: 14px; }
}
@media print {
  body { font-size: 10.5pt; }
  .page { display: block; max-width: none; padding: 0; }
  nav { display: none; }
  header { padding-top: 0; }
  section, figure, .example, .tiles, tr { break-inside: avoid; }
  main > section:first-child { break-after: page; }
  section { padding-bottom: 28px; }
  h2, h3, caption, thead { break-after: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .scroll { overflow: visible; }
  .pictures { grid-template-columns: repeat(3, 76px); }
  th, td { overflow-wrap: anywhere; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
""")


def _variables(palette):
    return " ".join(f"--{name}: {color};" for name, color in palette.items())


def sheet() -> str:
    """The style sheet."""
    return SHEET.substitute(light=_variables(LIGHT), dark=_variables(DARK))
