"""A worker as a Ray actor. The nodes of a cluster import this module."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from stride_ros.errors import StrideError
from stride_ros.mining.content import Contents, model_files
from stride_ros.mining.jobs import Job, Report
from stride_ros.mining.settings import Settings
from stride_ros.mining.worker import Worker
from stride_ros.process.threads import USERS_CHOICE


@dataclass(frozen=True)
class Home:
    """What a worker shares with the command.

    folder: the current one, where relative paths begin; threads: the variables that set a number of threads,
    since Ray sets its own; node: the cluster's node with the command, or empty without a cluster.
    """

    folder: str
    threads: dict[str, str]
    node: str = ""

    @classmethod
    def here(cls) -> Home:
        """This process's."""
        return cls(os.getcwd(), {name: os.environ[name] for name in USERS_CHOICE if name in os.environ})

    def enter(self) -> None:
        """Let this process work as if it had been started there."""
        with suppress(OSError):  # on another machine it may be missing; absolute paths do not need it
            os.chdir(self.folder)
        for name in USERS_CHOICE:
            os.environ.pop(name, None)
        os.environ.update(self.threads)


class Actor:
    """Loads the model on request, so that a failure can be reported."""

    def __init__(self, settings: Settings, home: Home) -> None:
        self._settings = settings
        self._home = home
        self._worker: Worker | None = None

    def load(self) -> Report:
        """Load the model."""
        node = _node() if self._home.node else ""
        self._home.enter()
        try:
            self._worker = Worker(self._settings)
            if node != self._home.node:
                _check_model(self._settings)
        except StrideError as error:
            return Report(problem=f"On node {node}: {error}" if node else str(error))
        return Report()

    def step(self, jobs: Sequence[Job]) -> Report:
        """See `Worker`."""
        assert self._worker is not None
        unread = tuple(job.path for job in jobs if not os.access(job.path, os.R_OK))
        report = self._worker.step(jobs)
        return replace(report, unread=unread, node=_node()) if unread else report


def _node() -> str:
    """The address of this node."""
    import ray

    return str(ray.util.get_node_ip_address())


def _check_model(settings: Settings) -> None:
    """Raise StrideError if this node's model is another one than the command's."""
    from stride_ros.qwen3_vl import checkpoint

    folder: Path = checkpoint.find(settings.model)
    if Contents().of(model_files(folder)) != settings.weights:
        raise StrideError(
            f"the model in {folder} differs from the one on the machine of the command; copy it there."
        )
