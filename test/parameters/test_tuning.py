"""The nodes' parameters for a replay: a robot's file, single values, and what is refused."""

import json
from pathlib import Path

import pytest

from stride_ros.cli import main
from stride_ros.errors import ConfigError, SourceError
from stride_ros.parameters.tuning import read_tuning
from stride_ros.response.config import BackendConfig, ResponseConfig

CONFIG = Path(__file__).resolve().parents[2] / "config"


def test_the_shipped_parameter_file_gives_the_defaults():
    from stride_ros.activation.config import ActivationConfig

    tuning = read_tuning(CONFIG / "stride.yaml")
    assert tuning.config == ActivationConfig()
    assert tuning.given["rate"] == 1.0


def test_a_robots_file_and_single_values_are_combined(tmp_path):
    file = tmp_path / "robot.yaml"
    file.write_text(
        """
/**:
  ros__parameters:
    use_sim_time: true
/front/activation:
  ros__parameters:
    span_mode: runs
    trigger: {min_confidence: 0.7, min_active_seconds: 2}
    qos_overrides./cam.subscription.depth: 3
/front/responder:
  ros__parameters: {max_frames: 7}
"""
    )
    config = read_tuning(file, ["max_gap=2", "retention=false"]).config
    assert config.span_mode == "runs"
    assert config.trigger.min_confidence == 0.7
    assert config.trigger.min_active_seconds == 2.0
    assert config.max_gap == 2.0
    assert config.confidence_threshold is None
    assert config.max_frames == 128  # the responder's parameter of that name is not ours


def test_a_smaller_context_is_enough_to_set(tmp_path):
    from stride_ros.activation.config import ActivationConfig

    shipped = (CONFIG / "stride.yaml").read_text()
    (file := tmp_path / "robot.yaml").write_text(shipped.replace("max_frames: 128", "max_frames: 16"))
    expected = ActivationConfig(max_frames=16)
    assert read_tuning(file).config == read_tuning(None, ["max_frames=16"]).config == expected
    with pytest.raises(ConfigError, match=r"drop_frames is 20; drop at most max_frames \(16\)"):
        _ = read_tuning(file, ["drop_frames=20"]).config


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("stride: {activation: {ros__parameters: {max_gap: 2.0}}}", None),
        ("/stride/*: {ros__parameters: {max_gap: 2.0}}", None),
        ("/*: {ros__parameters: {max_gap: 2.0}}", None),
        ("/**: {ros__parameters: {max_gap: 2.0}}", None),
        ("/**/activation: {ros__parameters: {max_gap: 2.0}}", None),
        ("/front/*: {ros__parameters: {max_gap: 2.0}}", None),
        ("/front/**: {ros__parameters: {max_gap: 2.0}}", None),
        ("front: {'*': {ros__parameters: {max_gap: 2.0}}}", None),
        ("a: {b: {activation: {ros__parameters: {max_gap: 2.0}}}}", None),
        ("/front/watcher: {ros__parameters: {max_gap: 2.0}}", "front/watcher"),
        (
            "{/a/activation: {ros__parameters: {max_gap: 2.0}}, /b/activation: {ros__parameters: {}}}",
            "/a/activation",
        ),
        (
            "{/a/activation: {ros__parameters: {}}, '/b/*': {ros__parameters: {max_gap: 9.0}}, "
            "/**: {ros__parameters: {max_gap: 2.0}}}",
            None,
        ),
    ],
)
def test_names_of_nodes_are_read_as_ros_reads_them(tmp_path, text, node):
    (tmp_path / "x.yaml").write_text(text)
    assert read_tuning(tmp_path / "x.yaml", node=node).given == {"max_gap": 2.0}


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("stride: {activation: {ros__parameters: {}}, responder: {ros__parameters: {history: 7}}}", None),
        ("/stride/*: {ros__parameters: {history: 7}}", None),
        ("/*: {ros__parameters: {history: 7}}", "/activation"),
        ("/**: {ros__parameters: {history: 7}}", None),
        ("{/a/activation: {ros__parameters: {}}, /**/responder: {ros__parameters: {history: 7}}}", None),
        (
            "{a: {b: {activation: {ros__parameters: {}}}},"
            " '/a/*/responder': {ros__parameters: {history: 7}}}",
            None,
        ),
        (
            "{/a/activation: {ros__parameters: {}}, /a/responder: {ros__parameters: {history: 5}},"
            " /b/activation: {ros__parameters: {}}, /b/responder: {ros__parameters: {history: 7}}}",
            "/b/activation",
        ),
        (
            "{/a/activation: {ros__parameters: {}}, /b/responder: {ros__parameters: {history: 5}},"
            " /**: {ros__parameters: {history: 7}}}",
            None,
        ),
        ("{/a/responder: {ros__parameters: {history: 7}}, /**: {ros__parameters: {rate: 2.0}}}", None),
        (
            "{/a/responder: {ros__parameters: {history: 3}}, a: {responder: {ros__parameters: {history: 7}}},"
            " /a/activation: {ros__parameters: {}}}",
            None,
        ),
    ],
)
def test_the_responder_is_the_one_beside_the_activation_node(tmp_path, text, node):
    (tmp_path / "x.yaml").write_text(text)
    tuning = read_tuning(tmp_path / "x.yaml", node=node)
    assert tuning.responder == {"history": 7}
    assert tuning.response == ResponseConfig(history=7)


