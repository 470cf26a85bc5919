"""The public names are there, and importing the package costs nothing until one that needs torch is used."""

import subprocess
import sys

import pytest

import stride_ros.activation as activation


@pytest.mark.parametrize("name", activation.__all__)
def test_a_public_name_is_importable(name):
    assert getattr(activation, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Nothing"):
        activation.Nothing  # noqa: B018


def test_settings_need_no_torch():
    code = "import sys; from stride_ros.activation import ActivationConfig; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
