"""Which recordings paths name."""

from pathlib import Path

import pytest

from stride_ros.errors import SourceError
from stride_ros.mining.finding import find_recordings


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder with recordings of all kinds, as files without content; the current directory."""
    for name in (
        "drives/one/metadata.yaml",
        "drives/one/one_0.mcap",
        "drives/one/one_1.mcap",
        "drives/two/two_0.db3",
        "drives/two/two_1.db3",
        "drives/many/drive_2.mcap",
        "drives/many/drive_10.mcap",
        "drives/many/old.bag",
        "drives/many/notes.txt",
        "drives/many/clip.MP4",
        "drives/.hidden/x.mcap",
        "drives/packed/a.mcap.zstd",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*paths):
    return [str(recording.path) for recording in find_recordings(paths, Path("out"))]


def test_a_folder_is_searched_and_a_recording_of_several_files_is_one(tree):
    assert found("drives") == [
        "drives/many/clip.MP4",
        "drives/many/drive_2.mcap",
        "drives/many/drive_10.mcap",
        "drives/many/old.bag",
        "drives/one",
        "drives/packed/a.mcap.zstd",
        "drives/two",
    ]


def test_a_recording_is_found_once_however_it_is_named(tree):
    assert found("drives/one", tree / "drives" / "one", "drives/o*", "drives/one/../one") == ["drives/one"]


def test_links_are_followed_once(tree):
    (tree / "drives" / "two" / "loop").symlink_to(tree / "drives")
    (tree / "linked").mkdir()
    (tree / "linked" / "drives").symlink_to(tree / "drives")
    assert "linked/drives/one" in found("linked")
    assert len(found("linked")) == 7


def test_patterns_are_what_they_match(tree):
    assert found("drives/many/*.mcap") == ["drives/many/drive_2.mcap", "drives/many/drive_10.mcap"]
    assert found("drives/**/*.db3") == ["drives/two/two_0.db3", "drives/two/two_1.db3"]


def test_a_list_names_paths_from_here_or_from_beside_it(tree):
    (tree / "drives" / "list.txt").write_text(
        "# two\ndrives/one\n\nmany/old.bag\n  drives/two  \nmany/gone.mcap\n"
    )
    assert found("drives/list.txt")[:3] == ["drives/one", "drives/many/old.bag", "drives/two"]
    last = find_recordings(["drives/list.txt"], Path("out"))[-1]
    assert last.problem == "There is no recording many/gone.mcap; correct the list drives/list.txt."


def test_a_folder_that_cannot_be_read_is_a_problem_where_it_was_not_named(tree, monkeypatch):
    shut = tree / "drives" / "shut"
    shut.mkdir()
    walk = Path.iterdir

    def iterdir(path):
        if path.name == "shut":
            raise PermissionError(13, "Permission denied")
        return walk(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    problems = [
        recording.problem for recording in find_recordings(["drives"], Path("out")) if recording.problem
    ]
    assert problems == ["drives/shut cannot be read (Permission denied); change its permissions."]


@pytest.mark.parametrize("out", ["drives", "drives/many/out", "linked"])
def test_results_are_not_written_where_recordings_are_looked_for(tree, out):
    (tree / "linked").symlink_to(tree / "drives" / "many")
    with pytest.raises(SourceError, match="choose a folder outside it"):
        find_recordings(["drives"], Path(out))


def test_metadata_of_nothing_does_not_hide_what_is_below(tree):
    (tree / "drives" / "metadata.yaml").write_text("")
    assert len(found("drives")) == 7
    (tree / "drives" / "one" / "inner").mkdir()
    (tree / "drives" / "one" / "inner" / "x.mcap").write_text("")
    assert "drives/one/inner/x.mcap" in found("drives")


def test_a_list_may_begin_with_a_byte_order_mark_and_its_folders_are_checked(tree):
    (tree / "empty").mkdir()
    (tree / "list.txt").write_text("\ufeffdrives/one\nempty\n")
    first, second = find_recordings(["list.txt"], Path("out"))
    assert (str(first.path), first.problem) == ("drives/one", "")
    assert second.problem == "The folder empty contains no recordings; correct the list list.txt."
    with pytest.raises(SourceError, match="choose a folder outside it"):
        find_recordings(["list.txt"], Path("drives/one/out"))