def test_without_a_section_of_its_own_the_responder_has_its_defaults(tmp_path):
    (tmp_path / "x.yaml").write_text(
        "{/a/activation: {ros__parameters: {}}, /b/responder: {ros__parameters: {history: 5}}}"
    )
    tuning = read_tuning(tmp_path / "x.yaml")
    assert (tuning.response, tuning.backend) == (ResponseConfig(), BackendConfig())


def test_the_responders_parameters_are_set_one_by_one_too(tmp_path):
    (tmp_path / "x.yaml").write_text("/**: {ros__parameters: {max_frames: 12, backend: openai}}")
    tuning = read_tuning(tmp_path / "x.yaml", ["responder.max_frames=3", "responder.model=tiny"])
    assert tuning.response.max_frames == 3
    assert tuning.config.max_frames == 12
    assert (tuning.backend.kind, tuning.backend.model) == ("openai", "tiny")


def test_sections_of_one_node_add_up_and_the_last_wins(tmp_path):
    (tmp_path / "x.yaml").write_text(
        """
/stride/activation:
  ros__parameters: {rate: 2.0, max_gap: 1.5, trigger: {min_confidence: 0.6}}
/**:
  ros__parameters: {rate: 3.0}
stride:
  activation:
    ros__parameters: {max_gap: 2.5, rate: 4.0, trigger.min_active_seconds: 2.0}
/stride/activation:
  ros__parameters: {margin_seconds: 3.0}
"""
    )
    given = read_tuning(tmp_path / "x.yaml").given
    assert given == {
        "rate": 3.0,  # those of one node stand where the first of them does
        "max_gap": 2.5,
        "margin_seconds": 3.0,
        "trigger.min_confidence": 0.6,
        "trigger.min_active_seconds": 2.0,
    }


def test_which_of_several_nodes_is_meant_must_be_said(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("front: {activation: {ros__parameters: {}}}\nrear: {activation: {ros__parameters: {}}}")
    with pytest.raises(ConfigError, match="/front/activation, /rear/activation; say with --node"):
        read_tuning(file)
    with pytest.raises(ConfigError, match="no parameters for /side/activation"):
        read_tuning(file, node="/side/activation")
    file.write_text("/front/responder: {ros__parameters: {}}")
    with pytest.raises(ConfigError, match="no parameters for a node activation; it has /front/responder"):
        read_tuning(file)


def test_lists_are_read_as_the_node_reads_them(tmp_path):
    assert read_tuning(CONFIG / "stride.yaml").given["queries"] == ()
    assert read_tuning(None, ["queries=[One., Two.]"]).given["queries"] == ("One.", "Two.")


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("speed=1", "names no parameter"),
        ("span_mode", "names no parameter"),
        ("span_mode=whole", "hull, runs"),
        ("max_gap=-1", "0.0 to 60.0"),
        ("unmasking_steps=2.5", "'unmasking_steps' is an integer, which 2.5 is not"),
        ("query=yes", "'query' is a string, which true is not"),
        ("query=", "'query' is a string, which null is not"),
        ("max_gap=[", "no plain value"),
        ("responder.max_gap=1", "names no parameter"),
        ("responder.respond_on=later", "onset, offset, both"),
        ("responder.history=2.5", "integer"),
    ],
)
def test_wrong_values_are_refused(assignment, said):
    with pytest.raises(ConfigError, match=said):
        read_tuning(None, [assignment])


def test_parameters_in_a_file_that_look_misspelt_are_named_with_the_file(tmp_path):
    file = tmp_path / "robot.yaml"
    file.write_text("/**: {ros__parameters: {max_frame: 64, max_new_token: 9, max_vel_x: 1.0}}")
    tuning = read_tuning(file)
    assert (tuning.given, tuning.responder) == ({}, {})
    assert tuning.notes == (
        f"{file}: There is no parameter max_frame, so it has no effect; perhaps max_frames is meant.",
        f"{file}: There is no parameter max_new_token, so it has no effect; perhaps max_new_tokens is meant.",
    )


@pytest.mark.parametrize("content", ["- 1", "a: b", "activation: {ros__parameters: 5}"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "x.yaml").write_text(content)
    with pytest.raises(ConfigError, match="not a ROS parameter file"):
        read_tuning(tmp_path / "x.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"none\.yaml"):
        read_tuning(tmp_path / "none.yaml")


def test_the_command_uses_and_records_them(world_bag, checkpoint, tmp_path):
    parameters = {"query": "Tell me when a hand is in view.", "model": str(checkpoint)}
    (tmp_path / "robot.yaml").write_text(json.dumps({"activation": {"ros__parameters": parameters}}))
    code = main(
        [
            *("replay", str(world_bag), "--params-file", str(tmp_path / "robot.yaml")),
            *(
                "--set",
                "trigger.min_confidence=1.0",
                "--duration",
                "10",
                "--json",
                str(tmp_path / "run.json"),
            ),
        ]
    )
    assert code == 0
    document = json.loads((tmp_path / "run.json").read_text())
    assert document["queries"][0]["query"] == "Tell me when a hand is in view."
    assert document["queries"][0]["spans"] == []
    assert document["settings"]["trigger"]["min_confidence"] == 1.0
