"""Mining on Ray: on this machine and on a cluster of two nodes, with the results of plain processes."""

import os
import signal
from pathlib import Path

import pytest

from stride_ros.mining import ray_pool
from stride_ros.mining.ray_pool import RayPool

pytestmark = pytest.mark.slow
ray = pytest.importorskip(
    "ray", reason="Ray is missing; install it with: pip install -r requirements-fleet.txt"
)

EMBEDDED = ()  # Ray is used where it is there


@pytest.fixture
def undisturbed(drives, mine, results, workers, tmp_path):
    """The results of workers in this process."""
    assert mine(drives, "--out", tmp_path / "undisturbed")[0] == 0
    return results(tmp_path / "undisturbed")


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _actors():
    """Processes of workers that this process has started, by way of Ray's own."""
    found = []
    for path in Path("/proc").iterdir():
        try:
            is_actor = path.name.isdigit() and b"ray::Actor" in (path / "cmdline").read_bytes()
            if is_actor and _parent(_parent(path.name)) == os.getpid():
                found.append(int(path.name))
        except OSError:  # it has ended
            continue
    return found


class KillingPool(RayPool):
    """Kills a worker when the first recording is over."""

    killed = 0

    def wait(self, seconds):
        answers = super().wait(seconds)
        if not self.killed and any(getattr(answer, "results", ()) for _, answer in answers):
            type(self).killed = _actors()[0]
            os.kill(self.killed, signal.SIGKILL)
        return answers


def test_ray_on_this_machine_gives_the_same_and_replaces_what_is_killed(
    drives, mine, results, undisturbed, tmp_path, monkeypatch
):
    monkeypatch.setattr(ray_pool, "RayPool", KillingPool)
    words = (drives, "--out", tmp_path / "out", "--workers", 2, "--streams-per-worker", 2)
    code, printed = mine(*words, ray=EMBEDDED)
    assert code == 0, printed
    assert KillingPool.killed
    assert results(tmp_path / "out") == undisturbed
    assert not ray.is_initialized()


class SpreadPool(RayPool):
    """Says on which nodes its workers are."""

    nodes: set[str]

    def close(self):
        def node():
            return ray.get_runtime_context().get_node_id()

        asked = [actor.__ray_call__.remote(lambda _: node()) for actor in self._actors.values()]
        type(self).nodes = set(ray.get(asked))
        super().close()


def test_the_work_is_spread_over_the_nodes_of_a_cluster(
    drives, mine, results, undisturbed, tmp_path, monkeypatch
):
    from ray.cluster_utils import Cluster

    monkeypatch.setattr(ray_pool, "RayPool", SpreadPool)
    memory = {"num_cpus": 1, "object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**memory, "include_dashboard": False})
    try:
        cluster.add_node(**memory)
        code, printed = mine(drives, "--out", tmp_path / "out", ray=("--ray", cluster.address))
    finally:
        cluster.shutdown()
    assert code == 0, printed
    assert len(SpreadPool.nodes) == 2
    assert results(tmp_path / "out") == undisturbed


def test_more_gpus_than_there_are_is_one_sentence(drives, mine, tmp_path):
    code, printed = mine(drives, "--out", tmp_path / "out", "--gpus-per-worker", 64, ray=EMBEDDED)
    assert code == 2
    assert "needs 64 GPUs" in printed
    assert not ray.is_initialized()


def test_a_cluster_that_is_not_there_is_one_sentence(drives, mine, tmp_path):
    code, printed = mine(drives, "--out", tmp_path / "out", ray=("--ray", "nowhere:6379:1"))
    assert code == 2
    assert "Ray cannot be reached on nowhere" in printed
