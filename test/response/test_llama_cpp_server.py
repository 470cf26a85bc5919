"""A real server of another make: `python -m llama_cpp.server` with a tiny model that says one sentence.

STRIDE_LLAMA_CPP_PYTHON names the Python that has llama-cpp-python[server] and gguf, by default this one.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="openai is not installed: run `python3 -m pip install openai`")
from stride_ros.errors import BackendError
from stride_ros.response.backend import load_backend

pytestmark = pytest.mark.slow

PYTHON = os.environ.get("STRIDE_LLAMA_CPP_PYTHON", sys.executable)
MODEL = Path(__file__).with_name("tiny_gguf.py")
PATIENCE = 120.0  # s; only reached by a test that fails


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its base_url."""
    found = subprocess.run([PYTHON, "-c", "import gguf, llama_cpp.server.app"], capture_output=True)
    if found.returncode:
        pytest.skip("llama-cpp-python is not installed: run `pip install 'llama-cpp-python[server]' gguf`")
    folder = tmp_path_factory.mktemp("llama")
    subprocess.run([PYTHON, str(MODEL), str(folder / "cup.gguf")], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {
        "model": folder / "cup.gguf",
        "model_alias": "cup",
        "n_ctx": 8192,
        "n_threads": 2,
        "port": port,
    }
    command = [PYTHON, "-m", "llama_cpp.server"]
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/v1/models", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + PATIENCE
    while True:
        try:
            opener.open(url, timeout=5.0).close()
            return
        except (OSError, urllib.error.URLError):
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.2)  # nothing tells when a server of another make is up


# It hands a model without eyes the images' bytes as text, and says nothing about it: few and small ones.
@pytest.mark.parametrize("frames", [0, 1])
def test_an_answer_of_a_real_server(server, make_request, frames):
    backend = load_backend("openai", "cup", base_url=server, read_timeout=PATIENCE)
    backend.warm_up()
    request = make_request(1, size=(16, 16))
    if not frames:
        request = make_request(0)
    assert "".join(backend.stream(request, lambda: False)).strip() == "A red cup falls."
    assert backend.last_tokens == 5
    backend.close()


def test_an_answer_that_the_real_server_cuts(server, make_request):
    backend = load_backend("openai", "cup", base_url=server, read_timeout=PATIENCE, max_new_tokens=2)
    said: list[str] = []
    with pytest.raises(BackendError, match=r"cut off after 2 tokens \(length\); raise max_new_tokens"):
        said.extend(backend.stream(make_request(1, size=(16, 16)), lambda: False))
    assert "".join(said).strip() == "A red"
    backend.close()


def test_a_model_that_the_real_server_does_not_have(server):
    backend = load_backend("openai", "bowl", base_url=server, read_timeout=PATIENCE)
    with pytest.raises(BackendError, match=r"does not list the model 'bowl'; use one of cup\."):
        backend.warm_up()
    backend.close()
