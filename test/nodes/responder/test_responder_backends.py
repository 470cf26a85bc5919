"""The same events through every backend: one final commentary each, in the model's own words."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec

import pytest

ONSET, UPDATE, OFFSET, RETRACTED = range(4)
OK, ERROR = range(2)
QUERIES = ("Tell me when the cup falls.", "Where is the ball?")


@pytest.fixture
def transformers_server(gemma3, tmp_path):
    """`transformers serve` on loopback: a real server with a real model."""
    for module in ("openai", "fastapi", "uvicorn"):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed: run `python3 -m pip install 'transformers[serving]'`")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = "import sys; from transformers.cli.transformers import main; sys.exit(main())"
    arguments = ["serve", "--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    log = (tmp_path / "serve.log").open("wb")
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=log, stderr=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen) -> None:
    end = time.monotonic() + 120.0
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            opener.open(url, timeout=5.0)
            return
        except (OSError, urllib.error.URLError):
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.2)  # nothing tells when a server of another make is up


@pytest.fixture(params=["qwen3_vl", "internvl3", "gemma3", "openai"])
def backend_parameters(request, stage, monkeypatch):
    """Parameters of the responder for each backend."""
    if request.param == "openai":
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        url = request.getfixturevalue("transformers_server")
        model = request.getfixturevalue("gemma3")
        return {"backend": "openai", "base_url": url, "model": str(model), "read_timeout": 120.0}
    if request.param == "qwen3_vl":
        return {"model": str(stage.checkpoint)}
    return {"model": str(request.getfixturevalue(request.param))}


def own_words(parameters: dict, query: str, start: float, seconds: range, picture) -> str:
    """What the model says when it is asked without any node."""
    from stride_ros.errors import BackendError
    from stride_ros.response.backend import ResponseRequest, TimedFrame, load_backend
    from stride_ros.response.prompt import DEFAULT_SYSTEM_PROMPT

    options = {key: value for key, value in parameters.items() if key not in ("backend", "model")}
    backend = load_backend(parameters.get("backend", "huggingface"), parameters["model"], **options)
    frames = tuple(TimedFrame(picture(second), float(second)) for second in seconds)
    request = ResponseRequest(query, frames, start, system_prompt=DEFAULT_SYSTEM_PROMPT)
    said: list[str] = []
    with contextlib.suppress(BackendError):  # that it was cut
        for piece in backend.stream(request, lambda: False):
            said.append(piece)
    backend.close()
    return "".join(said).strip()


def test_the_same_events_through_every_backend(stage, backend_parameters, noise_of):
    settings = {"max_new_tokens": 8, "temperature": 0.0, **backend_parameters}
    stage.start(history=0, pre_seconds=1.0, **settings)
    stage.frames(*range(6))
    stage.span(1, ONSET, 2.0, 3.0, query=QUERIES[0])  # shows 1 to 3
    stage.span(1, UPDATE, 2.0, 4.0, query=QUERIES[0])
    stage.finals(1)
    stage.span(1, OFFSET, 2.0, 4.0, query=QUERIES[0])
    stage.span(2, ONSET, 4.5, 5.0, query=QUERIES[1])  # shows 4 and 5
    finals = stage.finals(2)
    stage.span(2, RETRACTED, 4.5, 5.0, query=QUERIES[1])
    # Random weights never end by themselves, which a server tells.
    cut = settings.get("backend") == "openai"
    assert [finals[span_id].status for span_id in (1, 2)] == ([ERROR, ERROR] if cut else [OK, OK])
    assert ["raise max_new_tokens" in finals[span_id].error for span_id in (1, 2)] == [cut, cut]
    assert finals[1].text == own_words(settings, QUERIES[0], 2.0, range(1, 4), noise_of)
    assert finals[2].text == own_words(settings, QUERIES[1], 4.5, range(4, 6), noise_of)
    assert finals[1].text != ""
    if not cut:
        stage.graph.wait(lambda: len(stage.spoken) == 2, "the spoken texts")
