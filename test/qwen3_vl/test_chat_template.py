"""A chat template comes with the weights: it may take neither the robot's time nor its memory."""

from __future__ import annotations

import pytest

from stride_ros.errors import CheckpointError
from stride_ros.qwen3_vl.chat_template import LimitError, check_template, compile_template

MESSAGES = [{"role": "user", "content": [{"type": "text", "text": "Hello."}]}]


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% for i in range(100000) %}{% for j in range(100000) if j < 0 %}{% endfor %}{% endfor %}",
        "{% for a in 'x' * 2000 %}{% for b in 'x' * 2000 %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
        "{{ 'x' * 10000000000 }}",
        "{{ 10000000000 * 'x' }}",
        "{{ [0] * 10000000000 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ '%10000000000d' % 1 }}",
        "{{ '{:>10000000000}'.format(1) }}",
        "{{ '%10000000000d' | format(1) }}",
        "{{ 'x'.ljust(10000000000) }}",
        "{{ 'x' | center(10000000000) }}",
        "{{ 'x' | indent(10000000000, first=true) }}",
        "{{ [1] | batch(10000000000, 'x') | list }}",
        "{% set n = namespace(t='x') %}{% for i in range(60) %}{% set n.t = n.t ~ n.t %}{% endfor %}",
        "{% set n = namespace(t='x') %}{% for i in range(60) %}{% set n.t = n.t + n.t %}{% endfor %}",
        "{% for i in range(90000) %}{{ 'x' * 1000 }}{% endfor %}",
    ],
)
def test_a_template_that_does_not_end_is_stopped(template, tmp_path):
    with pytest.raises(LimitError):
        compile_template(template)(messages=MESSAGES)
    with pytest.raises(CheckpointError, match="was stopped: it"):
        check_template(template, tmp_path)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% for i in range(3) %}{{ i }}{% endfor %}", "012"),
        (
            "{% for i in range(9) if i % 2 %}{{ i }}{{ loop.last }} {% endfor %}",
            "1False 3False 5False 7True ",
        ),
        ("{% for i in [] %}x{% else %}none{% endfor %}", "none"),
        ("{% macro f(n) %}<{{ n }}>{% endmacro %}{{ f('a' ~ 1) ~ 'b' }}", "<a1>b"),
        ("{% for i in range(5) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
        ("{% generation %}{{ messages[0].role }}{% endgeneration %}", "user"),
        ("{{ 'x' * 3 + '%03d' % 7 }}{{ '{:>4}'.format(2) }}{{ 2 ** 10 }}", "xxx007   21024"),
        ("{% for m in messages recursive %}{{ m.role }}{% endfor %}", "user"),
        ("{{ messages[0].content | map(attribute='text') | join(',') | upper }}", "HELLO."),
        ("{%- for m in messages -%}\n  {{- m.role -}}\n{%- endfor -%}", "user"),
    ],
)
def test_what_templates_do_is_done_as_before(template, text):
    assert compile_template(template)(messages=MESSAGES) == text


def test_what_only_the_library_knows_is_left_to_it(tmp_path):
    check_template("{% unknown_tag %}", tmp_path)
    check_template("{{ a_function_of_the_library(1) }}", tmp_path)
