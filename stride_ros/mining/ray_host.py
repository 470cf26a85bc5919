"""The process that talks to Ray for the command: it starts Ray or connects to a cluster, and has the actors.

Ray takes over the process that it is imported into: its signals, its process group, its stderr, its exit, and
its end when a cluster is lost. So the command keeps out of it, and can end this process at any moment.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from stride_ros.errors import ConfigError
from stride_ros.mining.jobs import Report
from stride_ros.mining.pool import Answer, failed
from stride_ros.mining.ray_actor import Actor, Home
from stride_ros.mining.ray_address import refuse_silence
from stride_ros.mining.ray_errors import ended, lacking, refusal, unreadable
from stride_ros.mining.ray_session import end_session
from stride_ros.mining.settings import Settings
from stride_ros.mining.stopping import STOPPING

if TYPE_CHECKING:
    from concurrent.futures import Future

_OBJECTS = 256 << 20  # bytes of shared memory on this machine; the messages are small
_PATIENCE = 10.0  # s for the first worker, after which the cluster may be full


@dataclass(frozen=True)
class Request:
    """What the command wants.

    `size`: number of workers; None for as many as fit, of a `large` model without a GPU one per node. `most`:
    of which there is no use for more. `address`: the cluster; None for Ray on this machine, which keeps its
    files in `folder`. `gpus`: for each worker; None for one if there are any.
    """

    settings: Settings
    home: Home
    folder: str
    size: int | None
    most: int
    large: bool
    address: str | None
    gpus: float | None


@dataclass(frozen=True)
class Opened:
    """There is room for this number of workers."""

    size: int


@dataclass(frozen=True)
class Refused:
    """Why there are none, in a sentence."""

    problem: str


@dataclass(frozen=True)
class Told:
    """A note for the user."""

    text: str


def serve(connection: Connection, request: Request) -> None:
    """Do what the command says until it closes the connection or has ended."""
    _stand_alone()
    try:
        workers = Workers(connection, request)
        connection.send(Opened(workers.size))
        workers.serve()
    except ConfigError as error:
        with suppress(OSError):
            connection.send(Refused(str(error)))
    except (EOFError, OSError):  # the command is over
        pass
    finally:
        _end(request)


def _end(request: Request) -> None:
    """End everything that belongs to the command."""
    if request.address is None:
        end_session(os.getpid(), request.folder)
        return
    shutil.rmtree(request.folder, ignore_errors=True)
    if (ray := sys.modules.get("ray")) is not None:
        ray.shutdown()  # with which the cluster ends the actors


def _stand_alone() -> None:
    """Leave the command's terminal and its signals, which Ray's processes would share."""
    os.setsid()
    for number in (signal.SIGINT, *STOPPING):
        signal.signal(number, signal.SIG_IGN)  # forgets one that has come already
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, *STOPPING})
    for number in (signal.SIGINT, *STOPPING):
        signal.signal(number, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)


class Workers:
    """The actors."""

    def __init__(self, connection: Connection, request: Request) -> None:
        """Start Ray or connect. ConfigError if that fails."""
        self._connection = connection
        self._sending = threading.Lock()
        self._request = request
        self._ray, node = _connected(request)
        home = Home(request.home.folder, request.home.threads, node)
        total = self._ray.cluster_resources()
        gpus = request.gpus if request.gpus is not None else float(bool(total.get("GPU")))
        if request.settings.device == "cpu" and request.gpus is None:
            gpus = 0.0
        room = total.get("GPU", 0.0) / gpus if gpus else total.get("CPU", 0.0)
        if room < 1:
            what = f"{gpus:g} GPUs" if gpus else "a CPU"
            has = f"{total.get('GPU', 0.0):g}" if gpus else "none"
            remedy = "use another --gpus-per-worker" if gpus else "add nodes to it"
            raise ConfigError(f"A worker needs {what}, but the cluster has {has}; {remedy}.")
        usual = int(room)
        if request.large and not gpus:
            usual = sum(node["Alive"] and node["Resources"].get("CPU", 0) >= 1 for node in self._ray.nodes())
        self.size = max(1, min(request.size or usual, int(room), request.most))
        options = {"num_cpus": 1, "num_gpus": gpus, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
        remote = self._ray.remote(**options)(Actor)
        self._make = partial(remote.remote, request.settings, home)
        self._needs = {"CPU": 1.0, **({"GPU": gpus} if gpus else {})}
        self._actors: dict[int, Any] = {}
        self._full_at: float | None = time.monotonic() + _PATIENCE

    def serve(self) -> None:
        """Start and ask workers. EOFError or OSError when the command is over."""
        while True:
            if not self._connection.poll(1.0):
                self._tell_if_full()
                continue
            number, jobs = self._connection.recv()
            if jobs is None:
                self._actors[number] = self._make()
                asked = self._actors[number].load.remote()
            else:
                asked = self._actors[number].step.remote(jobs)
            asked.future().add_done_callback(partial(self._answered, number, self._actors[number]))

    def _answered(self, number: int, actor: Any, asked: Future[Report]) -> None:
        """Pass an answer on; called by a thread of Ray's."""
        errors = self._ray.exceptions
        answer: Answer
        try:
            answer = asked.result()
            self._full_at = None
            if shown := [path for path in answer.unread if os.access(path, os.R_OK)]:
                answer = Report(problem=unreadable(shown[0], answer.node))
        except errors.RayTaskError as error:
            self._ray.kill(actor)
            cause = error.cause if isinstance(error.cause, Exception) else error
            problem = lacking(error) if isinstance(cause, ImportError) else ""
            answer = Report(problem=problem) if problem else failed(cause)
        except errors.RayError as error:
            problem = lacking(error)
            answer = Report(problem=problem) if problem else ended(error)
        except Exception as error:  # what it was cannot be unpickled here
            self._ray.kill(actor)
            answer = failed(error)
        self._send((number, answer))

    def _tell_if_full(self) -> None:
        """Say once that all workers wait for a place, which the cluster may give them at any time."""
        if self._full_at is None or not self._actors or time.monotonic() < self._full_at:
            return
        free = self._ray.available_resources()
        if any(free.get(name, 0.0) < count for name, count in self._needs.items()):
            what = "GPUs" if "GPU" in self._needs else "CPUs"
            self._send(
                Told(
                    f"All {what} of the cluster are reserved by others, as `ray status` shows; mining begins "
                    "when there is a free one."
                )
            )
            self._full_at = None

    def _send(self, message: object) -> None:
        with self._sending:
            try:
                self._connection.send(message)
            except OSError:  # the command has ended
                return


def _connected(request: Request) -> tuple[Any, str]:
    """Ray, and on a cluster the address of this node."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report every start to its developers
    # A worker without GPUs sees none in any case.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if request.address is None:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))  # instead of in ~/.ray
        os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        options |= {"include_dashboard": False, "object_store_memory": _OBJECTS, "num_cpus": request.size}
        options["_temp_dir"] = request.folder
    # Ray lets workers look for modules in the current folder and that of the program, before all others.
    os.chdir(request.folder)
    sys.argv[:] = [""]
    try:
        import ray

        if request.address is not None:
            refuse_silence(request.address)
        ray.init(address=request.address or "local", **options)
        node = str(ray.util.get_node_ip_address()) if request.address is not None else ""
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(refusal(error, request.address)) from error
    return ray, node
