#!/usr/bin/env python3
"""Write config/stride.yaml and the README's parameter tables from the nodes' parameter tables.

python tools/write_parameters.py            write both files
python tools/write_parameters.py --check    exit 1 if one of them is out of date
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stride_ros.parameters import activation, camera, responder  # noqa: E402
from stride_ros.parameters.autostart import AUTOSTART  # noqa: E402
from stride_ros.parameters.table import CONFIGURE, LIVE, START, ParameterSpec, yaml_value  # noqa: E402

NODES = {
    "activation": (*activation.TABLE, AUTOSTART),
    "responder": (*responder.TABLE, AUTOSTART),
    "camera": camera.TABLE,
}
APPLIES = {START: "fixed at start", CONFIGURE: "read at configure", LIVE: "live"}
HEADER = """\
# Every parameter of every node, with its default. Written by tools/write_parameters.py.
# Copy this file, keep what you change, and pass it: ros2 launch stride_ros stride.launch.py params_file:=FILE
#
# live: may be set at any time and applies at the next tick. read at configure: may be set while the node is
# unconfigured. fixed at start: only here or on the command line.
# Images are subscribed to as their publishers offer. What you set per topic wins, for example:
#   qos_overrides./camera/image_raw.subscription.reliability: best_effort
"""
MARKS = ("<!-- parameters -->", "<!-- end of parameters -->")


def stride_yaml() -> str:
    """Return the text of config/stride.yaml."""
    lines = [HEADER]
    for node, table in NODES.items():
        lines += [f"/**/{node}:", "  ros__parameters:"]
        for spec in table:
            notes = "; ".join(part for part in (spec.constraint, APPLIES[spec.applies]) if part)
            comment = f"{spec.description} [{notes}]"
            lines += textwrap.wrap(comment, 110, initial_indent="    # ", subsequent_indent="    # ")
            # Left out where the default depends, or else every copy of this file would fix it.
            hint = f"  # {spec.depends}" if spec.depends else ""
            lines.append(f"    {'# ' if hint else ''}{spec.name}: {yaml_value(spec.default)}{hint}")
        lines.append("")
    return "\n".join(lines)


def readme_tables() -> str:
    """Return the README's section between the marks."""
    parts = [
        "*live* parameters may be set at any time and apply at the next tick; *configure* ones are read when "
        "the node is configured; *start* ones are fixed."
    ]
    for node, table in NODES.items():
        rows = [f"| `{node}` | default | allowed | applies | meaning |", "|---|---|---|---|---|"]
        rows += [_row(spec) for spec in table]
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def readme(text: str) -> str:
    """Return the README with its parameter section renewed."""
    pattern = re.escape(MARKS[0]) + ".*" + re.escape(MARKS[1])
    section = f"{MARKS[0]}\n{readme_tables()}\n{MARKS[1]}"
    return re.sub(pattern, lambda _: section, text, flags=re.DOTALL)


def _row(spec: ParameterSpec) -> str:
    default = yaml_value(spec.default)
    if len(default) > 60:
        default = "see config/stride.yaml"
    default = f"`{default}`; {spec.depends}" if spec.depends else f"`{default}`"
    cells = (f"`{spec.name}`", default, spec.constraint, spec.applies, spec.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is out of date")
    check = parser.parse_args().check
    wanted = {
        ROOT / "config" / "stride.yaml": stride_yaml(),
        ROOT / "README.md": readme((ROOT / "README.md").read_text()),
    }
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)} {'is out of date' if check else 'written'}")
        if not check:
            path.write_text(wanted[path])
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
