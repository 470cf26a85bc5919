"""The frame and style sheet of a page, for screens of any width, light and dark, and for print.

Nothing is fetched from elsewhere, and there is no script.
"""

from __future__ import annotations

from html import escape

from stride_ros.pages.palette import DARK, LIGHT, variables
from stride_ros.terminal import printable

STYLE = f"""
:root {{ {variables(LIGHT)} }}
@media screen {{ :root {{ color-scheme: light dark; }} }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ {variables(DARK)} }} }}
"""
STYLE += """
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif;
  -webkit-text-size-adjust: 100%; text-size-adjust: 100%; overflow-wrap: anywhere; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 2px; letter-spacing: -0.01em; }
h2 { font-size: 17px; margin: 34px 0 10px; }
p.lead { color: var(--soft); margin: 0 0 18px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 16px 18px; }
.card + .card { margin-top: 14px; }
.notice { background: var(--warn-page); color: var(--warn-ink); border: 1px solid var(--warn-line);
  border-radius: 10px; padding: 10px 14px; margin: 0 0 12px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; }
.tiles .card { padding: 12px 16px; margin: 0; }
.tiles b { display: block; font-size: 23px; font-weight: 650; font-variant-numeric: tabular-nums; }
.tiles span { color: var(--soft); font-size: 13px; }
.query { font-weight: 600; margin: 0 0 10px; }
.timeline { display: flex; padding-right: 20px; }
.timeline svg { display: block; overflow: visible; }
.timeline .plot { flex: 1; min-width: 0; width: 100%; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
svg .tick { text-anchor: middle; } svg .row { text-anchor: end; }
svg .grid { stroke: var(--line); stroke-width: 1; } svg .half { stroke-dasharray: 3 4; }
svg .area { fill: var(--area); }
svg .curve { fill: none; stroke: var(--curve); stroke-width: 1.8; vector-effect: non-scaling-stroke; }
svg .span { fill: var(--span); stroke: var(--span); } svg .truth { fill: var(--truth); stroke: var(--truth); }
svg .retracted { fill: none; stroke: var(--gone); stroke-width: 1.2; stroke-dasharray: 4 3; }
svg .onset { stroke: var(--onset); stroke-width: 1.6; stroke-dasharray: 5 3; }
svg .id { fill: #fff; font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; color: var(--soft); font-size: 13px;
  margin: 10px 0 0; }
.legend span { white-space: nowrap; }
.legend svg { margin-right: 7px; vertical-align: -2px; overflow: visible; }
.strip { --least: 84px; display: grid; gap: 3px; margin: 12px 0 0;
  grid-template-columns: repeat(auto-fill, minmax(max(var(--least), 100% / var(--pictures) - 3px), 1fr)); }
.strip.rows { --least: 126px; row-gap: 8px; }
.strip figure { margin: 0; } .strip img { width: 100%; border-radius: 4px; display: block; }
.strip figcaption { color: var(--soft); font-size: 12px; text-align: center; }
.spans { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(320px, 100%), 1fr)); gap: 14px; }
.spans .card { padding: 0; margin: 0; overflow: hidden; display: flex; flex-direction: column; }
.spans img { width: 100%; aspect-ratio: 16 / 10; object-fit: cover; display: block; background: var(--line); }
.spans div { padding: 12px 16px 14px; }
.spans q, .spans .silent { display: block; font-size: 17px; line-height: 1.35; margin: 4px 0 8px;
  quotes: none; white-space: pre-line; }
.spans q::before, .spans q::after { content: none; }
.spans .silent { color: var(--soft); font-style: italic; }
.when { display: block; font-variant-numeric: tabular-nums; font-weight: 600; color: var(--onset); }
.facts { color: var(--soft); font-size: 13px; margin: 0; } .facts.below { margin-top: 10px; }
.facts p { margin: 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 13px; }
th, td { padding: 6px 10px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
.good, .fair, .bad { font-weight: 600; }
.good { color: var(--good); } .fair { color: var(--fair); } .bad { color: var(--bad); }
td:first-child, td.times { white-space: nowrap; } .settings td:first-child { width: 1%; padding-right: 24px; }
@media (max-width: 1000px) { .widest { display: none; } }
.figures { overflow-x: auto; } .figures th, .figures td { white-space: nowrap; }
.figures td:first-child { white-space: normal; overflow-wrap: normal; min-width: 9em; }
.histogram { width: 100%; max-width: 520px; height: 84px; display: block; }
.histogram rect { fill: var(--curve); }
.ends { display: flex; justify-content: space-between; max-width: 520px; }
footer { color: var(--soft); font-size: 13px; margin-top: 36px; }
@media (max-width: 640px) {
  main { padding: 18px 12px 40px; } h1 { font-size: 22px; }
  .card { padding: 12px; border-radius: 10px; }
  .tiles { grid-template-columns: repeat(2, 1fr); gap: 8px; }
  .timeline { padding-right: 14px; }
  .wide { display: none; }
  .strip, .strip.rows { --least: 84px; }
  .matches table, .matches tbody, .matches tr, .matches td { display: block; width: 100%; }
  .matches th { display: none; }
  .matches td { border: 0; padding: 1px 0; } .matches td:empty { display: none; }
  .matches td[data-name]::before { content: attr(data-name) ": "; color: var(--soft); font-size: 13px; }
  .matches tr { border-bottom: 1px solid var(--line); padding: 8px 0; }
  .matches tr:first-child { display: none; } .matches tr:last-child { border: 0; }
  .figures table, .figures tbody { display: block; } .figures th { display: none; }
  .figures tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(68px, 1fr)); gap: 2px 8px;
    padding: 8px 0; border-bottom: 1px solid var(--line); }
  .figures tr:first-child { display: none; } .figures tr:last-child { border: 0; }
  .figures td { border: 0; padding: 0; } .figures td:empty { display: none; }
  .figures td:first-child { grid-column: 1 / -1; font-weight: 600; overflow-wrap: anywhere; }
  .figures td[data-name]::before { content: attr(data-name); display: block; color: var(--soft);
    font-size: 12px; }
  td:first-child, td.times { white-space: normal; }
  .settings td { display: block; } .settings td:first-child { width: auto; border: 0; padding-bottom: 0;
    color: var(--soft); font-size: 13px; }
  .settings tr:last-child td:last-child { border: 0; }
}
@media print {
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  body { background: none; } main { max-width: none; padding: 0; }
  .chart, .spans .card, .tiles .card, figure, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
}
"""


def shown(text: str) -> str:
    """A text as HTML, with markup and control characters escaped."""
    return escape(printable(text))


def page(title: str, body: str) -> str:
    """A whole HTML document around `body`."""
    # The empty icon keeps browsers from asking for favicon.ico.
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{shown(title)}</title>\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
