#!/usr/bin/env python3
"""Query an advisory database for each version in the lock files, and print known advisories.

The database uses OSV's protocol (https://google.github.io/osv.dev/api/). Exit code 0: no advisories; 1: there
are advisories; 2: the database could not be queried.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from locked_install import canonical, read_lock

ROOT = Path(__file__).resolve().parent.parent
DATABASE = "https://api.osv.dev"
BATCH = 500  # versions per request; the database allows 1000
TIMEOUT = 30.0  # s


def pinned(files: list[Path]) -> list[tuple[str, str]]:
    """The names and exact versions in these locks, each once."""
    pins = set()
    for file in files:
        for line in read_lock(file).versions:
            name, equal, version = line.partition(";")[0].strip().partition("==")
            if equal:
                pins.add((canonical(name.partition("[")[0]), version))
    return sorted(pins)


def advisories(url: str, pins: list[tuple[str, str]]) -> dict[tuple[str, str], list[str]]:
    """The ids of known advisories, for each version that has any.

    Raises OSError or ValueError if the database does not answer.
    """
    found = {}
    for start in range(0, len(pins), BATCH):
        batch = pins[start : start + BATCH]
        queries = [
            {"package": {"name": name, "ecosystem": "PyPI"}, "version": version} for name, version in batch
        ]
        results = ask(f"{url.rstrip('/')}/v1/querybatch", {"queries": queries}).get("results", [])
        if len(results) != len(batch):
            raise ValueError(f"it answered {len(results)} of {len(batch)} questions")
        for pin, result in zip(batch, results, strict=True):
            if ids := [str(entry["id"]) for entry in (result or {}).get("vulns") or []]:
                found[pin] = ids
    return found


def ask(url: str, question: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(question).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        value = json.load(answer)
    if not isinstance(value, dict):
        raise ValueError("it answered with something other than a list of results")
    return value


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("locks", nargs="*", type=Path, help="default: requirements-lock-*.txt")
    parser.add_argument("--url", default=DATABASE, help=f"URL of the database (default {DATABASE})")
    arguments = parser.parse_args()
    pins = pinned(arguments.locks or sorted(ROOT.glob("requirements-lock-*.txt")))
    try:
        found = advisories(arguments.url, pins)
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = getattr(error, "reason", error)
        print(
            f"NOT CHECKED: the advisory database at {arguments.url} does not answer ({why}).", file=sys.stderr
        )
        return 2
    for (name, version), ids in found.items():
        print(f"{name} {version}: {', '.join(ids)}")
    print(
        f"{len(pins)} version{'s' if len(pins) != 1 else ''} checked; there are advisories for {len(found)}."
    )
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
