"""Damage small files at random and read them: every reader must use them or fail with one sentence.

    python tools/mutate_files.py --count 100000 --seed 1 --workers 2

The files of `damaged_files.py` are cut, flipped, spliced and lengthened. A fault is an error other than a
sentence of this package, a process that ends, more than `CPU_LIMIT` s of processor time, or more than
`MEMORY_LIMIT` bytes beyond what the libraries use. A fault is printed with the number of its case; `--only
NUMBER` reads only that case, with the traceback. Exit code 1 means that there was a fault.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import shutil
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from damaged_files import bases, prepare  # noqa: E402

from stride_ros.errors import StrideError  # noqa: E402

CPU_LIMIT, WALL_LIMIT = 5.0, 60.0  # s per case; the machine may be busy
MEMORY_LIMIT = 2**30  # bytes per case
LONGEST_SENTENCE = 2000  # characters


def work(begin: int, stop: int, seed: int, show: bool) -> None:
    """Read cases in this process; print each result as a line on stdout, after a line with its number."""
    import faulthandler

    import cv2
    import numpy
    import transformers.models.auto.tokenization_auto  # its memory must not count as a case's

    logging.disable(logging.CRITICAL)
    cv2.setNumThreads(1)
    assert numpy.ndarray
    assert transformers.models
    chosen = bases()
    for base in dict.fromkeys(base.name for base in chosen):
        one = next(item for item in chosen if item.name == base)
        with TemporaryDirectory(prefix="mutated-") as name:
            for file, data in one.files.items():
                Path(name, file).parent.mkdir(parents=True, exist_ok=True)
                Path(name, file).write_bytes(data)
            try:
                one.read(Path(name) / one.entry)
            except StrideError as error:
                if base not in ("checkpoint tokenizer", "user annotations"):
                    print(json.dumps({"broken": base, "said": str(error)}), flush=True)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_LIMIT, resource.RLIM_INFINITY))
    for number in range(begin, stop):
        print(number, flush=True)
        with TemporaryDirectory(prefix="mutated-") as name:
            base_of, path = prepare(number, seed, chosen, Path(name))
            fault, outcome = "", "read"
            faulthandler.dump_traceback_later(WALL_LIMIT, exit=True)
            begun = time.process_time()
            try:
                base_of.read(path)
            except StrideError as error:
                outcome = "sentence"
                text = str(error)
                if "\n" in text or len(text) > LONGEST_SENTENCE:
                    fault = f"no single sentence: {text[:300]!r}"
            except BaseException as error:
                lines = traceback.extract_tb(error.__traceback__)
                place = next((at for at in reversed(lines) if "stride_ros/" in at.filename), lines[-1])
                fault = (
                    f"{type(error).__name__}: {str(error)[:150]} ({Path(place.filename).name}:{place.lineno})"
                )
                if show:
                    traceback.print_exc()
            spent = time.process_time() - begun
            faulthandler.cancel_dump_traceback_later()
            if not fault and spent > CPU_LIMIT:
                fault = f"{spent:.1f} s"
        result = {"case": number, "base": base_of.name, "outcome": outcome, "seconds": round(spent, 3)}
        print(json.dumps({**result, "fault": fault}), flush=True)


def watch(
    begin: int, stop: int, arguments: argparse.Namespace, tally: Counter[str], faults: list[str]
) -> None:
    """Read cases in separate processes, starting a new one after each that ends by itself."""
    until = arguments.until
    while begin < stop and (not until or time.monotonic() < until):
        command = [sys.executable, __file__, "--worker", str(begin), str(stop), "--seed", str(arguments.seed)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(arguments.folder)}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            current, finished, over = -1, True, False
            for line in process.stdout:
                if line.strip().isdigit():
                    current, finished = int(line), False
                    continue
                try:
                    found = json.loads(line)
                except ValueError:
                    continue  # output of a library
                if "broken" in found:
                    faults.append(f"the undamaged {found['broken']}: {found['said']}")
                    continue
                finished = True
                tally["cases"] += 1
                tally[found["outcome"]] += 1
                tally[f"of {found['base'].split()[0]}"] += 1
                tally["longest ms"] = max(tally["longest ms"], round(1000 * found["seconds"]))
                if found["fault"]:
                    faults.append(f"{found['case']} ({found['base']}): {found['fault']}")
                    print(faults[-1], flush=True)
                if until and time.monotonic() > until:
                    over = True
                    process.kill()
                    break
            reason = process.stderr.read()[-600:]
        if over:
            return
        if not finished or current < 0:
            if current < 0:
                faults.append(f"the worker did not start: {reason}")
                print(faults[-1], flush=True)
                return
            tally["cases"] += 1
            faults.append(f"{current}: its process ended with {process.returncode}: {reason}")
            print(faults[-1], flush=True)
        begin = current + 1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="cases to read (default 200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument(
        "--minutes", type=float, default=0.0, help="seconds after which to stop (default: never)"
    )
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", type=int, help="only one case, in this process")
    parser.add_argument("--worker", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only is not None:
        work(arguments.only, arguments.only + 1, arguments.seed, show=True)
        return 0
    if arguments.worker is not None:
        work(*arguments.worker, arguments.seed, show=False)
        return 0
    from threading import Thread

    arguments.until = time.monotonic() + 60 * arguments.minutes if arguments.minutes else 0.0
    with TemporaryDirectory(prefix="mutations-") as name:
        arguments.folder = Path(name)
        tallies: list[Counter[str]] = [Counter() for _ in range(arguments.workers)]
        faults: list[str] = []
        edges = [
            arguments.first + arguments.count * i // arguments.workers for i in range(arguments.workers + 1)
        ]
        threads = [
            Thread(target=watch, args=(edges[i], edges[i + 1], arguments, tallies[i], faults))
            for i in range(arguments.workers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        shutil.rmtree(name, ignore_errors=True)
        Path(name).mkdir(exist_ok=True)
    total: Counter[str] = sum(tallies, Counter())
    total["longest ms"] = max(tally["longest ms"] for tally in tallies)
    print(json.dumps({**total, "faults": len(faults)}))
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
