"""Reasoning models think aloud before they answer; a robot should only say the answer."""

from __future__ import annotations

from collections.abc import Iterator

OPEN, CLOSE = "<think>", "</think>"


def without_thoughts(pieces: Iterator[str], thinking: bool = False) -> Iterator[str]:
    """Pass on the text of an answer without the thoughts it begins with.

    ``thinking``: the prompt itself has opened the thoughts, as chat templates of reasoning models do. An
    answer that never stops thinking is empty.
    """
    held = ""
    deciding = not thinking  # whether the answer begins with thoughts is not known yet
    for piece in pieces:
        held += piece
        start = held.lstrip()
        if deciding and not OPEN.startswith(start[: len(OPEN)]):
            yield held
            yield from pieces
            return
        deciding = deciding and len(start) < len(OPEN)
        if not deciding and CLOSE in held:
            yield held.partition(CLOSE)[2].lstrip()
            yield from pieces
            return
    if deciding and held:
        yield held
