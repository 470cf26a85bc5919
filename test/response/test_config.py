"""Settings of the response stage: refused by name when they are impossible."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stride_ros.errors import ConfigError
from stride_ros.response.config import BackendConfig, ResponseConfig


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("pre_seconds", -1.0, "at least 0"),
        ("pre_seconds", float("nan"), "at least 0"),
        ("max_frames", 0, "whole number of at least 1"),
        ("max_frames", 2.0, "whole number"),
        ("history", -1, "at least 0"),
        ("history", 21, "at most 20"),
        ("system_prompt", None, "use a string"),
        ("cache_seconds", 0.0, "above 0"),
        ("cache_frames", 0, "at least 1"),
        ("cache_size", True, "whole number"),
        ("respond_on", "later", "onset, offset, both"),
        ("busy_policy", "never", "queue, latest, interrupt"),
        ("max_queue", 0, "at least 1"),
        ("deadline", -1.0, "at least 0"),
        ("partial_rate", 0.0, "above 0"),
    ],
)
def test_an_impossible_setting_is_refused_by_name_with_the_remedy(name, value, remedy):
    with pytest.raises(ConfigError, match=f"^{name} is .*{remedy}"):
        ResponseConfig(**{name: value})


def test_what_is_shown_may_change_live_and_who_is_answered_may_not():
    config = ResponseConfig()
    assert config.live_changes(replace(config, history=0, max_frames=3)) == {"history": 0, "max_frames": 3}
    with pytest.raises(ConfigError, match="respond_on cannot change"):
        config.live_changes(replace(config, respond_on="both"))


def test_an_unknown_backend_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match="huggingface, openai"):
        BackendConfig("oracle")


def test_the_parameter_table_and_the_settings_have_one_set_of_defaults():
    from stride_ros.parameters.responder import TABLE, to_backend, to_config

    values = {spec.name: spec.default for spec in TABLE}
    assert to_config(values) == ResponseConfig()
    assert to_backend(values) == BackendConfig()


def test_every_backend_says_which_options_it_takes():
    from stride_ros.response.backend import BACKENDS
    from stride_ros.response.config import _OPTIONS

    assert set(_OPTIONS) == set(BACKENDS)
