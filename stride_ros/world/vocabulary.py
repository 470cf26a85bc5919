"""The words of the synthetic world: colours, shapes, queries and the sentence that describes each event."""

from __future__ import annotations

COLOURS: dict[str, tuple[int, int, int]] = {  # RGB, saturated so that they survive 64 pixels and bad light
    "red": (216, 36, 36),
    "green": (34, 158, 56),
    "blue": (32, 84, 222),
    "yellow": (246, 206, 26),
    "purple": (142, 46, 172),
}
SHAPES: tuple[str, ...] = ("ball", "box", "cone", "ring")

ON_TABLE = "on_table"
HELD = "held"
TOUCH = "touch"
HAND = "hand"
DARK = "dark"
TAKEN = "taken"
KINDS: tuple[str, ...] = (ON_TABLE, HELD, TOUCH, HAND, DARK)
# Events that are certain only near their end: a hand at a thing may also leave it there.
LATE_KINDS: tuple[str, ...] = (TAKEN,)

_QUERIES = {
    HELD: "Tell me when a hand holds something up.",
    TOUCH: "Tell me when two objects touch.",
    HAND: "Tell me when a hand is in view.",
    DARK: "Tell me when the light is off.",
    TAKEN: "Tell me when a hand takes something away.",
}


def query_for(kind: str, subject: str) -> str:
    """The query that an event of `kind` about `subject` ("red ball") answers."""
    return f"Tell me when a {subject} is on the table." if kind == ON_TABLE else _QUERIES[kind]


def sentence_for(kind: str, subject: str, other: str = "") -> str:
    """The sentence of a good commentator about an event; `other` is the second object of a touch."""
    return {
        ON_TABLE: f"A {subject} is on the table.",
        HELD: f"A hand holds up the {subject}.",
        TOUCH: f"The {subject} touches the {other}.",
        HAND: "A hand is in view.",
        DARK: "The light is off.",
        TAKEN: f"A hand takes away the {subject}.",
    }[kind]


def all_queries(
    colours: tuple[str, ...] = tuple(COLOURS),
    shapes: tuple[str, ...] = SHAPES,
    kinds: tuple[str, ...] = KINDS,
) -> tuple[str, ...]:
    """All queries that a world with these colours, shapes and kinds can answer."""
    objects = [query_for(ON_TABLE, f"{colour} {shape}") for colour in colours for shape in shapes]
    return tuple(objects * (ON_TABLE in kinds)) + tuple(_QUERIES[kind] for kind in _QUERIES if kind in kinds)
