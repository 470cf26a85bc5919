"""Parameters that do not exist: those that look misspelt are named, those of others are left alone."""

import pytest

from stride_ros.parameters import activation, camera, event_log, responder
from stride_ros.parameters.misspelt import misspelt

OWN = [spec.name for spec in activation.TABLE]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("querys", "query"),
        ("frame_max_token", "frame_max_tokens"),
        ("trigger.min_active_second", "trigger.min_active_seconds"),
        ("trigger_min_confidence", "trigger.min_confidence"),
        ("min_confidence", "trigger.min_confidence"),
        ("trigger", "trigger.min_active_seconds"),
    ],
)
def test_the_parameter_that_is_meant_is_named(given, meant):
    assert misspelt([given, "rate"], OWN) == [
        f"There is no parameter {given}, so it has no effect; perhaps {meant} is meant."
    ]


@pytest.mark.parametrize("table", [activation, responder, camera, event_log])
def test_one_section_may_serve_all_nodes_of_this_package(table):
    every = [spec.name for t in (activation, responder, camera, event_log) for spec in t.TABLE]
    assert misspelt(every, [spec.name for spec in table.TABLE]) == []


@pytest.mark.parametrize(
    "name",
    [
        *("use_sim_time", "timeout", "frame_id", "odom_frame", "frame_rate", "image_topic", "queue_size"),
        *("robot_base_frame", "controller_frequency", "transform_tolerance", "max_vel_x", "bond_timeout"),
    ],
)
def test_parameters_of_other_packages_are_left_alone(name):
    for table in (activation, responder, camera, event_log):
        assert misspelt([name], [spec.name for spec in table.TABLE]) == []
