"""Settings are checked when they are made, and say what to use instead."""

import dataclasses

import pytest

from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.errors import ConfigError

BAD = {
    "unmasking_steps": 0,
    "confidence_threshold": 1.5,
    "selection": "best",
    "seed": -1,
    "span_mode": "union",
    "max_gap": -0.1,
    "margin_seconds": float("nan"),
    "max_triggers": 0,
    "max_frames": 1,
    "drop_frames": 0,
    "decide_every": 1.5,
    "odd_frame": "skip",
    "position_scheme": "rope",
    "frame_max_tokens": 0,
    "cuda_graphs": 1,
    "trigger": 1.0,
}


def test_every_setting_that_can_be_wrong_is_tried():
    names = {field.name for field in dataclasses.fields(ActivationConfig)}
    assert names - set(BAD) <= {"multi_event"}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_is_refused_by_name(name):
    with pytest.raises(ConfigError, match=name):
        ActivationConfig(**{name: BAD[name]})


@pytest.mark.parametrize("values", [{"min_active_seconds": -1.0}, {"min_confidence": 2.0}])
def test_a_bad_trigger_is_refused(values):
    with pytest.raises(ConfigError, match="trigger"):
        TriggerConfig(**values)


def test_more_frames_cannot_leave_than_fit():
    assert ActivationConfig(max_frames=8, drop_frames=7).dropped_per_shift == 8
    with pytest.raises(ConfigError, match="drop_frames"):
        ActivationConfig(max_frames=7, drop_frames=7)


@pytest.mark.parametrize("frames", [2, 3, 6, 7, 16, 31, 33, 63, 64, 72, 128, 4096])
def test_the_frames_that_leave_follow_a_smaller_context(frames):
    config = ActivationConfig(max_frames=frames)
    assert 2 <= config.drop_frames == config.dropped_per_shift
    assert frames / 2 - 2 < config.drop_frames <= max(2, frames / 2)  # half of the past remains
    assert config == dataclasses.replace(ActivationConfig(), max_frames=frames)
    assert config == dataclasses.replace(ActivationConfig(max_frames=8), max_frames=frames)


def test_frames_to_drop_that_were_given_are_kept_or_refused():
    config = ActivationConfig(drop_frames=32)
    assert dataclasses.replace(config, max_frames=40).drop_frames == 32
    with pytest.raises(ConfigError, match=r"drop_frames is 32; drop at most max_frames \(16\)"):
        dataclasses.replace(config, max_frames=16)


def test_none_switches_retention_off():
    assert ActivationConfig(confidence_threshold=None).confidence_threshold is None


def test_settings_of_the_prompt_cannot_change_under_a_stream():
    config = ActivationConfig()
    assert config.live_changes(dataclasses.replace(config, unmasking_steps=4)) == {"unmasking_steps": 4}
    with pytest.raises(ConfigError, match="max_frames"):
        config.live_changes(dataclasses.replace(config, max_frames=64))
