"""Workers on Ray: on this machine, where Ray is started as needed, or on a cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from stride_ros.errors import ConfigError, StrideError
from stride_ros.mining.jobs import Job, Report
from stride_ros.mining.pool import Answer, failed
from stride_ros.mining.settings import Settings
from stride_ros.mining.stopping import handle_signals
from stride_ros.mining.worker import Worker

_OBJECTS = 256 << 20  # bytes of shared memory on this machine; the messages are small


class Actor:
    """A worker as a Ray actor. It loads the model on request, so that a failure can be reported."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._worker: Worker | None = None

    def load(self) -> Report:
        """Load the model."""
        try:
            self._worker = Worker(self._settings)
        except StrideError as error:
            return Report(problem=str(error))
        return Report()

    def step(self, jobs: Sequence[Job]) -> Report:
        """See `Worker`."""
        assert self._worker is not None
        return self._worker.step(jobs)


class RayPool:
    """See `stride_ros.mining.pool.Pool`."""

    def __init__(
        self,
        settings: Settings,
        size: int | None,
        *,
        address: str | None = None,
        gpus_per_worker: float | None = None,
        most: int,
    ) -> None:
        """Start Ray on this machine, or connect to `address`. ConfigError when that fails.

        `size`: number of workers; None for as many as fit, up to `most`. `gpus_per_worker`: None for one if
        the cluster has GPUs.
        """
        self._ray = _start(address, size)
        total = self._ray.cluster_resources()
        gpus = gpus_per_worker if gpus_per_worker is not None else float(bool(total.get("GPU")))
        if settings.device == "cpu" and gpus_per_worker is None:
            gpus = 0.0
        room = total.get("GPU", 0.0) / gpus if gpus else total.get("CPU", 1.0)
        if room < 1:
            self.close()
            raise ConfigError(
                f"A worker needs {gpus:g} GPUs, but the cluster has {total.get('GPU', 0.0):g}; use another"
                " --gpus-per-worker."
            )
        self.size = max(1, min(size or int(room), int(room), most))
        options = {"num_cpus": 1, "num_gpus": gpus, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        self._class = self._ray.remote(**options)(Actor)
        self._settings = settings
        self._actors: dict[int, Any] = {}
        self._asked: dict[Any, int] = {}

    def start(self, number: int) -> None:
        """See `Pool`."""
        self._actors[number] = self._class.remote(self._settings)
        self._asked[self._actors[number].load.remote()] = number

    def send(self, number: int, jobs: Sequence[Job]) -> None:
        """See `Pool`."""
        self._asked[self._actors[number].step.remote(tuple(jobs))] = number

    def wait(self, seconds: float) -> list[tuple[int, Answer]]:
        """See `Pool`."""
        if not self._asked:
            return []
        first, _ = self._ray.wait(list(self._asked), num_returns=1, timeout=seconds)
        if not first:
            return []
        ready, _ = self._ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0)
        return [(number := self._asked.pop(asked), self._answer(number, asked)) for asked in ready]

    def close(self) -> None:
        """See `Pool`."""
        self._ray.shutdown()

    def _answer(self, number: int, asked: Any) -> Answer:
        try:
            report: Report = self._ray.get(asked)
        except self._ray.exceptions.RayTaskError as error:
            self._ray.kill(self._actors[number])
            return failed(error.cause if isinstance(error.cause, Exception) else error)
        except self._ray.exceptions.RayError as error:
            return failed(error)
        return report


def has_ray() -> bool:
    """Whether Ray is installed."""
    return find_spec("ray") is not None


def _start(address: str | None, size: int | None) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report every start to its developers
    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
    )  # a worker without GPUs sees none in any case
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "Mining on a cluster needs Ray; install it with: pip install -r requirements-fleet.txt"
        ) from error
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        options |= {"include_dashboard": False, "object_store_memory": _OBJECTS, "num_cpus": size}
    try:
        ray.init(address=address or "local", **options)
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        where = f"on {address}" if address is not None else "on this machine"
        reason = (
            str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        )
        raise ConfigError(
            f"Ray cannot be reached {where} ({reason}); check that `ray status` works there, or mine without "
            "Ray, with --no-ray."
        ) from error
    handle_signals()  # Ray's own handler would end the process at any moment
    return ray
