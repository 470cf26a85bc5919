from __future__ import annotations

from pathlib import Path
from typing import Any


def write_page(path: Path, *args: Any) -> None:
    path.write_text("")
