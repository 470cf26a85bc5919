"""Workers on Ray: on this machine, where Ray is started as needed, or on a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from multiprocessing.connection import wait

from stride_ros.errors import ConfigError, StrideError
from stride_ros.mining.jobs import Job
from stride_ros.mining.pool import Answer, how_it_ended, start_process
from stride_ros.mining.ray_actor import Home
from stride_ros.mining.ray_errors import unreached
from stride_ros.mining.ray_host import Opened, Refused, Request, Told, serve
from stride_ros.mining.ray_session import end_session, make_folder
from stride_ros.mining.settings import Settings
from stride_ros.mining.stopping import signals_held

PATIENCE = 60.0  # s for a cluster to answer
_FAREWELL = 2.0  # s for a cluster to be told that the workers are no longer needed


class RayPool:
    """See `stride_ros.mining.pool.Pool`. Ray is in another process: see `ray_host`."""

    def __init__(
        self,
        settings: Settings,
        size: int | None,
        *,
        address: str | None = None,
        gpus_per_worker: float | None = None,
        large: bool = False,
        most: int,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        """Start Ray on this machine, or connect to `address`. ConfigError when that fails.

        `size`, `large`, `most`: see `Request`. `gpus_per_worker`: None for one if the cluster has GPUs.
        `tell` gets notes for the user.
        """
        if not has_ray():
            raise ConfigError(
                "Mining on a cluster needs Ray; install it with: pip install -r requirements-fleet.txt"
            )
        self._address, self._tell = address, tell
        self._folder = make_folder()
        request = Request(settings, Home.here(), self._folder, size, most, large, address, gpus_per_worker)
        self._process, self._connection = start_process(serve, request, "stride-mining-ray")
        try:
            if not self._connection.poll(None if address is None else PATIENCE):
                raise ConfigError(unreached(address, f"no answer within {PATIENCE:g} s"))
            answer = self._receive()
            if isinstance(answer, Refused):
                raise ConfigError(answer.problem)
            assert isinstance(answer, Opened)
            self.size = answer.size
        except BaseException:
            self.close()
            raise

    def start(self, number: int) -> None:
        """See `Pool`."""
        self._send(number, None)

    def send(self, number: int, jobs: Sequence[Job]) -> None:
        """See `Pool`."""
        self._send(number, tuple(jobs))

    def wait(self, seconds: float) -> list[tuple[int, Answer]]:
        """See `Pool`."""
        answers: list[tuple[int, Answer]] = []
        deadline = time.monotonic() + seconds
        while self._connection.poll(0 if answers else max(0.0, deadline - time.monotonic())):
            message = self._receive()
            if isinstance(message, Told):
                self._tell(message.text)
            else:
                answers.append(message)  # type: ignore[arg-type]
        return answers

    def close(self) -> None:
        """See `Pool`."""
        if self._connection.closed:  # its number may belong to another process by now
            return
        with signals_held():
            self._connection.close()
            if self._address is not None:
                wait([self._process.sentinel], _FAREWELL)
            self._process.kill()
            assert self._process.pid is not None
            end_session(self._process.pid, self._folder)
            self._process.join()

    def _send(self, number: int, jobs: tuple[Job, ...] | None) -> None:
        try:
            self._connection.send((number, jobs))
        except OSError:
            raise self._lost() from None

    def _receive(self) -> object:
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            raise self._lost() from None

    def _lost(self) -> StrideError:
        self.close()
        if self._address is not None:
            return StrideError(
                f"The connection to Ray on {self._address} was lost; check that `ray status` works there, "
                "and run the same command to continue."
            )
        return StrideError(
            f"Ray on this machine ended unexpectedly ({how_it_ended(self._process.exitcode or 0)}); run the "
            "same command to continue, or mine without Ray, with --no-ray."
        )


def has_ray() -> bool:
    """Whether Ray is installed; a folder of that name is not it."""
    found = find_spec("ray")
    return found is not None and found.origin is not None
