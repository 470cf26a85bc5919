"""The markers that models write around thoughts and answers, as in their chat templates.

Servers separate them if they are started with the right reasoning parser (vLLM, SGLang, llama.cpp), and pass
them on otherwise. The tables contain the markers for which these servers have parsers, and those of vision
models.
"""

from __future__ import annotations

import re

OPEN, CLOSE = "<think>", "</think>"

# Harmony, the format of gpt-oss: <|start|>assistant<|channel|>analysis<|message|>...<|end|>
# Muse writes <|start|>assistant to=self<|message|>...<|eom|> instead.
START, CHANNEL, MESSAGE = "<|start|>", "<|channel|>", "<|message|>"
TO_ITSELF = "to=self"
ENDS = ("<|end|>", "<|return|>", "<|call|>", "<|eom|>", "<|eot|>")
HARMONY = (START, CHANNEL, MESSAGE, *ENDS)

# Opening markers of thoughts, with their closing markers, in lower case.
PAIRS: dict[str, tuple[str, ...]] = {
    OPEN: (CLOSE,),
    "<thinking>": ("</thinking>",),
    "<antthinking>": ("</antthinking>",),
    "<thought>": ("</thought>",),  # EXAONE Deep, Gemini's endpoint, Marco-o1
    "<thoughts>": ("</thoughts>",),
    "<reasoning>": ("</reasoning>",),
    "<analysis>": ("</analysis>",),  # Keye-VL
    "<reflection>": ("</reflection>",),
    "<seed:think>": ("</seed:think>",),
    "<mm:think>": ("</mm:think>",),  # MiniMax
    "<longcat_think>": ("</longcat_think>",),
    "<ifm|think>": ("</ifm|think>",),  # K2 Horizon, in three efforts
    "<ifm|think_fast>": ("</ifm|think_fast>",),
    "<ifm|think_faster>": ("</ifm|think_faster>",),
    "[think]": ("[/think]",),  # Magistral
    "[unused16]": ("[unused17]",),  # Pangu
    "◁think▷": ("◁/think▷",),  # Kimi-VL
    "<|open|>think<|sep|>": ("<|close|>think<|sep|>", "<|open|>response<|sep|>"),  # Kimi K3
    "<|begin_of_thought|>": ("<|end_of_thought|>",),
    "<|start_thinking|>": ("<|end_thinking|>", "<|start_text|>", "<|start_response|>"),  # Cohere
    "<|thinking|>": ("<|/thinking|>",),
    "<|think|>": ("<|end|>", "<|content|>"),  # Solar Open
    "<|think:start|>": ("<|think:end|>",),  # its second version
    "<|inner_prefix|>": ("<|inner_suffix|>",),  # Apertus
    "<|content_thinking|>": ("<|end_message|>", "<|content_text|>"),  # Inkling
    "<|plamo:begin_think:plamo|>": ("<|plamo:end_think:plamo|>",),
    "<unused94>thought": ("<unused95>",),  # MedGemma
    "<|channel>thought": ("<channel|>",),  # Gemma 4
}
# Those of Hunyuan, with a suffix that differs between its versions.
_SUFFIXED = re.compile(r"<(/?)think(:[\w.-]{1,40})>", re.IGNORECASE)
_SUFFIX_CUT = re.compile(r"</?think:[\w.-]{0,40}$", re.IGNORECASE)

# Markers that open thoughts only at the beginning of an answer, and only if a closing marker follows.
BEGINNINGS: dict[str, tuple[str, ...]] = {
    "analysis": ("assistantfinal",),  # harmony after a server removed all special tokens
    "/think\n": ("<|im_start|>assistant",),  # HyperCLOVA X
    "Here is my thought process:": ("here is my response:", "here's my response:"),  # Granite 3.2
    "Here's my thought process:": ("here is my response:", "here's my response:"),
    "<SUMMARY>": ("<conclusion>",),  # LLaVA-CoT: <SUMMARY>, <CAPTION>, <REASONING>, <CONCLUSION>
}
# Harmony without its first token: the bare channel or addressee.
BARE_HEADERS = tuple(f"{name}{MESSAGE}" for name in ("analysis", "commentary", "final", TO_ITSELF, "to=user"))

