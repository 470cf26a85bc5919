"""Container files name what exists: files, arguments of launch files, parameters. Nothing is built here."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stride_ros.parameters import activation, camera, responder
from stride_ros.parameters.files import ParameterFile

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("Dockerfile*"))
IGNORED = [line for line in (ROOT / ".dockerignore").read_text().split("\n") if line and line[0] != "#"]


def services() -> dict[str, dict[str, Any]]:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]


def assigned(service: str) -> dict[str, str]:
    """What the command of a service sets with `name:=value`."""
    words = (word.partition(":=") for word in services()[service]["command"])
    return {name: value for name, separator, value in words if separator}


def copied(dockerfile: Path) -> list[str]:
    lines = re.findall(r"^COPY (?:--\S+ )*(.+) \S+$", dockerfile.read_text(), flags=re.MULTILINE)
    return [source for line in lines for source in line.split()]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_what_an_image_copies_is_there_and_reaches_the_build(dockerfile: Path) -> None:
    assert "." in copied(dockerfile)
    for source in copied(dockerfile):
        assert (ROOT / source).exists(), source
        assert not any(fnmatch.fnmatch(source, pattern) for pattern in IGNORED), source


def test_what_the_package_installs_reaches_the_build() -> None:
    for name in (
        *("action", "config", "examples", "launch", "models", "msg", "scripts", "srv", "stride_ros"),
        *("package.xml", "CMakeLists.txt", "LICENSE"),
    ):
        assert (ROOT / name).exists()
        assert not any(fnmatch.fnmatch(name, pattern) for pattern in IGNORED), name


def test_the_parameters_of_the_nodes_are_valid() -> None:
    file = ParameterFile(DOCKER / "parameters.yaml")
    for name, table in (("activation", activation.TABLE), ("responder", responder.TABLE)):
        given = file.parameters(f"/stride/{name}")
        assert given
        assert set(given) <= {spec.name for spec in table}


def test_the_responder_asks_the_server_that_is_started() -> None:
    given = ParameterFile(DOCKER / "parameters.yaml").parameters("/stride/responder")
    command = services()["vllm"]["command"]
    options = dict(zip(command[::2], command[1::2], strict=True))
    assert given["backend"] == "openai"
    assert given["model"] == options["--model"]
    assert given["base_url"] == f"http://{options['--host']}:{options['--port']}/v1"
    assert (
        f"http://{options['--host']}:{options['--port']}/health"
        in services()["vllm"]["healthcheck"]["test"][-1]
    )
    assert services()["nodes"]["depends_on"] == {"vllm": {"condition": "service_healthy"}}


def test_commands_set_what_the_launch_file_and_the_camera_know() -> None:
    launch_file = (ROOT / "launch" / "stride.launch.py").read_text()
    assert {name for name in assigned("nodes") if f'"{name}"' not in launch_file} == set()
    topics_of_the_camera = {"image", "camera_info"}
    parameters = {spec.name for spec in camera.TABLE}
    assert set(assigned("camera")) <= parameters | topics_of_the_camera


def test_files_that_are_mounted_exist() -> None:
    mounted = [
        volume.split(":")[0] for service in services().values() for volume in service.get("volumes", ())
    ]
    files = [path for path in mounted if path.startswith(".")]
    assert files
    assert all((DOCKER / path).is_file() for path in files)
