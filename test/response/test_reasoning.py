"""Thoughts are not spoken."""

from __future__ import annotations

import pytest

from stride_ros.response.reasoning import ReasoningFilter, without_reasoning

ANSWERS = [
    ("A cup falls.", False, "A cup falls."),
    ("<think>It moves.</think>A cup falls.", False, "A cup falls."),
    ("\n<think>\nIt moves.\n</think>\n\nA cup falls.", False, "A cup falls."),
    ("It moves.</think>\n\nA cup falls.", True, "A cup falls."),
    ("<think>It never ends", False, ""),
    ("It never ends", True, ""),
    ("<thin air> is what I see", False, "<thin air> is what I see"),
    ("<thi", False, "<thi"),
    ("I say </think> aloud", False, "I say </think> aloud"),
    ("", False, ""),
]


@pytest.mark.parametrize(("text", "thinking", "said"), ANSWERS)
@pytest.mark.parametrize("length", [1, 3, 1000])
def test_only_the_answer_remains_however_it_is_cut(text, thinking, said, length):
    pieces = [text[start : start + length] for start in range(0, len(text), length)]
    assert "".join(without_reasoning(iter(pieces), thinking)).strip() == said


def test_an_answer_without_reasoning_is_not_held_back():
    assert next(without_reasoning(iter(["A", "B"]))) == "A"


def test_what_follows_the_thoughts_comes_piece_by_piece():
    pieces = ["<think>", "hm", "</think>", "\n\n", "A ", "cup"]
    assert list(without_reasoning(iter(pieces)))[-2:] == ["A ", "cup"]


SAID = "A cup falls."
# What models write for "A cup falls." when their server takes nothing apart.
MODELS = {
    "Qwen3": "<think>\nHm.\n</think>\n\nA cup falls.",
    "DeepSeek R1, opened by the prompt": "Hm.\n</think>\n\nA cup falls.",
    "DeepSeek, the end of the text": "<think>Hm.</think>A cup falls.<\uff5cend\u2581of\u2581sentence\uff5c>",
    "EXAONE Deep": "<thought>\nHm.\n</thought>\n\nA cup falls.",
    "Magistral": "[THINK]Hm.[/THINK]A cup falls.",
    "Granite 3.2": "Here is my thought process: Hm. Here is my response: A cup falls.",
    "Granite 3.2, shorter": "Here's my thought process:\nHm.\nHere's my response:\nA cup falls.",
    "Granite 3.3": "<think>Hm.</think><response>A cup falls.</response>",
    "ERNIE 4.5": "Hm.\n</think>\n\n<response>\nA cup falls.\n</response>\n",
    "Seed-OSS": "<seed:think>Hm.<seed:cot_budget_reflect></seed:think>A cup falls.",
    "Hunyuan A13B": "<think>\nHm.\n</think>\n<answer>\nA cup falls.\n</answer>",
    "Hunyuan 3, a suffix of its own": "<think:v6f2>Hm.</think:v6f2>A cup falls.",
    "Hunyuan 3, opened by the prompt": "Hm.</think:v6f2>A cup falls.",
    "GLM-V": "<think>Hm.</think><answer><|begin_of_box|>A cup falls.<|end_of_box|></answer>",
    "Kimi-VL": "◁think▷Hm.◁/think▷A cup falls.",
    "Kimi K3": "<|open|>think<|sep|>Hm.<|close|>think<|sep|><|open|>response<|sep|>A cup falls."
    "<|close|>response<|sep|><|close|>message<|sep|><|end_of_msg|>",
    "Kimi K3, thoughts that are not closed": "<|open|>think<|sep|>Hm.<|open|>response<|sep|>A cup falls.",
    "Solar Open": "<|think|>Hm.<|end|><|begin|>assistant<|content|>A cup falls.<|flush|>",
    "Solar Open 2": "Hm.<|think:end|>A cup falls.",
    "Command A": "<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>A cup falls.<|END_RESPONSE|>",
    "Command 4, opened by the prompt": "Hm.<|END_THINKING|><|START_TEXT|>A cup falls.<|END_TEXT|>",
    "Apertus": "<|inner_prefix|>Hm.<|inner_suffix|>A cup falls.",
    "Inkling": "<|message_model|><|content_thinking|>Hm.<|end_message|><|message_model|>"
    "<|content_text|>A cup falls.<|end_message|><|content_model_end_sampling|>",
    "K2 Horizon": "<ifm|think_fast>Hm.</ifm|think_fast>A cup falls.",
    "PLaMo 3": "<|plamo:begin_think:plamo|>Hm.<|plamo:end_think:plamo|>A cup falls.",
    "Pangu": "[unused16]Hm.[unused17]A cup falls.",
    "MiniMax M3": "<mm:think>Hm.</mm:think>A cup falls.",
    "MedGemma": "<unused94>thought\nHm.<unused95>A cup falls.",
    "Gemma 4": "<|channel>thought\nHm.<channel|>A cup falls.<turn|>",
    "HyperCLOVA X": "/think\nHm.<|im_end|>\n<|im_start|>assistant\nA cup falls.<|im_end|>",
    "Muse": "<|start|>assistant to=self<|message|>Hm.<|eom|>"
    "<|start|>assistant to=user<|message|>A cup falls.<|eot|>",
    "Muse, its first header bare": "to=self<|message|>Hm.<|eom|>"
    "<|start|>assistant<|message|>A cup falls.<|eot|>",
    "gpt-oss": "<|channel|>analysis<|message|>Hm.<|end|>"
    "<|start|>assistant<|channel|>final<|message|>A cup falls.",
    "gpt-oss, special tokens removed": "analysisHm.assistantfinalA cup falls.",
    "LLaVA-CoT": "<SUMMARY>Hm.</SUMMARY>\n<CAPTION>A table.</CAPTION>\n<CONCLUSION>A cup falls.</CONCLUSION>",
    "Keye-VL": "<analysis>Hm.</analysis>A cup falls.",
    "Apriel": "Here are my reasoning steps:\nHm.\n[BEGIN FINAL RESPONSE]\nA cup falls.\n[END FINAL RESPONSE]",
    "OpenThinker": "<|begin_of_thought|>Hm.<|end_of_thought|>"
    "<|begin_of_solution|>A cup falls.<|end_of_solution|>",
    "thoughts in thoughts": "<think>Hm. <think>Wait.</think> So.</think>A cup falls.",
    "thoughts in thoughts, opened by the prompt": "Hm. <think>Wait.</think> So.</think>A cup falls.",
    "thoughts in thoughts twice": "<think>a<think>b<think>c</think>d</think>e</think>A cup falls.",
    "thoughts that mention their opening": "<think>I begin with <think>, so.</think>A cup falls.",
    "thoughts that mention both in code": "<think>I end with `</think>`, not `<think>`.</think>A cup falls.",
    "thoughts twice": "<think>Hm.</think><think>So.</think>A cup falls.",
    "thoughts that end in a quotation": '<think>It says "yes"</think>A cup falls.',
}  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
def test_no_thought_of_any_model_is_said_wherever_it_is_cut(model):
    text = MODELS[model]
    cuts = [(first, second) for first in range(len(text)) for second in range(first, len(text), 5)]
    for first, second in cuts:
        thoughts, said = ReasoningFilter(), []
        for piece in (text[:first], text[first:second], text[second:]):
            said += thoughts.feed(piece)
        assert "".join([*said, *thoughts.finish()]).strip() == SAID, (text[:first], text[first:second])


