"""Where a checkpoint comes from by its name, and what stands in the way of a download."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from stride_ros.errors import BackendError, CheckpointError
from stride_ros.qwen3_vl.checkpoint import find
from stride_ros.response.loading import resolve_checkpoint

ROOT = Path(__file__).resolve().parents[2]
REPO = "interlive/STRIDE-2B"


@pytest.fixture(params=[find, resolve_checkpoint], ids=["activation", "responder"])
def look_up(request):
    return request.param


def sentence(look_up, name=REPO):
    with pytest.raises((CheckpointError, BackendError)) as caught:
        look_up(name)
    text = str(caught.value)
    assert text.endswith(".")
    return text


@pytest.fixture
def failing(monkeypatch):
    """Lets the download fail with the given error."""
    import huggingface_hub

    def fail_with(error):
        def download(*args, **options):
            raise error

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)

    return fail_with


@pytest.mark.parametrize("made", ["interlive", "interlive/other"])
def test_a_folder_named_like_the_owner_hides_no_repository(look_up, failing, tmp_path, monkeypatch, made):
    failing(OSError("no network"))
    (tmp_path / made).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert "could not be downloaded from Hugging Face" in sentence(look_up)


def test_a_folder_of_that_very_name_is_the_checkpoint(look_up, failing, tmp_path, monkeypatch):
    failing(AssertionError("looked up although it is there"))
    (tmp_path / REPO).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert look_up(REPO).resolve() == tmp_path / REPO


def test_a_folder_named_like_the_embedded_checkpoint_counts_when_it_holds_one(look_up, tmp_path, monkeypatch):
    (tmp_path / "stride-tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert look_up("stride-tiny").resolve() == ROOT / "models" / "stride-tiny"
    (tmp_path / "stride-tiny" / "config.json").write_text("{}")
    assert look_up("stride-tiny").resolve() == tmp_path / "stride-tiny"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_to_be_full(look_up, failing, number):
    failing(OSError(number, "no space"))
    assert "is full; free some space there or set HF_HOME" in sentence(look_up)


def test_a_full_disk_is_found_behind_another_error(look_up, failing):
    failing(RuntimeError("Data processing error: No space left on device (os error 28)"))
    assert "is full; free some space there" in sentence(look_up)
    error = RuntimeError("download failed")
    error.__cause__ = OSError(errno.ENOSPC, "no space")
    failing(error)
    assert "is full; free some space there" in sentence(look_up)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_cache_that_cannot_be_written_is_named(look_up, failing, number):
    failing(OSError(number, "not allowed", "/cache/hub"))
    assert "cannot be written; make it writable for this user or set HF_HOME" in sentence(look_up)


def test_a_refused_connection_is_no_matter_of_the_cache(look_up, failing):
    failing(OSError(errno.EACCES, "not allowed"))
    text = sentence(look_up)
    assert "check the network" in text
    assert "cannot be written" not in text


def test_a_cache_below_a_file_is_found_by_the_library_itself(tmp_path):
    """In a process of its own, whose cache is below a file; the endpoint answers with a real revision."""
    server = f"""
import http.server, json, sys, threading
class Hub(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        files = [{{"rfilename": "config.json"}}]
        body = json.dumps({{"id": "{REPO}", "sha": "0" * 40, "siblings": files}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_HEAD = do_GET
    def log_message(self, *args):
        pass
hub = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=hub.serve_forever, daemon=True).start()
import os
os.environ.update(HF_ENDPOINT=f"http://127.0.0.1:{{hub.server_port}}", HF_HOME=sys.argv[1], NO_PROXY="*")
os.environ.pop("HF_HUB_OFFLINE", None)
from stride_ros.qwen3_vl.checkpoint import find
from stride_ros.errors import CheckpointError
try:
    find("{REPO}")
except CheckpointError as error:
    print(error)
"""
    (tmp_path / "file").write_text("in the way")
    result = subprocess.run(
        [sys.executable, "-c", server, str(tmp_path / "file" / "cache")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "cannot be written; make it writable" in result.stdout, result.stderr


def test_gated_and_unknown_repositories_have_their_own_remedies(look_up, failing):
    from huggingface_hub.errors import HFValidationError

    failing(HFValidationError("a name"))
    assert f"neither a local directory {REPO} nor a repository" in sentence(look_up)
