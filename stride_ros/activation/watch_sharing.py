"""Watches of goals: existing ones, or ones that are added and removed with their last user."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from stride_ros.activation.sampling import NANOSECONDS
from stride_ros.activation.waits import Until
from stride_ros.activation.watch_list import Refusal, Source, WatchEntry, WatchError, WatchSpec

_ALL_OF_IT = 86_400 * NANOSECONDS  # ns; no context is longer


class WatchSharing:
    """Tracks who uses which watch. Not thread-safe: use it in the executor's thread."""

    def __init__(self) -> None:
        self._users: Counter[str] = Counter()  # users of watches that were added for them, by id

    def choose(
        self, spec: WatchSpec, entries: list[WatchEntry], *, until: Until, accept_open: bool, now: int
    ) -> WatchEntry | WatchSpec:
        """The existing watch that serves a wait, or the specification of one to add.

        An id alone names an existing watch. A query without an id shares a watch that looks for the same
        events and has seen as much of the past as the wait asks for. `now`: ns on the node's clock. Raises
        WatchError.
        """
        named = next((entry for entry in entries if spec.id and entry.spec.id == spec.id), None)
        if not spec.query:
            return _usable(_alone(spec, named))
        if named is not None:
            if not _looks_for(named.spec, spec):
                raise WatchError(
                    Refusal.ID_TAKEN,
                    f"The watch {spec.id} looks for something else; pass only its id to wait for that, or "
                    "choose another id.",
                )
            return _usable(named)
        for entry in entries:
            enough = now - entry.since + entry.spec.look_back >= spec.look_back
            lasts = not entry.expires and not entry.problem
            if not spec.id and not spec.lifetime and enough and lasts and _looks_for(entry.spec, spec):
                return entry
        # An event may have begun before the look-back and continue or end in it, so look at the whole
        # context.
        reaches_in = accept_open or until is Until.OFFSET
        return replace(spec, look_back=_ALL_OF_IT if spec.look_back > 0 and reaches_in else spec.look_back)

    def use(self, id: str) -> None:
        """Add a user of a watch."""
        self._users[id] += 1

    def leave(self, id: str) -> bool:
        """Remove a user of a watch; return whether it has no users left."""
        self._users[id] -= 1
        if self._users[id] > 0:
            return False
        del self._users[id]
        return True


def _alone(spec: WatchSpec, named: WatchEntry | None) -> WatchEntry:
    if not spec.id:
        raise WatchError(
            Refusal.INVALID, "The goal has neither a query nor the id of a watch; set one of them."
        )
    own = spec.cameras or spec.min_active_seconds is not None or spec.min_confidence is not None
    if own or spec.lifetime or not spec.respond:
        raise WatchError(
            Refusal.INVALID,
            "An id without a query uses a watch as it is; leave cameras, min_active_seconds, min_confidence, "
            "lifetime and respond at their defaults, or set the query, too.",
        )
    if spec.look_back < 0:
        raise WatchError(Refusal.INVALID, "look_back cannot be negative.")
    if named is None:
        raise WatchError(
            Refusal.UNKNOWN,
            f"There is no watch {spec.id!r}; see the topic `watches` for those that exist, or set a query to "
            "add one.",
        )
    return named


def _usable(entry: WatchEntry) -> WatchEntry:
    if entry.problem:
        raise WatchError(Refusal.INVALID, f"The watch {entry.spec.id} cannot be used: {entry.problem}")
    return entry


def _looks_for(one: WatchSpec, other: WatchSpec) -> bool:
    """Whether two specifications find the same events and get the same answers from the responder."""

    def essence(spec: WatchSpec) -> WatchSpec:
        return replace(spec, id="", look_back=0, lifetime=0, owner="")

    return essence(one) == essence(other)


def is_added(entry: WatchEntry) -> bool:
    """Whether a goal added the watch, so that it is removed with its last user."""
    return entry.source is Source.ACTION