# Closes thoughts that have no opening marker.
CLOSES_ALONE = "[begin final response]"  # Apriel

# Markers around an answer or at its end, if a server passes on more than the text; they are left out.
WRAPPERS = (
    *("<answer>", "</answer>", "<response>", "</response>", "<output>", "</output>"),
    *("<conclusion>", "</conclusion>", "<|begin_of_box|>", "<|end_of_box|>"),
    *("<|begin_of_solution|>", "<|end_of_solution|>", "[end final response]"),
    *("<|start_response|>", "<|end_response|>", "<|start_text|>", "<|end_text|>"),
    *("<|open|>response<|sep|>", "<|close|>response<|sep|>", "<|open|>message<|sep|>"),
    *("<|close|>message<|sep|>", "<|end_of_msg|>"),
    *("<|begin|>assistant", "<|content|>", "<|flush|>"),
    *("<|message_model|>", "<|content_text|>", "<|end_message|>", "<|content_model_end_sampling|>"),
    *("<|im_start|>assistant", "<|im_end|>", "<|endoftext|>", "<|end_of_text|>", "<|end_of_turn|>"),
    *("<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<turn|>", "<end_of_utterance>", "<eos>", "</s>"),
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
)

_NO_ORPHANS = frozenset((*WRAPPERS, *ENDS))  # they also end other text
CLOSINGS = frozenset(
    (CLOSES_ALONE, *(close for closes in PAIRS.values() for close in closes if close not in _NO_ORPHANS))
)
_IN_TEXT = tuple(dict.fromkeys((*PAIRS, *CLOSINGS, *HARMONY, *WRAPPERS)))


class Markers:
    """Finds a set of markers in a text, in any letter case and across pieces."""

    def __init__(self, markers: tuple[str, ...], *, suffixed: bool) -> None:
        self._markers, self._suffixed = markers, suffixed
        parts = [_one_of(set(markers)), *([_SUFFIXED.pattern] if suffixed else [])]
        self._found = re.compile("|".join(parts), re.IGNORECASE)
        self._longest = max(map(len, markers)) - 1
        self._firsts = frozenset(marker[0] for marker in markers)

    def search(self, text: str, start: int = 0) -> re.Match[str] | None:
        """The first marker at or after `start`."""
        return self._found.search(text, start)

    def safe_end(self, text: str) -> int:
        """The start of the longest suffix of `text` that may be the beginning of a marker."""
        if self._suffixed and (cut := _SUFFIX_CUT.search(text)):
            return cut.start()
        for at in range(max(0, len(text) - self._longest), len(text)):
            end = text[at:].lower()
            if end[0] in self._firsts and any(marker.startswith(end) for marker in self._markers):
                return at
        return len(text)


def _one_of(words: set[str]) -> str:
    """A pattern for the longest of some words, which tries each shared prefix once."""
    rests: dict[str, set[str]] = {}
    for word in words - {""}:
        rests.setdefault(word[0], set()).add(word[1:])
    branches = "|".join(re.escape(first) + _one_of(rests[first]) for first in sorted(rests))
    return f"(?:{branches})" + "?" * ("" in words) if branches else ""


IN_TEXT = Markers(_IN_TEXT, suffixed=True)


def closes_of(marker: str) -> tuple[str, ...]:
    """The markers that close thoughts opened by `marker` (lower case); empty if it opens none."""
    suffixed = _SUFFIXED.fullmatch(marker)
    if suffixed is not None and not suffixed[1]:
        return (f"</think{suffixed[2]}>",)
    return PAIRS.get(marker, ())


def is_closing(marker: str) -> bool:
    """Whether `marker` (lower case) closes thoughts, even without an opening."""
    return marker in CLOSINGS or (bool(_SUFFIXED.fullmatch(marker)) and marker.startswith("</"))
