"""Find time spans in free text as ET-Bench's scorer does, and write spans as such text.

Texts come from many models, so the rules are lenient, and odd in places: they treat "1..5" or "start time 3,
end time 7" exactly as the official scorer does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from stride_ros.evaluation.benchmarks.result import OfficialStops
from stride_ros.user_files.values import shown

Span = tuple[float, float]

LONGEST = 100_000  # characters of an answer
_GUESS = 20.0  # s on each side of a single time
# Digits, optionally followed by dots and more digits, such as 12, 12.5, and also 1..5. A match begins only at
# the start of a run of digits, which finds the same and keeps the time linear.
_NUMBER = r"\d+(?:\.+\d*)?"
_HYPHEN = re.compile(rf"(?<!\d)({_NUMBER})\s*-\s*({_NUMBER})")
_TO = re.compile(rf"(?<!\d)({_NUMBER})\s* to \s*({_NUMBER})")
_CLOCK = re.compile(rf"(?<!\d)({_NUMBER}):({_NUMBER})")
_ALONE = re.compile(rf"{_NUMBER}(?!\.)")
_WORD = re.compile(r"\b(?:\d+\.\d+|\d+)\b")
_STARTS = re.compile(rf"start(?:ing)? time: ({_NUMBER})", re.IGNORECASE)
_ENDS = re.compile(rf"end(?:ing)? time: ({_NUMBER})", re.IGNORECASE)
_START_END = re.compile(rf"start time {_NUMBER}, end time {_NUMBER}")
_CUES = ("start", "end", "happen")


def spans_in(answer: Any) -> list[Span] | None:
    """The spans (start, end) in s of an answer to TVG, EPM or TAL; None if it names none.

    Pairs with a hyphen anywhere; otherwise pairs with "to"; otherwise the first numbers of the sentences that
    mention a start, an end or a happening, in pairs. Raises OfficialStops for what is not text or not a
    number.
    """
    text = _text(answer, "AttributeError").lower()
    pairs = _HYPHEN.findall(text) or _TO.findall(text)
    if pairs:
        found = [(_number(a), _number(b)) for a, b in pairs]
    else:
        sentences = [part for part in re.split(r"[!?\n]", text) if any(cue in part for cue in _CUES)]
        times = [float(match[0]) for match in map(_WORD.search, sentences) if match]
        found = list(zip(times[::2], times[1::2], strict=False))
    return [(a, b) if b > a else (b, a) for a, b in found] or None


def events_in(answer: Any) -> list[tuple[Span, str]] | None:
    """The spans in s of an answer to DVC or SLC, each with its sentence; None if it names none.

    A span without a sentence of more than five characters is dropped. If none is left, a single time or pair
    in the first line or sentence that has one makes a span; a single time is the middle of 40 s.
    """
    try:
        text = _text(answer, "AttributeError")
        found = _described(text.lower()) or _guessed(text)
    except (ValueError, OfficialStops):
        return None
    return [((min(span), max(span)), sentence) for span, sentence in found] or None


def written(spans: Sequence[Span], task: str) -> str:
    """Spans as the text to score, to a tenth of a second: one for TVG and EPM, otherwise one per line.

    Dense tasks have a few words after each span, since a span without a sentence would be dropped.
    """
    if task in ("tvg", "epm"):
        spans = spans[:1]
    words = ", detected event segment" if task in ("dvc", "slc") else ""
    return "\n".join(f"{start:.1f} - {end:.1f} seconds{words}" for start, end in spans)


def _text(answer: Any, kind: str) -> str:
    if not isinstance(answer, str):
        raise OfficialStops(kind, f"the answer is {shown(answer)} and not text")
    if len(answer) > LONGEST:
        raise OfficialStops(kind, f"the answer has {len(answer):,} characters, more than {LONGEST:,}")
    return answer


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise OfficialStops("ValueError", f"{shown(text)} in the answer is not a number") from None


def _described(text: str) -> list[tuple[Span, str]]:
    """Spans and sentences of a lower-case text. ValueError where the official parser gives up."""
    spans: list[Span]
    matches = list(_HYPHEN.finditer(text))
    if matches:
        spans = [(float(match[1]), float(match[2])) for match in matches]
        rest = text
        for match in matches:
            rest = rest.replace(match[0], "\n")
        sentences = rest.replace("seconds", "").split("\n")
    else:
        times = zip(_STARTS.findall(text), _ENDS.findall(text), strict=False)
        spans = [(float(start), float(end)) for start, end in times]
        if not spans and _START_END.search(text):
            raise ValueError("this form always fails")
        sentences = re.findall(r"description: (.*)", text) or re.findall(r"\*\s*(.*)", text)
    kept = [part.strip().strip(", ").rstrip() for part in sentences if len(part) > 5]
    return list(zip(spans, kept, strict=False))


def _guessed(text: str) -> list[tuple[Span, str]]:
    if "\n" in text:
        parts = [line for line in text.split("\n") if len(line) > 7]
    else:
        parts = [f"{part}." for part in text.split(".") if len(part) > 7]
    for part in parts:
        pieces = [piece.strip(",") for piece in part.split("seconds")]
        try:
            times = _times(pieces[0])
            if times:
                start, end = times.split("-")[:2]
                span = (round(float(start.strip()), 2), round(float(end.strip()), 2))
                return [(span, pieces[-1].strip())]
        except ValueError:
            continue
    return []


def _times(text: str) -> str:
    """ "start - end" of a text in which no span has a sentence; "" where it has no time."""
    pair = _HYPHEN.search(text)
    if pair:
        return pair[0]
    colons = text.count(":")
    if colons in (1, 2):
        clocks = [60 * int(minutes) + int(seconds) for minutes, seconds in _CLOCK.findall(text)]
        if colons == 1:
            return _around(clocks[0], int(_GUESS)) if clocks else "no pair"
        start, end = clocks
        return f"{start} - {end}"
    numbers = _ALONE.findall(text)
    if len(numbers) == 1:
        return _around(float(numbers[0]), int(_GUESS))
    if len(numbers) == 2:
        return f"{numbers[0]} - {numbers[1]}"
    return "no pair" if numbers else ""


def _around(time: float, radius: int) -> str:
    if time > radius:
        return f"{time - radius} - {time + radius}"
    return f"{time} - {time + 2 * radius}"
