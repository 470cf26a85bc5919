"""What the parameters of the activation node make of the settings of the stage."""

from dataclasses import fields

import pytest

from stride_ros.activation.config import ActivationConfig
from stride_ros.parameters.activation import TABLE, to_config

DEFAULTS = {spec.name: spec.default for spec in TABLE}
SETTINGS = {field.name for field in fields(ActivationConfig)} & set(DEFAULTS)


def another(name):
    """An allowed value of a parameter that is not its default."""
    spec = next(spec for spec in TABLE if spec.name == name)
    if spec.choices:
        return next(choice for choice in spec.choices if choice != spec.default)
    if isinstance(spec.default, bool):
        return not spec.default
    low, high = spec.limits
    return next(
        type(spec.default)(value) for value in (low + (high - low) / 2, high) if value != spec.default
    )


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_every_parameter_of_a_setting_reaches_it(name):
    value = another(name)
    values = DEFAULTS | {name: value}
    if name == "drop_frames":
        values["max_frames"] = value + 2
    assert getattr(to_config(values), name) == value != getattr(ActivationConfig(), name)
