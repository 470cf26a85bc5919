"""The look of the report: one style sheet, readable in light and dark, nothing fetched from elsewhere."""

from __future__ import annotations

from html import escape

STYLE = """
:root { color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #16202c; --soft: #5b6876; --line: #dde2e8;
  --curve: #2563eb; --area: #2563eb2b; --span: #0d9488;
  --expected: #d97706; --onset: #be123c; --gone: #a8b2bd;
  --good: #0f766e; --bad: #be123c; --warn-page: #fff7e6; --warn-ink: #8a4b08; --warn-line: #f3cf8f; }
@media (prefers-color-scheme: dark) { :root {
  --page: #10151b; --card: #181f27; --ink: #e6ebf0; --soft: #95a2b0; --line: #2b3641;
  --curve: #60a5fa; --area: #60a5fa30; --span: #14a89a;
  --expected: #e59b3c; --onset: #fb7185; --gone: #566270;
  --good: #2dd4bf; --bad: #fb7185; --warn-page: #33270f; --warn-ink: #f3cf8f; --warn-line: #6b5220; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 2px; letter-spacing: -0.01em; }
h2 { font-size: 17px; margin: 34px 0 10px; }
p.lead { color: var(--soft); margin: 0 0 18px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 16px 18px; }
.notice { background: var(--warn-page); color: var(--warn-ink); border: 1px solid var(--warn-line);
  border-radius: 10px; padding: 10px 14px; margin: 0 0 12px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; }
.tiles .card { padding: 12px 16px; }
.tiles b { display: block; font-size: 23px; font-weight: 650; font-variant-numeric: tabular-nums; }
.tiles span { color: var(--soft); font-size: 13px; }
.query { font-weight: 600; margin: 0 0 10px; }
.query + .timeline, .timeline { width: 100%; height: auto; display: block; }
.chart + .chart { margin-top: 14px; }
.timeline text { fill: var(--soft); font: 11.5px system-ui, sans-serif; }
.timeline .tick { text-anchor: middle; } .timeline .row { text-anchor: end; white-space: pre; }
.timeline .grid { stroke: var(--line); stroke-width: 1; } .timeline .half { stroke-dasharray: 3 4; }
.timeline .area { fill: var(--area); }
.timeline .curve { fill: none; stroke: var(--curve); stroke-width: 1.8; }
.timeline .span { fill: var(--span); } .timeline .expected { fill: var(--expected); }
.timeline .retracted { fill: none; stroke: var(--gone); stroke-dasharray: 4 3; }
.timeline .onset { stroke: var(--onset); stroke-width: 1.6; stroke-dasharray: 5 3; }
.timeline .id { fill: #fff; font-weight: 600; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; color: var(--soft); font-size: 13px;
  margin: 10px 0 0; }
.legend i { display: inline-block; width: 14px; height: 10px; border-radius: 3px; margin-right: 6px; }
.strip { display: grid; gap: 3px; margin: 12px 0 0; }
.strip figure { margin: 0; } .strip img { width: 100%; border-radius: 4px; display: block; }
.strip figcaption { color: var(--soft); font-size: 11.5px; text-align: center; }
.said { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 14px; }
.said .card { padding: 0; overflow: hidden; display: flex; flex-direction: column; }
.said img { width: 100%; aspect-ratio: 16 / 10; object-fit: cover; display: block; background: var(--line); }
.said div { padding: 12px 16px 14px; }
.said q, .said .silent { display: block; font-size: 17px; line-height: 1.35; margin: 4px 0 8px; quotes: none;
  overflow-wrap: anywhere; }
.said q::before, .said q::after { content: none; }
.said .silent { color: var(--soft); font-style: italic; }
.when { font-variant-numeric: tabular-nums; font-weight: 600; color: var(--onset); }
.facts { color: var(--soft); font-size: 13px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 13px; }
th, td { padding: 6px 10px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
.good, .fair, .bad { white-space: nowrap; font-weight: 600; }
.good { color: var(--good); } .fair { color: var(--expected); } .bad { color: var(--bad); }
.histogram { width: 100%; max-width: 520px; height: auto; }
.histogram rect { fill: var(--curve); }
.histogram text { fill: var(--soft); font: 11.5px system-ui, sans-serif; }
footer { color: var(--soft); font-size: 13px; margin-top: 36px; }
"""


def page(title: str, body: str) -> str:
    """A whole HTML document around ``body``."""
    # The empty icon keeps browsers from asking for favicon.ico.
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