@pytest.mark.parametrize("model", MODELS)
def test_no_thought_is_said_when_the_answer_is_cut(model):
    text = MODELS[model]
    opened = "prompt" in model or not any(map(text.startswith, "<[◁"))
    for length in range(len(text)):
        thoughts = ReasoningFilter()
        said = [*thoughts.feed(text[:length]), *thoughts.finish(complete=False, suspect=opened)]
        assert "Hm" not in "".join(said), text[:length]


MENTIONS = [
    "The page shows <think> in red letters.",
    'The page says "<think>" and nothing else.',
    "The tags are `<think>` and `</think>`.",
    "The tags are \u201c<think>\u201d and \u201c</think>\u201d: a cup falls.",
    "`<think>` is what the page shows.",
    "It says `<|im_end|>` on the wall.",
    "analysis of the page: a cup falls.",
    "to=self is written on the cup.",
    "/think is written on the cup.",
    "Here is my thought process: a cup falls.",
    "<SUMMARY>A cup falls.</SUMMARY>",
    "a <think: b> c",
]


@pytest.mark.parametrize("text", MENTIONS)
@pytest.mark.parametrize("opened", [None, False])
def test_a_text_that_mentions_a_marker_is_said_whole(text, opened):
    for cut in range(len(text)):
        thoughts = ReasoningFilter(opened)
        said = [*thoughts.feed(text[:cut]), *thoughts.feed(text[cut:]), *thoughts.finish()]
        assert "".join(said) == text
        assert not thoughts.orphan


@pytest.mark.parametrize(
    "part", ["<answer>", "a<think>b", "<think></think>c", "`<think>`", "<think>a</think>"]
)
def test_a_long_piece_is_read_as_short_ones(part):
    text = part * 3000
    long, short = ReasoningFilter(False), ReasoningFilter(False)
    whole = "".join([*long.feed(text), *long.finish()])
    pieces = [short.feed(text[at : at + 7]) for at in range(0, len(text), 7)]
    assert whole == "".join(["".join(said) for said in pieces] + short.finish())


def test_after_thoughts_in_thoughts_the_next_answers_are_not_kept_back():
    thoughts = ReasoningFilter(False)
    assert thoughts.feed("<think>a<think>b</think>c</think>") == []
    assert thoughts.feed("A cup ") == ["A cup "]
    assert not thoughts.orphan


def test_what_is_kept_back_after_thoughts_in_thoughts_can_be_had():
    thoughts = ReasoningFilter(False)
    assert thoughts.feed("<think>I begin with <think>.</think>A cup ") == []
    assert thoughts.known() == ["A cup "]
    assert thoughts.feed("falls.") == ["falls."]
