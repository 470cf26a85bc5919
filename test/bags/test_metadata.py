"""metadata.yaml as it should not be: a problem is told, nothing ends the command."""

import pytest

from stride_ros.bags.metadata import read_metadata

HEAD = "rosbag2_bagfile_information:\n  "


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 200_000, "is damaged"),  # libyaml's loader overflows the stack
        ("- " * 100_000, "is damaged"),
        ("a: &a [*a]", "is damaged"),
        (HEAD + 'version: !!int ""', "is damaged"),
        (HEAD + "version: !!int zz", "is damaged"),
        (HEAD + "? [a]\n  : b", "is damaged"),
        ("", "is not the metadata of a recording"),
        ("rosbag2_bagfile_information: 5", "is not the metadata of a recording"),
        (HEAD + "{version: 2026-13-45, message_count: .inf}", ""),
    ],
)
def test_a_wrong_file_is_a_problem_and_no_end(tmp_path, text, problem):
    (tmp_path / "metadata.yaml").write_text(text)
    metadata = read_metadata(tmp_path / "metadata.yaml")
    assert metadata.problem == problem
    assert metadata.messages is None


def test_large_counts_and_policies_are_read(tmp_path):
    (tmp_path / "metadata.yaml").write_text(
        HEAD + "version: 9\n  message_count: 5\n  relative_file_paths: [a.mcap]\n"
        "  topics_with_message_count:\n    - {topic_metadata: {offered_qos_profiles: "
        "[{lifespan: {sec: 9223372036854775807, nsec: 18446744073709551615}}]}}\n"
    )
    metadata = read_metadata(tmp_path / "metadata.yaml")
    assert (metadata.files, metadata.messages, metadata.problem) == (("a.mcap",), 5, "")


def test_a_missing_file_says_why(tmp_path):
    assert read_metadata(tmp_path / "none").problem == "cannot be read (No such file or directory)"
    assert read_metadata(tmp_path).problem == "cannot be read (it is not a regular file)"
