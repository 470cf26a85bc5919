"""A managed node: failures of any transition are told, undone and can be repeated."""

from __future__ import annotations

import gc
import sys
from typing import Any

import pytest

pytest.importorskip("rclpy")
from lifecycle_msgs.msg import State

from stride_ros.errors import CheckpointError, ConfigError
from stride_ros.nodes.lifecycle import ManagedNode


class Fragile(ManagedNode):
    """Records what runs; raises where it is told to."""

    def __init__(self, **options: Any) -> None:
        self.log: list[str] = []
        self.fails: dict[str, Exception] = {}
        super().__init__("fragile", (), **options)

    def _step(self, name: str) -> None:
        self.log.append(name)
        if name in self.fails:
            raise self.fails[name]

    def configure(self) -> None:
        self._step("configure")

    def activate(self) -> None:
        self._step("activate")

    def deactivate(self) -> None:
        self._step("deactivate")

    def cleanup(self) -> None:
        self._step("cleanup")


def test_failed_configure_is_undone_and_told(graph: Any) -> None:
    node = graph.host(Fragile)
    node.fails["configure"] = CheckpointError("The model is missing; pass its directory.")
    assert not graph.transition("fragile", "configure")
    assert node.log == ["configure", "cleanup"]
    assert node.last_error == "The model is missing; pass its directory."
    assert graph.state("fragile") == "unconfigured"
    node.fails.clear()
    assert graph.transition("fragile", "configure")


@pytest.mark.parametrize(("module", "package"), [("torch", "torch"), ("PIL.Image", "pillow")])
def test_missing_python_package_names_the_one_command(graph: Any, module: str, package: str) -> None:
    node = graph.host(Fragile)
    node.fails["configure"] = ModuleNotFoundError(f"No module named {module!r}", name=module)
    assert not graph.transition("fragile", "configure")
    assert node.last_error.endswith(f"{sys.executable} -m pip install {package}")


def test_failed_activate_stays_inactive(graph: Any) -> None:
    node = graph.host(Fragile)
    node.fails["activate"] = RuntimeError("no threads left")
    assert graph.transition("fragile", "configure")
    assert not graph.transition("fragile", "activate")
    assert node.log == ["configure", "activate", "deactivate"]
    assert node.last_error == "RuntimeError: no threads left"
    assert graph.state("fragile") == "inactive"


def test_failures_while_giving_back_do_not_trap_the_node(graph: Any) -> None:
    node = graph.host(Fragile)
    assert graph.transition("fragile", "configure")
    assert graph.transition("fragile", "activate")
    node.fails.update(deactivate=RuntimeError("stuck"), cleanup=RuntimeError("stuck too"))
    assert graph.transition("fragile", "deactivate")
    assert graph.transition("fragile", "cleanup")
    assert graph.state("fragile") == "unconfigured"


@pytest.mark.parametrize("reached", ["unconfigured", "inactive", "active"])
def test_shutdown_from_every_state_gives_everything_back(graph: Any, reached: str) -> None:
    node = graph.host(Fragile)
    if reached != "unconfigured":
        assert graph.transition("fragile", "configure")
    if reached == "active":
        assert graph.transition("fragile", "activate")
    node.log.clear()
    assert graph.transition("fragile", "shutdown")
    assert node.log == ["deactivate", "cleanup"]
    assert graph.state("fragile") == "finalized"


def test_autostart_reports_success_and_failure(graph: Any) -> None:
    node = graph.host(Fragile)
    assert node.autostart()
    assert graph.state("fragile") == "active"
    graph.remove(node)
    node = graph.host(Fragile)
    node.fails["activate"] = RuntimeError("no")
    assert not node.autostart()


def test_interrupted_configure_fails_without_an_error_message(graph: Any) -> None:
    from stride_ros.nodes.worker import call_in_thread

    node = graph.host(Fragile)
    node.interrupt()
    node.fails["configure"] = InterruptedError()
    with pytest.raises(InterruptedError):
        call_in_thread(lambda: __import__("threading").Event().wait(2), node.may_wait)
    assert not graph.transition("fragile", "configure")
    assert "Stopped during configure" in node.last_error


def test_unknown_transition_changes_nothing(graph: Any) -> None:
    node = graph.host(Fragile)
    assert not graph.transition("fragile", "activate")
    assert node.log == []
    assert graph.state("fragile") == "unconfigured"
    assert State.PRIMARY_STATE_UNCONFIGURED == 1


def test_a_destroyed_node_leaves_the_graph_at_once(graph: Any) -> None:
    gc.disable()  # nor does it wait for the collector
    try:
        node = graph.host(Fragile)
        assert "fragile" in graph.observer.get_node_names()
        graph.remove(node)
        assert "fragile" not in graph.observer.get_node_names()
        with pytest.raises(ConfigError, match="'autostart' must be a boolean"):
            graph.host(Fragile, {"autostart": "perhaps"})
        assert "fragile" not in graph.observer.get_node_names()
    finally:
        gc.enable()
