"""Databases as they are on disk: logs of killed recorders, odd paths, locks, damage; nothing is written."""

import contextlib
import os
import shutil
import sqlite3

import pytest

from stride_ros.bags.files import is_recording
from stride_ros.bags.reader import BagReader
from stride_ros.cli import main
from stride_ros.errors import SourceError

ODD = [
    "run#2",
    "why?",
    "100%25",
    "a%20b",
    "two words",
    "Prüfstand 测试",
    "a&b=c;d",
    "it's",
    "back\\slash",
    "?mode=rwc",
]


def listing(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("old", [False, True])
def test_databases_of_old_and_new_recorders_are_read(forge, tmp_path, old):
    path = forge.database(tmp_path / "x.db3", [forge.Topic(messages=forge.images())], old=old)
    assert forge.read(path) == (forge.ALL, [])


def killed(forge, folder, journal, ends):
    """A recorder's files at the moment of its death: two images in the database, ten more under way."""
    folder.mkdir()
    messages = forge.images(12 if journal == "wal" else 300)
    live = forge.database(folder.parent / "live.db3", [forge.Topic(messages=messages[:2])], keep_open=True)
    live.execute(f"pragma journal_mode = {journal}")
    live.execute("pragma wal_autocheckpoint = 0")
    live.execute("pragma cache_size = 1")  # pages of an open transaction reach the disk
    forge.insert(live, [forge.Topic(messages=messages[2:])])
    if journal == "wal":
        live.commit()
    for end in ends:
        shutil.copy(folder.parent / f"live.db3{end}", folder / f"x.db3{end}")
    live.close()
    return folder


@pytest.mark.parametrize("ends", [("", "-wal", "-shm"), ("", "-wal")])
@pytest.mark.parametrize("writable", [True, False])
def test_a_write_ahead_log_is_read_and_nothing_is_written(forge, tmp_path, ends, writable):
    folder = killed(forge, tmp_path / "bag", "wal", ends)
    before = listing(folder)
    if not writable:
        for file in folder.iterdir():
            file.chmod(0o444)
        folder.chmod(0o555)
    try:
        numbers, notes = forge.read(folder)
    finally:
        folder.chmod(0o755)
    assert numbers == forge.ALL
    assert any("x.db3-wal" in note for note in notes)
    assert listing(folder) == before


@pytest.mark.slow
def test_a_journal_of_a_killed_recorder_is_rolled_back(forge, tmp_path):
    folder = killed(forge, tmp_path / "bag", "delete", ("", "-journal"))
    before = listing(folder)
    numbers, notes = forge.read(folder)
    assert numbers == [0, 1]
    assert any("x.db3-journal" in note for note in notes)
    assert listing(folder) == before


@pytest.mark.parametrize("name", ODD)
def test_any_path_is_read(forge, tmp_path, name):
    (tmp_path / name).mkdir()
    path = forge.database(tmp_path / "x.db3", [forge.Topic(messages=forge.images())])
    path = path.rename(tmp_path / name / f"{name}.db3")
    assert forge.read(path) == (forge.ALL, [])
    assert forge.read(tmp_path / name)[0] == forge.ALL


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_any_path_is_written(forge, tmp_path, name, storage):
    source = forge.database(tmp_path / "x.db3", [forge.Topic(messages=forge.images())])
    target = tmp_path / "robots" / name
    assert main(["bag", str(source), str(target), "--raw", "--storage", storage]) == 0
    assert forge.read(target) == (forge.ALL, [])
    assert [path.name for path in (tmp_path / "robots").iterdir()] == [name]


def test_a_database_that_is_being_written_is_read(forge, tmp_path):
    live = forge.database(tmp_path / "x.db3", [forge.Topic(messages=forge.images())], keep_open=True)
    live.execute("begin exclusive")
    try:
        assert forge.read(tmp_path / "x.db3") == (forge.ALL, [])
    finally:
        live.close()


@pytest.mark.slow
def test_damage_in_the_middle_costs_little(forge, tmp_path):
    count = 200
    path = forge.database(tmp_path / "x.db3", [forge.Topic(messages=forge.images(count))])
    data = bytearray(path.read_bytes())
    page = len(data) // 2 // 4096 * 4096
    data[page : page + 4096] = os.urandom(1) * 4096
    path.write_bytes(data)
    numbers, notes = forge.read(path)
    assert count - 40 < len(numbers) < count
    assert numbers[-1] == count - 1
    assert any("damage" in note for note in notes)


@pytest.mark.parametrize("damage", ["no tables", "header only", "no messages table"])
def test_a_database_of_something_else_is_refused(tmp_path, damage):
    connection = sqlite3.connect(tmp_path / "x.db3")
    connection.execute(
        "create table topics(id integer)" if damage == "no messages table" else "create table a(b)"
    )
    connection.commit()
    connection.close()
    if damage == "header only":
        (tmp_path / "x.db3").write_bytes((tmp_path / "x.db3").read_bytes()[:100])
    with pytest.raises(SourceError, match=r"x\.db3 cannot be read"):
        BagReader(tmp_path / "x.db3")


def test_recordings_are_known_by_their_names(forge, tmp_path):
    for name in ("a.mcap", "b.db3", "c.bag", "d.bag.active", "e.mcap.zstd", "f.db3.lz4", "metadata.yaml"):
        (tmp_path / name).write_bytes(b"x")
        assert is_recording(tmp_path / name)
    (tmp_path / "video.mp4").write_bytes(b"x")
    assert not is_recording(tmp_path / "video.mp4")


@pytest.mark.parametrize("number", ["null", "'a'", "7", "id"])
def test_ids_that_are_not_what_sqlite_counts_rows_by(forge, tmp_path, number):
    """As another program makes such a database, or damage leaves it."""
    path = forge.database(tmp_path / "x.db3", [forge.Topic(messages=forge.images())])
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("alter table messages rename to old")
        database.execute("create table messages(id, topic_id, timestamp, data)")
        database.execute(f"insert into messages select {number}, topic_id, timestamp, data from old")
        database.execute("drop table old")
        database.commit()
    assert forge.read(path)[0] == forge.ALL


@pytest.mark.parametrize("kind", ["view", "without rowid"])
def test_a_database_that_has_no_row_numbers(forge, tmp_path, kind):
    path = forge.database(tmp_path / "x.db3", [forge.Topic(messages=forge.images())])
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("alter table messages rename to old")
        if kind == "view":
            database.execute("create view messages as select * from old")
        else:
            columns = "id integer primary key, topic_id, timestamp, data"
            database.execute(f"create table messages({columns}) without rowid")
            database.execute("insert into messages select * from old")
        database.commit()
    assert forge.read(path)[0] == forge.ALL


def test_topics_without_names_or_numbers_leave_the_images_readable(forge, tmp_path):
    path = forge.database(tmp_path / "x.db3", [forge.Topic(messages=forge.images())])
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("alter table topics rename to old")
        database.execute("create table topics(id, name, type, serialization_format)")
        database.execute("insert into topics select id, name, type, serialization_format from old")
        database.execute(
            "insert into topics values (null, null, null, null), (7, x'ff', 3, 4.5), ('x', 1, 2, 3)"
        )
        database.commit()
    assert forge.read(path)[0] == forge.ALL


def changed(forge, path, command):
    connection = sqlite3.connect(forge.database(path, [forge.Topic(messages=forge.images())]))
    connection.execute(command)
    connection.commit()
    connection.close()
    return path


def test_messages_of_no_topic_and_without_a_time_are_told(forge, tmp_path):
    path = changed(forge, tmp_path / "a.db3", "update messages set topic_id = 99 where id > 6")
    assert forge.read(path) == ([0, 1, 2, 3, 4, 5], ["a.db3: 6 messages of no known topic left out."])
    path = changed(forge, tmp_path / "b.db3", "update messages set timestamp = null where id = 1")
    assert forge.read(path) == (forge.ALL[1:], ["b.db3: 1 message without a log time left out."])


@pytest.mark.parametrize("encoding", ["", "CDR", " cdr "])
def test_a_database_that_does_not_say_its_encoding_has_cdr(forge, tmp_path, encoding):
    path = changed(forge, tmp_path / "a.db3", f"update topics set serialization_format = '{encoding}'")
    assert forge.read(path) == (forge.ALL, [])
