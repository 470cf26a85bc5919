"""A request to watch for something, as streams take it. Needs neither ROS nor torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stride_ros.activation.config import TriggerConfig
from stride_ros.activation.identity import watch_ids
from stride_ros.errors import QueryError


@dataclass(frozen=True)
class WatchRequest:
    """A requested watch: its id, unique in the engine, and what to watch for.

    trigger: None for that of the configuration. look_back: s; spans that began this long before the watch
    count, too; 0: it begins with the next pair of frames. respond: whether the responder is to speak.
    cameras: their names; empty for all. number: another number makes it another watch, even with the id and
    the query of one that was just removed.
    """

    id: str
    query: str
    trigger: TriggerConfig | None = None
    look_back: float = 0.0
    respond: bool = True
    cameras: tuple[str, ...] = ()
    number: int = 0

    @property
    def identity(self) -> tuple[str, str, int]:
        """The fields that make it another watch when they change; the others may change while it runs."""
        return self.id, self.query, self.number

    def covers(self, camera: str) -> bool:
        """Whether to watch on the camera with this name."""
        return not self.cameras or camera in self.cameras


def requests_for(queries: Sequence[str]) -> tuple[WatchRequest, ...]:
    """The watches of parameters or of a replay: one for each query, in order."""
    if isinstance(queries, str) or not queries:
        raise QueryError("There is nothing to watch for; pass a list of at least one query.")
    if len(set(queries)) < len(queries):
        raise QueryError("A query is listed twice; list each one once.")
    return tuple(WatchRequest(*pair) for pair in zip(watch_ids(queries), queries, strict=True))
