"""What somebody wants to be told about, as a stream is asked to watch for it. Needs no ROS and no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stride_ros.activation.config import TriggerConfig
from stride_ros.activation.identity import watch_ids
from stride_ros.errors import QueryError


@dataclass(frozen=True)
class WatchRequest:
    """A watch that somebody wants: its id, unique in the engine, and what to watch for.

    trigger: None for that of the configuration. look_back: s, spans that began this long before the watch
    count too; 0: it begins with the next pair of frames. respond: whether the responder is to speak. cameras:
    their names; empty for all. number: another one makes it another watch, though the id and the query are
    those of one that was removed a moment ago.
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
        """What makes it another watch when it changes; the rest may change while it watches."""
        return self.id, self.query, self.number

    def covers(self, camera: str) -> bool:
        """Whether to watch on the camera of this name."""
        return not self.cameras or camera in self.cameras


def requests_for(queries: Sequence[str]) -> tuple[WatchRequest, ...]:
    """The watches of parameters or of a replay: one for each query, in order."""
    if isinstance(queries, str) or not queries:
        raise QueryError("There is nothing to watch for; pass a list of at least one query.")
    if len(set(queries)) < len(queries):
        raise QueryError("A query is listed twice; list each one once.")
    return tuple(WatchRequest(*pair) for pair in zip(watch_ids(queries), queries, strict=True))
