"""The locks are checked against an advisory database; here one on loopback that speaks OSV's protocol."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "check_advisories.py"
LOCK = "jinja2==2.4.1 \\\n    --hash=sha256:aa\nRos_Thing==1.0 ; python_version >= '3.10'\nfine==3\n"
KNOWN = {("jinja2", "2.4.1"): ["PYSEC-2019-217", "GHSA-462w-v97r-4m45"]}


class Database(HTTPServer):
    asked: list[tuple[str, str]]
    broken: bool


@pytest.fixture
def database() -> Iterator[Database]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = [(query["package"]["name"], query["version"]) for query in question["queries"]]
            server.asked += asked
            results = [
                {"vulns": [{"id": each} for each in KNOWN[pin]]} if pin in KNOWN else {} for pin in asked
            ]
            body = b"<html>" if server.broken else json.dumps({"results": results}).encode()
            self.send_response(200 if self.path == "/v1/querybatch" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *parts: Any) -> None:
            pass

    server = Database(("127.0.0.1", 0), Handler)
    server.asked, server.broken = [], False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def check(tmp_path: Path, clean_environment: dict[str, str]) -> Callable[..., Any]:
    def run(lock: str, port: int) -> Any:
        (tmp_path / "lock.txt").write_text(lock)
        command = [sys.executable, str(TOOL), str(tmp_path / "lock.txt"), "--url", f"http://127.0.0.1:{port}"]
        environment = {**clean_environment, "NO_PROXY": "127.0.0.1"}
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return run


def test_what_is_known_of_a_locked_version_is_told(database, check):
    answer = check(LOCK, database.server_port)
    assert answer.returncode == 1
    assert answer.stdout.splitlines() == [
        "jinja2 2.4.1: PYSEC-2019-217, GHSA-462w-v97r-4m45",
        "3 versions checked; there are advisories for 1.",
    ]
    assert database.asked == [("fine", "3"), ("jinja2", "2.4.1"), ("ros-thing", "1.0")]


def test_nothing_known_is_fine(database, check):
    answer = check("fine==3\n", database.server_port)
    assert answer.returncode == 0
    assert "1 version checked; there are advisories for 0." in answer.stdout


def test_a_database_that_does_not_answer_is_no_all_clear(database, check):
    database.broken = True
    port = database.server_port
    assert check(LOCK, port).returncode == 2
    database.shutdown()
    database.server_close()
    answer = check(LOCK, port)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.startswith(f"NOT CHECKED: the advisory database at http://127.0.0.1:{port} does not")
