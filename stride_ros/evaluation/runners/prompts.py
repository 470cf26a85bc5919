"""The prompts for the responder, in the wording of the benchmark's own code or in our own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import Any

from stride_ros.errors import ConfigError
from stride_ros.evaluation.runners.official import Pattern, SourceFile
from stride_ros.text.wording import counted

OWN, OFFICIAL = "ours", "official"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass
class Wording:
    """The templates of a benchmark, with `str.format` places, and the texts that its code joins to them.

    `label` names their origin in the results.
    """

    label: str
    templates: dict[str, str]
    joints: dict[str, Pattern]
    missing: list[str] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """Notes for readers of the results about the wording, one sentence each."""
        if self.label == OWN:
            return ["The prompts have our wording; for the benchmark's own, set --official to its checkout."]
        if self.missing:
            names = ", ".join(self.missing)
            return [
                "The checkout has the templates, but not all texts around them; our own are used for "
                f"{names}."
            ]
        return []

    def asked(self, template: str, *values: str) -> str:
        """A template filled with values."""
        return self.templates[template].format(*values)

    def joint(self, name: str, values: Mapping[str, str]) -> str:
        """The text that the code joins, filled with values by their source code."""
        return self.joints[name].filled(values)


def checked(templates: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The templates of a checkout; ConfigError for one whose places differ from those of ours."""
    for name, template in templates.items():
        try:
            found, wanted = _places(template), _places(own[name])
        except ValueError as error:
            raise ConfigError(
                f"The template for {name} in the checkout is not valid ({error}); set --official to a "
                "different version."
            ) from error
        if found != wanted:
            places = counted(len(found), "place")
            raise ConfigError(
                f"The template for {name} in the checkout has {places}, not {len(wanted)} plain ones; set "
                "--official to a different version."
            )
    return dict(templates)


def _places(template: str) -> list[tuple[str, str | None, str | None]]:
    return [
        (field, form, conversion)
        for _, field, form, conversion in Formatter().parse(template)
        if field is not None
    ]


def lettered(options: Sequence[Any]) -> list[str]:
    """The options of an OVO-Bench question, each with its letter."""
    return [f"{letter}. {option}" for letter, option in zip(_LETTERS, options, strict=False)]


# OVO-Bench

_OVO_OWN = {
    "choice": "{}\nChoose one: {}\nSay the letter and nothing else.",
    "count": "{}\nCount everything up to the end of what you saw and say one number and nothing else.",
    "step": "Is this going on at the end of what you saw: {}? Say Yes or No and nothing else.",
    "clue": "{}\nIs what you saw up to now enough to answer that? Say Yes or No and nothing else.",
}
_OVO_OWN_JOINTS = {"count": Pattern(("Number of times somebody was seen ", "activity", ":"))}
_OVO_CONSTANTS = {"choice": "BR", "count": "REC", "step": "SSR", "clue": "CRR"}


def ovo_wording(checkout: Path | None) -> Wording:
    """The wording for OVO-Bench; from a checkout, `constant.py` and `utils/OVOBench.py` are read."""
    if checkout is None:
        return Wording(OWN, _OVO_OWN, _OVO_OWN_JOINTS)
    constants = SourceFile(checkout / "constant.py")
    names = {name: f"{start}_PROMPT_TEMPLATE" for name, start in _OVO_CONSTANTS.items()}
    templates = {name: constants.constant(named) for name, named in names.items()}
    wording = Wording(OFFICIAL, checked(templates, _OVO_OWN), {})
    code = _optional(checkout / "utils" / "OVOBench.py")
    _join(wording, _OVO_OWN_JOINTS, {"count": lambda: _with(code, "question", {"activity"})})
    return wording


# StreamingBench

_STREAMING_OWN = {
    "choice": "{}\n{}\n{}\n{}\n{}",
    "open": "{}\n",
    "in_turn": "{}\n{}\n{}\n{}\n{}\n{}\nSay the letter of the right one and nothing else.",
    "proactive": "{}\n",
}
_STREAMING_OWN_JOINTS = {
    "choice": Pattern(("\nSay the letter of the right one and nothing else.",)),
    "open": Pattern(("Say it in a few words.",)),
    "before": Pattern(("Asked and answered before: ",)),
    "each_before": Pattern(
        (
            *("(", "question['time_stamp']", ") ", "ques"),
            *(part for i in range(4) for part in (" ", f"options[{i}]")),
            *(" Right: ", "question['answer']", ". "),
        )
    ),
    "poll": Pattern(
        (
            "",
            "question['question']",
            " Has this to be said now: ",
            "question['ground_truth_output']",
            "? yes or no?",
        )
    ),
}
_STREAMING_FILES = {
    "choice": ("StreamingBench.py", "PROMPT_TEMPLATE"),
    "open": ("StreamingBench.py", "PROMPT_TEMPLATE_WITHOUT_OPTIONS"),
    "in_turn": ("StreamingBenchSQA.py", "PROMPT_TEMPLATE"),
    "proactive": ("StreamingBenchProactive.py", "PROMPT_TEMPLATE_PROACTIVE"),
}


def streaming_wording(checkout: Path | None) -> Wording:
    """The wording for StreamingBench; from a checkout, files in `src/benchmark` are read."""
    if checkout is None:
        return Wording(OWN, _STREAMING_OWN, _STREAMING_OWN_JOINTS)
    folder = checkout / "src" / "benchmark"
    files = {file: SourceFile(folder / file) for file, _ in _STREAMING_FILES.values()}
    plain, in_turn, proactive = files.values()
    templates = {name: files[file].constant(constant) for name, (file, constant) in _STREAMING_FILES.items()}
    wording = Wording(OFFICIAL, checked(templates, _STREAMING_OWN), {})
    each = _STREAMING_OWN_JOINTS["each_before"].places
    _join(
        wording,
        _STREAMING_OWN_JOINTS,
        {
            "choice": lambda: plain.joined_to("PROMPT_TEMPLATE"),
            "open": lambda: plain.joined_to("PROMPT_TEMPLATE_WITHOUT_OPTIONS"),
            "before": lambda: _with(in_turn, "context", set()),
            "each_before": lambda: _with(in_turn, "context", set(each)),
            "poll": lambda: _with(proactive, "query", set(_STREAMING_OWN_JOINTS["poll"].places)),
        },
    )
    return wording


def _optional(path: Path) -> SourceFile | None:
    return SourceFile(path) if path.is_file() else None


def _with(code: SourceFile | None, variable: str, places: set[str]) -> Pattern | None:
    """The first non-empty text of a variable that has exactly these places."""
    patterns = () if code is None else code.assigned(variable)
    return next((pattern for pattern in patterns if pattern.places == places and any(pattern.parts)), None)


def _join(
    wording: Wording, own: Mapping[str, Pattern], found: Mapping[str, Callable[[], Pattern | None]]
) -> None:
    for name, find in found.items():
        pattern = find()
        if pattern is None or not pattern.places <= own[name].places:
            wording.missing.append(name)
            pattern = own[name]
        wording.joints[name] = pattern
    if wording.missing:
        wording.label = f"{OFFICIAL}, with our texts around the templates"
