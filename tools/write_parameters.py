#!/usr/bin/env python3
"""Write config/stride.yaml and docs/parameters.md from the nodes' parameter tables.

python tools/write_parameters.py            write both files
python tools/write_parameters.py --check    exit 1 if one of them is out of date
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from stride_ros.parameters import activation, camera, event_log, responder  # noqa: E402
from stride_ros.parameters.autostart import AUTOSTART  # noqa: E402
from stride_ros.parameters.table import CONFIGURE, LIVE, START, ParameterSpec, yaml_value  # noqa: E402

NODES = {
    "activation": (*activation.TABLE, AUTOSTART),
    "responder": (*responder.TABLE, AUTOSTART),
    "event_log": (*event_log.TABLE, AUTOSTART),
    "camera": camera.TABLE,
}
APPLIES = {START: "fixed at start", CONFIGURE: "read at configure", LIVE: "live"}
HEADER = """\
# Every parameter of every node, with its default. Written by tools/write_parameters.py.
# Copy this file, keep the lines that you change, and pass it:
#   ros2 launch stride_ros stride.launch.py params_file:=FILE
#
# live: may be set at any time, and applies at the next tick. read at configure: may be set while the node is
# unconfigured. fixed at start: can be set only here or on the command line.
# The QoS of image subscriptions follows the publishers. You can override it per topic, for example:
#   qos_overrides./camera/image_raw.subscription.reliability: best_effort
"""
HEAD = "| parameter | default | allowed | applies | meaning |"
PAGE = """\
# Parameters

<!-- Written by tools/write_parameters.py from the tables in stride_ros/parameters. -->

All parameters of the four nodes; to copy them as a file: [config/stride.yaml](../config/stride.yaml).

    ros2 launch stride_ros stride.launch.py params_file:=my_robot.yaml      # launch arguments override it
    ros2 run stride_ros activation_node --ros-args -p model:=stride-tiny    # one value
    ros2 param set /stride/activation rate 2.0                              # while the node runs
    stride-ros replay my_bag --query "..." --params-file my_robot.yaml      # the same settings, offline

The column *applies* says when a change takes effect: *live* parameters may be set at any time and apply at
the next tick, *configure* parameters are read when the node is configured, *start* parameters when it starts.
"""


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


def parameters_page() -> str:
    """Return the text of docs/parameters.md."""
    parts = [PAGE]
    for node, table in NODES.items():
        rows = [
            f"## `{node}`",
            "",
            "| parameter | default | allowed | applies | meaning |",
            "|---|---|---|---|---|",
        ]
        parts.append("\n".join([*rows, *(_row(spec) for spec in table), ""]))
    return "\n".join(parts)


def _row(spec: ParameterSpec) -> str:
    default = yaml_value(spec.default)
    if len(default) > 60:
        default = "see config/stride.yaml"
    default = f"`{default}`; {spec.depends}" if spec.depends else f"`{default}`"
    description = spec.description.replace("<", "&lt;")  # no HTML
    cells = (f"`{spec.name}`", default, spec.constraint, spec.applies, description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is out of date")
    check = parser.parse_args().check
    wanted = {
        ROOT / "config" / "stride.yaml": stride_yaml(),
        ROOT / "docs" / "parameters.md": parameters_page(),
    }
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)} {'is out of date' if check else 'written'}")
        if not check:
            path.write_text(wanted[path])
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
