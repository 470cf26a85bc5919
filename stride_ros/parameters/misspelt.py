"""Find parameters that are set but do not exist, and that look like ones that do.

ROS ignores a parameter that no node declares, and a section such as `/**:` may well set those of other
packages' nodes. So only a name that resembles one of the node's own is worth a warning.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from stride_ros.parameters import activation, camera, event_log, responder
from stride_ros.parameters.autostart import AUTOSTART
from stride_ros.text.foreign import visible

_ALIKE = 0.85  # least similarity; at 0.84 nav2's odom_frame would be taken for odd_frame
_OURS = {
    AUTOSTART.name,
    *(spec.name for table in (activation, responder, camera, event_log) for spec in table.TABLE),
}


def misspelt(given: Iterable[str], own: Collection[str]) -> list[str]:
    """One sentence for each name in `given` that is probably meant for one of a node's `own` parameters.

    Names of this package's other nodes do not count: one file, and one `/**:`, may serve all of them.
    """
    found = {name: _meant(name, own) for name in given if name not in own and name not in _OURS}
    return [
        f"There is no parameter {visible(name, 80)}, so it has no effect; perhaps {meant} is meant."
        for name, meant in found.items()
        if meant
    ]


def _meant(name: str, own: Collection[str]) -> str:
    """The one of `own` that a name resembles, "" for none."""
    for other in own:
        group, _, last = other.rpartition(".")
        ungrouped = name == last and "_" in last  # not a word such as `timeout`, which other nodes have
        if group and (name == group or ungrouped or name.replace("_", ".", 1) == other):
            return other
    return next(iter(difflib.get_close_matches(name, own, 1, _ALIKE)), "")
