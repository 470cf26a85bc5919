"""Damage the answers of model servers at random, and check that nothing is lost, doubled or held forever.

    python tools/fuzz_streams.py --count 5000 --seed 1

The answers in `test/response/test_server_families.py` are changed event by event and byte by byte, cut in
bytes and in time, and sent over real connections to the responder's backend and scheduler. The results are
compared with `test/response/reference_reader.py`, which reads the whole body at once and shares no code with
the package. A fault is a different text, a wrong status, an answer with no final or two, one that exceeds its
limits, or an error that is not a sentence. It is printed with its number; `--only NUMBER` runs only that case
and prints what was sent. Exit code 1 means that there was a fault.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "test/response")]

import numpy as np  # noqa: E402
import reference_reader  # noqa: E402
from damaged_streams import TAILS, Case, Maker, Stream, body_of, families, is_closed  # noqa: E402
from stream_server import Server  # noqa: E402

from stride_ros.response.backend import ResponseRequest, TimedFrame  # noqa: E402
from stride_ros.response.config import ResponseConfig  # noqa: E402
from stride_ros.response.openai_compatible import OpenAICompatibleBackend  # noqa: E402
from stride_ros.response.scheduler import Answer, AnswerScheduler, AnswerStatus, Job  # noqa: E402

SHORT, LONG = 3.0, 30.0  # s without text: if the connection stays open, and otherwise
CONNECT = 5.0  # s
ACTS = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029]")  # characters that a log line must not contain


class Asker:
    """Requests one case's answers and reports what is wrong with them."""

    def __init__(self, server: Server, case: Case, grace: float, quiet: float = SHORT) -> None:
        self.server, self.case, self.grace = server, case, grace
        self.quiet = quiet if case.lasts else LONG
        self.told: list[tuple[Job, Answer]] = []
        self.ended = threading.Condition()

    def ask(self) -> list[str]:
        case = self.case
        self.server.cases[case.number] = case
        backend = OpenAICompatibleBackend(
            "m",
            base_url=f"http://127.0.0.1:{self.server.port}/{case.number}/v1",
            connect_timeout=CONNECT,
            read_timeout=self.quiet,
            max_retries=case.retries,
            max_new_tokens=100 if case.lasts else 4000,
        )
        scheduler = AnswerScheduler(backend, self._publish, ResponseConfig(partial_rate=1000.0))
        faults, opened = [], None
        limit = (case.retries + 1) * (CONNECT + 2 * self.quiet) + case.retries
        try:
            for number, stream in enumerate(case.streams):
                case.current = number
                job = Job(lambda: REQUEST, time.monotonic())
                begun = time.monotonic()
                scheduler.submit(job)
                with self.ended:
                    done = self.ended.wait_for(partial(self._finals, job), limit + self.grace)
                if not done:
                    return [*faults, f"no final within its limits ({time.monotonic() - begun:.0f} s)"]
                expected, opened = expect(stream, opened, case.retries)
                faults += self._judge(job, stream, expected)
        finally:
            if not scheduler.close("the tool is over", limit + self.grace):
                faults.append("the scheduler does not stop")
            backend.close()
            del self.server.cases[case.number]
        return faults

    def _publish(self, job: Job, answer: Answer) -> None:
        with self.ended:
            self.told.append((job, answer))
            self.ended.notify_all()

    def _finals(self, job: Job) -> list[Answer]:
        return [answer for owner, answer in self.told if owner is job and answer.final]

    def _judge(self, job: Job, stream: Stream, expected: reference_reader.Reading) -> list[str]:
        finals = self._finals(job)
        if len(finals) != 1:
            return [f"{len(finals)} finals"]
        [final] = finals
        faults = []
        for owner, answer in self.told:
            if owner is job and not final.text.startswith(answer.text):
                faults.append(f"a partial text that is not part of the final: {answer.text!r}")
        if final.error and (ACTS.search(final.error) or final.error[-1] not in ".…"):
            faults.append(f"no sentence: {final.error!r}")
        if "failed with" in final.error:
            faults.append(final.error)
        if stream.end == "text" and not expected.stopped:
            return faults  # how much is reported depends on when it is cut
        whole = final.status is AnswerStatus.OK
        if (final.text, whole) != (expected.text, expected.whole):
            faults.append(
                f"told {final.text!r} {final.status.name} ({final.error}), expected {expected.text!r} "
                f"{'OK' if expected.whole else 'ERROR'}"
            )
        words = re.match(r"[ -;=-~]{0,20}", expected.said.strip())  # for a page, the title is reported
        if not faults and words and " ".join(words[0].split()).rstrip(".: ") not in final.error:
            faults.append(f"the server's words {expected.said!r} are not in {final.error!r}")
        return faults


def expect(stream: Stream, opened: bool | None, retries: int) -> tuple[reference_reader.Reading, bool | None]:
    """The correct results, and what is known about the server after them."""
    closed = stream.end == "close"
    body = stream.body + 2 * TAILS.get(stream.end, b"")
    reading = reference_reader.read(body, closed=closed, opened=opened)
    if retries and not reading.whole and not reading.text:
        reading = reference_reader.read(body, closed=closed, opened=reading.opened)
    return reading, reading.opened


REQUEST = ResponseRequest(
    "Tell me when the cup falls.", (TimedFrame(np.zeros((16, 16, 3), np.uint8), 1.0),), 1.0
)


def check_reference() -> list[str]:
    """Check that the reference reads the undamaged answers as their tests expect."""
    wrong = []
    for name, parts in families.ANSWERS.items():
        if body := body_of(parts):
            reading = reference_reader.read(body, closed=is_closed(parts))
            if (reading.text, reading.whole) != (families.SAID, True):
                wrong.append(f"the reference reads {name!r} as {reading}")
    for name, (parts, text, _) in families.FAULTS.items():
        reading = reference_reader.read(body_of(parts), closed=is_closed(parts))
        if (reading.text, reading.whole) != (text.strip(), False):
            wrong.append(f"the reference reads {name!r} as {reading}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=500, help="cases to run (default 500)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--workers", type=int, default=6, help="cases at a time (default 6)")
    parser.add_argument(
        "--grace", type=float, default=10.0, help="s by which an answer may exceed its limits"
    )
    parser.add_argument("--only", type=int, help="one case, with what is sent")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    maker, server = Maker(arguments.seed), Server()
    faults = check_reference()
    for fault in faults:
        print(fault)
    tally: Counter[str] = Counter()

    def run(number: int) -> None:
        case = maker.make(number)
        asker = Asker(server, case, arguments.grace)
        found = asker.ask()
        if found and case.lasts:  # repeat with more time, for a busy machine
            asker = Asker(server, case, arguments.grace, quiet=4 * SHORT)
            found = asker.ask()
        tally["cases"] += 1
        tally.update(answer.status.name.lower() for _, answer in asker.told if answer.final)
        for fault in found:
            faults.append(f"{number}: {fault}")
            print(faults[-1], flush=True)
        if arguments.only is not None:
            for stream in case.streams:
                print(stream.notes, stream.body)
            print(*(answer for _, answer in asker.told), sep="\n")

    if arguments.only is not None:
        run(arguments.only)
        return 1 if faults else 0
    with ThreadPoolExecutor(arguments.workers) as pool:
        list(pool.map(run, range(arguments.first, arguments.first + arguments.count)))
    print(json.dumps({**tally, "faults": len(faults)}))
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
