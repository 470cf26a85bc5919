"""``python -m stride_ros.training.tiny --out models/stride-tiny``: make the embedded checkpoint."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path


def main() -> None:
    """Parse the options and run the recipe."""
    from stride_ros.training.tiny.recipe import Recipe, make

    parser = argparse.ArgumentParser(prog="python -m stride_ros.training.tiny", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the checkpoint")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="keep rendered clips here between runs")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: PyTorch's choice)")
    for field in fields(Recipe):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=int, default=field.default, help=f"default {field.default}")
    arguments = parser.parse_args()
    if arguments.threads:
        import torch

        torch.set_num_threads(arguments.threads)
    recipe = Recipe(**{field.name: getattr(arguments, field.name) for field in fields(Recipe)})
    make(arguments.out, recipe, arguments.cache)


if __name__ == "__main__":
    main()
