"""All watches of a node, from parameters, services and goals. Does not need ROS."""

from __future__ import annotations

import itertools
import re
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from stride_ros.activation.config import TriggerConfig
from stride_ros.activation.sampling import NANOSECONDS
from stride_ros.activation.watch_request import WatchRequest, requests_for
from stride_ros.errors import StrideError
from stride_ros.text.foreign import as_reason

_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PARAMETERS = re.compile(r"query(_[0-9]+)?")  # ids of the watches that the parameters own
_MAX_OWNER = 200  # characters
_END_OF_TIME = 2**31 * NANOSECONDS  # what a Time message can hold


class Source(IntEnum):
    """Who asked for a watch; the values are those of stride_ros/msg/Watch."""

    PARAMETER = 0
    TOPIC = 1
    SERVICE = 2
    ACTION = 3


class Refusal(IntEnum):
    """Why a watch was not added or removed; the values are those of stride_ros/srv/AddWatch."""

    UNKNOWN = 1
    INVALID = 2
    ID_TAKEN = 3
    NO_MEMORY = 4
    NO_CAMERA = 5
    NOT_CONFIGURED = 6
    LIMIT = 7


class WatchError(StrideError):
    """A watch cannot be added, for the reason in `code`.

    needed, free: bytes, if memory is the reason; would_fit: settings with which it would fit.
    """

    def __init__(
        self, code: Refusal, message: str, *, needed: int = 0, free: int = 0, would_fit: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.code, self.needed, self.free, self.would_fit = code, needed, free, tuple(would_fit)


@dataclass(frozen=True)
class WatchSpec:
    """What to watch for, field by field as in stride_ros/msg/WatchSpec; durations are in ns.

    min_active_seconds (s) and min_confidence (0 to 1) are None to use the node's parameters.
    """

    query: str
    id: str = ""
    cameras: tuple[str, ...] = ()
    min_active_seconds: float | None = None
    min_confidence: float | None = None
    look_back: int = 0
    lifetime: int = 0
    respond: bool = True
    owner: str = ""

    def trigger(self, default: TriggerConfig) -> TriggerConfig:
        """The trigger, with the parameters' values where the specification has none."""
        return TriggerConfig(
            default.min_active_seconds if self.min_active_seconds is None else self.min_active_seconds,
            default.min_confidence if self.min_confidence is None else self.min_confidence,
        )


@dataclass(frozen=True)
class WatchEntry:
    """A watch in the list. since, expires: ns on the node's clock; 0 never expires.

    problem: reason and remedy if the loaded model cannot watch for it. number: distinguishes it from an
    earlier watch with the same id.
    """

    spec: WatchSpec
    source: Source
    since: int
    expires: int = 0
    problem: str = ""
    number: int = 0


class WatchList:
    """The watches of parameters, services and goals. Safe to share between threads."""

    def __init__(self, now: Callable[[], int], cameras: Sequence[str] = ()) -> None:
        """`now()`: ns on the node's clock. `cameras`: their names, empty if the only camera is unnamed."""
        self._now, self._cameras = now, tuple(cameras)
        self._lock = threading.RLock()
        self._entries: dict[str, WatchEntry] = {}  # by id, oldest first
        self._check: Callable[[WatchSpec], None] | None = None
        self._owned: tuple[WatchEntry, ...] = ()
        self._numbers = itertools.count(1)

    # Parameters and the query topic

    def own(self, queries: Sequence[str], source: Source) -> None:
        """Set the queries of the parameters, and who set them last."""
        with self._lock:
            known = {(entry.spec.id, entry.spec.query): entry for entry in self._owned}
            owned = []
            for request in requests_for(queries):
                entry = known.get((request.id, request.query))
                if entry is None:
                    spec = WatchSpec(request.query, request.id)
                    entry = WatchEntry(spec, source, self._now(), number=next(self._numbers))
                owned.append(replace(entry, source=source))
            self._owned = tuple(owned)

    # Services and goals

    def check_with(self, check: Callable[[WatchSpec], None] | None) -> None:
        """Check every watch with the loaded model: `check` raises a StrideError; None: no model is loaded."""
        with self._lock:
            self._check = check
            self._entries = {
                id: replace(entry, problem=self._problem(entry.spec)) for id, entry in self._entries.items()
            }

    def add(
        self,
        spec: WatchSpec,
        *,
        limit: int,
        replace_other: bool = False,
        source: Source = Source.SERVICE,
        admit: Callable[[Sequence[WatchSpec], WatchSpec], None] = lambda others, spec: None,
    ) -> str:
        """Add a watch, or renew the lifetime of the same one, which then belongs to `source`; return its id.

        `limit`: maximum number of watches of services and goals. `admit(others, spec)`: raises WatchError if
        there is no memory for a watch beside the others. Raises WatchError, and changes nothing then.
        """
        with self._lock:
            self.expire()
            spec = self._checked(spec)
            known = self._entries.get(spec.id)
            same = known is not None and replace(known.spec, lifetime=0) == replace(spec, lifetime=0)
            if known is not None and not same and not replace_other:
                raise WatchError(
                    Refusal.ID_TAKEN,
                    f"There is already another watch {spec.id}; set replace, or choose another id.",
                )
            if known is None and len(self._entries) >= limit:
                raise WatchError(
                    Refusal.LIMIT,
                    f"There are already {len(self._entries)} watches; remove one, or raise the parameter "
                    "max_watches.",
                )
            if not same:
                others = [
                    entry.spec for entry in self.entries() if not entry.problem and entry.spec.id != spec.id
                ]
                admit(others, spec)
            now = self._now()
            since = known.since if known is not None and same else now
            expires = now + spec.lifetime if spec.lifetime else 0
            goes_on = known is not None and known.spec.query == spec.query
            number = known.number if known is not None and goes_on else next(self._numbers)
            self._entries[spec.id] = WatchEntry(spec, source, since, expires, number=number)
            return spec.id

    def remove(self, id: str, *, source: Source | None = None) -> bool:
        """Remove an added watch; False if there is none with this id or from this source."""
        with self._lock:
            self.expire()
            entry = self._entries.get(id)
            if entry is None or source not in (None, entry.source):
                return False
            del self._entries[id]
            return True

    def resolved(self, spec: WatchSpec) -> WatchSpec:
        """The specification with its cameras as in entries; WatchError for an unknown camera."""
        return replace(spec, cameras=self._known(spec.cameras))

    def clock_was_set(self, before: int, after: int) -> None:
        """Keep what is left of lifetimes when the node's clock was set from one time to another."""
        with self._lock:

            def moved(entry: WatchEntry) -> WatchEntry:
                left = entry.expires - before
                expires = min(after + left, _END_OF_TIME - 1) if entry.expires else 0
                return replace(entry, since=after - (before - entry.since), expires=expires)

            self._owned = tuple(moved(entry) for entry in self._owned)
            self._entries = {
                id: moved(entry) for id, entry in self._entries.items() if not 0 < entry.expires <= before
            }

    def is_owned(self, id: str) -> bool:
        """Whether the parameters own the watch with this id."""
        with self._lock:
            return any(entry.spec.id == id for entry in self._owned)

    def expire(self) -> bool:
        """Remove watches whose lifetime is over; return whether there were any."""
        with self._lock:
            now = self._now()
            over = [id for id, entry in self._entries.items() if 0 < entry.expires <= now]
            for id in over:
                del self._entries[id]
            return bool(over)

    # Views of the list

    def entries(self) -> list[WatchEntry]:
        """All watches: those of the parameters, then the others in the order in which they were added."""
        with self._lock:
            return [*self._owned, *self._entries.values()]

    def requests(self, default: TriggerConfig) -> tuple[WatchRequest, ...]:
        """What streams should watch for now; `default`: the trigger of the parameters."""
        with self._lock:
            return tuple(
                WatchRequest(
                    entry.spec.id,
                    entry.spec.query,
                    _own_trigger(entry.spec, default),
                    entry.spec.look_back / NANOSECONDS,
                    entry.spec.respond,
                    entry.spec.cameras,
                    entry.number,
                )
                for entry in self.entries()
                if not entry.problem
            )

    def _checked(self, spec: WatchSpec) -> WatchSpec:
        """The specification with an id; WatchError for an invalid one."""
        if spec.id and not _ID.fullmatch(spec.id):
            raise WatchError(
                Refusal.INVALID,
                "The id of a watch is 1 to 64 letters, digits, dots, hyphens and underscores; leave it empty "
                "to have one generated.",
            )
        if _PARAMETERS.fullmatch(spec.id):
            raise WatchError(
                Refusal.ID_TAKEN,
                f"The id {spec.id} is reserved for the parameters query and queries; choose another one.",
            )
        spec = self.resolved(spec)
        if self._check is None:
            raise WatchError(
                Refusal.NOT_CONFIGURED,
                "The node has not loaded a model yet; configure it, then add the watch.",
            )
        if spec.look_back < 0 or spec.lifetime < 0:
            raise WatchError(Refusal.INVALID, "look_back and lifetime cannot be negative.")
        if self._now() + spec.lifetime >= _END_OF_TIME:
            raise WatchError(
                Refusal.INVALID, "The lifetime ends after 2038; use 0 for a watch that stays until removed."
            )
        if len(spec.owner) > _MAX_OWNER:
            raise WatchError(Refusal.INVALID, f"The owner has more than {_MAX_OWNER} characters.")
        if problem := self._problem(spec):
            raise WatchError(Refusal.INVALID, problem)
        return spec if spec.id else replace(spec, id=self._free_id())

    def _known(self, names: Sequence[str]) -> tuple[str, ...]:
        """These cameras in the node's order; empty if that is all of them."""
        if names and not self._cameras:
            raise WatchError(
                Refusal.NO_CAMERA, "This node has one unnamed camera; leave the list of cameras empty."
            )
        if unknown := [name for name in names if name not in self._cameras]:
            raise WatchError(
                Refusal.NO_CAMERA,
                f"There is no camera {unknown[0]!r}; use {' or '.join(self._cameras)}, or leave the list "
                "empty for all.",
            )
        wanted = tuple(name for name in self._cameras if name in names)
        return () if wanted == self._cameras else wanted

    def _problem(self, spec: WatchSpec) -> str:
        if self._check is None:
            return ""
        try:
            self._check(spec)
        except StrideError as error:
            return as_reason(str(error))
        return ""

    def _free_id(self) -> str:
        # Random, so that an id from before the node restarted cannot match another client's watch.
        while (id := f"watch_{secrets.token_hex(4)}") in self._entries:
            pass
        return id


def _own_trigger(spec: WatchSpec, default: TriggerConfig) -> TriggerConfig | None:
    """The specification's own trigger, or None so that a change of the parameters applies to it at once."""
    if spec.min_active_seconds is None and spec.min_confidence is None:
        return None
    return spec.trigger(default)
