"""Sort file names as people do."""

from __future__ import annotations

import re
from decimal import Decimal


def natural(name: str) -> list[tuple[Decimal, str]]:
    """Sort key of a name without its suffix, in which 2 comes before 10.

    Numbers are ordered by their value, including times with a fraction (1700000000.25).
    """
    parts = re.split(r"([0-9]{9,}\.[0-9]+|[0-9]+)", name)
    return [(Decimal(part), "") if i % 2 else (Decimal(-1), part) for i, part in enumerate(parts)]
