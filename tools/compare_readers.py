"""Read recordings and videos with other readers and ours, and count the images that each reads.

    python tools/compare_readers.py FOLDER [FOLDER ...] --markdown table.md --json table.json

Every recording and video in the folders is read by `rosbags`, `mcap`, PyAV (which is FFmpeg) and stride_ros,
each in a separate process. The others' counts are messages on image topics, or decoded pictures of a video;
ours are pictures, with the number refused or skipped with a note. Exit code 1 means that another reader has
more images of a file than ours read, refused and skipped together.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from stride_ros.bags.files import is_recording, storage_files  # noqa: E402
from stride_ros.bags.storage import ros_type  # noqa: E402
from stride_ros.bags.types import IMAGE_TYPES  # noqa: E402
from stride_ros.errors import StrideError  # noqa: E402

TIME_LIMIT = 120.0  # s per file and reader
VIDEOS = (
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".avi",
    ".flv",
    ".wmv",
    ".ogv",
    ".mpg",
    ".ts",
    ".3gp",
    ".gif",
)


def with_rosbags(path: Path) -> dict[str, Any]:
    """Messages on image topics that `rosbags` reads and deserialises by the definitions in the file."""
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    ros1 = path.suffix == ".bag"
    types = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_JAZZY)
    folder = path.parent if path.name == "metadata.yaml" else path
    count = 0
    with AnyReader([folder], default_typestore=types) as reader:
        images = [c for c in reader.connections if ros_type(c.msgtype) in IMAGE_TYPES]
        for connection, _, data in reader.messages(connections=images) if images else ():
            reader.deserialize(data, connection.msgtype)
            count += 1
    return {"images": count}


def with_mcap(path: Path) -> dict[str, Any]:
    """Messages on image topics that `mcap` reads, without deserialising them."""
    from mcap.reader import make_reader

    files = [file for file in storage_files(path) if file.name.endswith(".mcap")] if path.is_dir() else [path]
    if not files or any(file.suffix != ".mcap" for file in files):
        return {"other": True}
    count = 0
    for file in files:
        with file.open("rb") as stream:
            for schema, _, _ in make_reader(stream).iter_messages():
                count += schema is not None and ros_type(schema.name) in IMAGE_TYPES
    return {"images": count}


def with_pyav(path: Path) -> dict[str, Any]:
    """Pictures of a video that PyAV decodes, up to the first error."""
    import av

    count, problem = 0, ""
    with av.open(str(path)) as container:
        try:
            for _ in container.decode(video=0):
                count += 1
        except (av.error.FFmpegError, IndexError) as error:
            problem = str(error)
    if problem and not count:
        raise ValueError(problem)
    return {"images": count, "notes": [problem] if problem else []}


def with_us(path: Path) -> dict[str, Any]:
    """Pictures that stride_ros reads, and those that it leaves out with a note."""
    if path.suffix.lower() in VIDEOS:
        from stride_ros.sources.pictures import ReadingLog
        from stride_ros.sources.video_file import VideoReader

        log = ReadingLog(path.name)
        reader = VideoReader(str(path))
        count = sum(picture.rgb().ndim == 3 for picture in reader.pictures(log))
        return {"images": count, "told": log.broken + log.late, "notes": [*reader.notes, *log.notes()]}
    from stride_ros.activation.intake import Intake
    from stride_ros.bags.reader import BagReader
    from stride_ros.errors import FrameError, SourceError

    try:
        with BagReader(path) as bag:
            topics = [bag.image.topic]
    except SourceError as error:
        if "image topics (" not in str(error):
            raise
        topics = str(error).partition("image topics (")[2].partition(")")[0].split(", ")
    count = told = 0
    notes: list[str] = []
    for topic in topics:
        with BagReader(path, topic) as bag:
            intake = Intake(1e9)
            for message, _ in bag.images(intake):
                try:
                    bag.decode(message)
                    count += 1
                except FrameError as error:
                    intake.notes.reject(error)
            told += sum(intake.notes.count(kind) for kind in ("unusable", "late", "timeless", "foreign"))
            notes += [*bag.notes, *intake.notes.sentences()]
    return {"images": count, "told": told, "notes": list(dict.fromkeys(notes))}


READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "rosbags": with_rosbags,
    "mcap": with_mcap,
    "PyAV": with_pyav,
    "stride_ros": with_us,
}


def work(name: str, path: Path) -> None:
    """Read a file in this process, and print the result."""
    try:
        found = READERS[name](path)
    except StrideError as error:
        found = {"error": str(error)}
    except BaseException as error:
        lines = str(error).strip().splitlines()
        found = {"error": f"{type(error).__name__}: {lines[0] if lines else ''}"[:300], "raised": True}
    print("\n" + json.dumps(found), flush=True)


def read(name: str, path: Path) -> dict[str, Any]:
    """Read a file in a separate process."""
    is_video = path.suffix.lower() in VIDEOS
    if (name == "PyAV" and not is_video) or (name in ("rosbags", "mcap") and is_video):
        return {"other": True}
    command = [sys.executable, __file__, "--worker", name, str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, env=environment)
    except subprocess.TimeoutExpired:
        return {"error": f"not finished after {TIME_LIMIT:.0f} s"}
    try:
        found: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
    except ValueError:
        return {"error": f"its process ended with {done.returncode}"}
    return found


def recordings(folder: Path) -> list[Path]:
    """The recordings and videos below a folder; a folder that is a recording counts once."""
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            files = storage_files(path)
            splits = len(files) == len(list(path.iterdir())) and len({_base(file) for file in files}) == 1
            found += [path] if splits or (path / "metadata.yaml").is_file() else recordings(path)
        elif path.suffix.lower() in VIDEOS or (path.name != "metadata.yaml" and is_recording(path)):
            found.append(path)
    return found


def _base(file: Path) -> str:
    """The name of a storage file without the number of its split."""
    return re.sub(r"_\d+(?=\.)", "", file.name)


def cell(found: dict[str, Any]) -> str:
    """The result of a reader for a file, in short."""
    if "other" in found:
        return ""
    if "error" in found:
        return "no"
    return f"{found['images']}" + (f" ({found['told']} reported)" if found.get("told") else "")


def is_less(row: dict[str, Any]) -> bool:
    """Whether another reader has images of a file that ours neither reads nor notes."""
    ours = row["stride_ros"]
    most = max(row[name].get("images", 0) for name in READERS if name != "stride_ros")
    return bool(most > ours.get("images", 0) + ours.get("told", 0))


def table(rows: list[dict[str, Any]]) -> str:
    """All rows as Markdown; files in a folder with the same result share a line."""
    lines: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        folder, _, name = row["file"].rpartition("/")
        lines.setdefault((folder, *(cell(row[reader]) for reader in READERS)), []).append(name)
    head = ["| folder | files | " + " | ".join(READERS) + " |", "|---|---|" + "---:|" * len(READERS)]
    body = [
        f"| {key[0]} | {', '.join(names)} | " + " | ".join(key[1:]) + " |"
        for key, names in sorted(lines.items(), key=lambda item: item[0][0])
    ]
    return "\n".join([*head, *body]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results here")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        work(arguments.worker[0], Path(arguments.worker[1]))
        return 0
    if not arguments.folders:
        parser.error("give a folder with recordings or videos")
    rows: list[dict[str, Any]] = []
    for folder in arguments.folders:
        for path in recordings(folder):
            rows.append(
                {"file": str(path.relative_to(folder)), **{name: read(name, path) for name in READERS}}
            )
            print(" | ".join([rows[-1]["file"], *(f"{n}: {cell(rows[-1][n])}" for n in READERS)]), flush=True)
            reason = rows[-1]["stride_ros"].get("error")
            if reason:
                print(f"    {reason}", flush=True)
    if arguments.markdown is not None:
        arguments.markdown.write_text(table(rows), encoding="utf-8")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for name in READERS:
        tried = [row[name] for row in rows if "other" not in row[name]]
        images = [found.get("images", 0) for found in tried]
        print(f"{name}: images of {sum(n > 0 for n in images)} of {len(tried)} files, {sum(images)} in all")
    less = [row["file"] for row in rows if is_less(row)]
    if less:
        print(f"Others read more of: {', '.join(less)}")
    return 1 if less else 0


if __name__ == "__main__":
    raise SystemExit(main())
