"""`python -m stride_ros.training.tiny --out DIR`: make the embedded checkpoint or one to compare."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from stride_ros.process.threads import add_threads_option, choose_threads, prepare_process, use_threads


def main() -> None:
    """Parse the options and run the recipe."""
    prepare_process()
    from stride_ros.training.tiny.recipe import Recipe, make

    parser = argparse.ArgumentParser(prog="python -m stride_ros.training.tiny", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the checkpoint")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="folder in which rendered clips are kept between runs"
    )
    add_threads_option(parser)
    parser.add_argument(
        "--vision",
        type=Path,
        metavar="CHECKPOINT",
        help="use the vision tower of this checkpoint instead of training one",
    )
    options = [field for field in fields(Recipe) if field.name != "world"]
    for field in options:
        kind: dict[str, Any] = {"type": type(field.default)}
        if isinstance(field.default, bool):
            kind = {"action": "store_true"}
        elif isinstance(field.default, tuple):
            kind = {"type": type(field.default[0]), "nargs": "+"}
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, default=field.default, help=f"default {field.default}", **kind)
    arguments = parser.parse_args()
    use_threads(choose_threads(arguments.threads, 0, "cpu"))
    given: dict[str, Any] = {field.name: getattr(arguments, field.name) for field in options}
    settings: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in given.items()
    }
    recipe = Recipe(**settings)
    make(arguments.out, recipe, arguments.cache, arguments.vision)


if __name__ == "__main__":
    main()
