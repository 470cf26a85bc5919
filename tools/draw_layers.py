#!/usr/bin/env python3
"""Write the table and the picture of packages and imports into docs/architecture.md.

python tools/draw_layers.py            write the file
python tools/draw_layers.py --check    exit 1 if it is out of date

The layers are those of the contract in pyproject.toml; the arrows are the imports in the code, including
those inside functions but not those for type checkers, as counted by `lint-imports`.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from pathlib import Path

import grimp

try:
    import tomllib
except ImportError:  # Python 3.10; import-linter brings it there
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "stride_ros"
PAGE = ROOT / "docs" / "architecture.md"
MARKS = ("<!-- layers -->", "<!-- end of layers -->")
# Helpers that every layer uses, whose arrows would hide the others.
HELPERS = ("user_files", "process", "terminal", "errors", "text")

Arrows = dict[str, set[str]]


def layers() -> list[list[str]]:
    """The names of the packages, from the top layer to the bottom one."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    found = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[name.strip() for name in re.split(r"[|:]", line)] for line in found]


def arrows(names: list[str]) -> Arrows:
    """Which of these packages each of them imports."""
    sys.path.insert(0, str(ROOT))
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    found: Arrows = {name: set() for name in names}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            start, end = _package(module), _package(imported)
            if start != end and start in found and end in found:
                found[start].add(end)
    return found


def without_detours(found: Arrows) -> Arrows:
    """The arrows that no longer path implies."""

    def reached(start: str) -> set[str]:
        return found[start].union(*(reached(end) for end in found[start]))

    return {
        start: {end for end in ends if not any(end in reached(other) for other in ends - {end})}
        for start, ends in found.items()
    }


def subject(name: str) -> str:
    """The first sentence of a package's or module's docstring."""
    folder = ROOT / PACKAGE / name
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text()))
    if not text:
        raise SystemExit(f"{path.relative_to(ROOT)} has no docstring; describe its content in a sentence.")
    return re.split(r"(?<=\.)\s|\n\n", text, maxsplit=1)[0].replace("\n", " ")


def table(levels: list[list[str]], found: Arrows) -> str:
    """A row for each package, from top to bottom."""
    rows = ["| layer | package | what it holds | imports, besides helpers |", "|---|---|---|---|"]
    for number, names in enumerate(levels, 1):
        for name in names:
            imported = sorted(found[name] - set(HELPERS)) if name not in HELPERS else sorted(found[name])
            cells = (str(number), f"`{name}`", subject(name), ", ".join(f"`{end}`" for end in imported))
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def picture(levels: list[list[str]], found: Arrows) -> str:
    """A mermaid chart of all packages except helpers, without arrows that others imply."""
    names = [name for level in levels for name in level if name not in HELPERS]
    shown = without_detours({name: found[name] & set(names) for name in names})
    lines = ["```mermaid", "flowchart TD"]
    lines += [
        f"    {_node(start)} --> {_node(end)}" for start in names for end in names if end in shown[start]
    ]
    return "\n".join([*lines, "```"])


def page(text: str) -> str:
    """Return the page with the section between the markers updated."""
    levels = layers()
    found = arrows([name for level in levels for name in level])
    section = "\n\n".join([MARKS[0], picture(levels, found), table(levels, found), MARKS[1]])
    pattern = re.escape(MARKS[0]) + ".*" + re.escape(MARKS[1])
    return re.sub(pattern, lambda _: section, text, flags=re.DOTALL)


def _package(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _node(name: str) -> str:
    return 'main["__main__"]' if name == "__main__" else name


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if it is out of date")
    check = parser.parse_args().check
    before = PAGE.read_text()
    after = page(before)
    if before == after:
        return 0
    print(f"{PAGE.relative_to(ROOT)} {'is out of date' if check else 'written'}")
    if not check:
        PAGE.write_text(after)
    return 1 if check else 0


if __name__ == "__main__":
    raise SystemExit(main())
