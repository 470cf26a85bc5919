"""A small tokenizer with the vocabulary of Qwen3-VL's prompt: chat, vision, time and activation tokens.

Byte-level BPE, so that any text can be encoded; the words of the given texts become one token each. Every
time `<{t:.1f} seconds>` up to a limit is also one token, so that a small model reads a time in one place
instead of combining digits. This does not import torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
IMAGE_PAD, VIDEO_PAD = "<|image_pad|>", "<|video_pad|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
BASE_TOKENS = (
    END_OF_TEXT,
    TURN_START,
    TURN_END,
    VISION_START,
    VISION_END,
    "<|vision_pad|>",
    IMAGE_PAD,
    VIDEO_PAD,
)
ACTIVATION_TOKENS = ("<activation>", "<active>", "<inactive>")

# The layout of a turn is Qwen3-VL's; tools and thinking are left out, since small checkpoints do not know
# them.
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.content is string %}{{- message.content }}"
    "{%- else %}{%- for part in message.content %}"
    "{%- if part.type == 'video' %}{{- '<|vision_start|><|video_pad|><|vision_end|>' }}"
    "{%- elif part.type == 'image' %}{{- '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- elif part.type == 'text' %}{{- part.text }}{%- endif %}"
    "{%- endfor %}{%- endif %}"
    "{{- '<|im_end|>\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)


def time_tokens(limit: float) -> list[str]:
    """`<0.0 seconds>` to `<limit seconds>` in steps of 0.1 s, as in prompts; none for a negative limit."""
    return [f"<{tenths / 10:.1f} seconds>" for tenths in range(round(limit * 10) + 1)] if limit >= 0 else []


def build_tokenizer(
    texts: Iterable[str], *, time_limit: float = -1.0, activation_tokens: bool = True
) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE vocabulary that has each word of `texts` as one token.

    `time_limit` (s) adds one token for every tenth of a second up to it. `activation_tokens` adds the three
    tokens of STRIDE, last, where adding them to a plain Qwen3-VL puts them.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    # Counting each word twice is enough for BPE to merge it completely.
    corpus = sorted(set(texts)) * 2
    trainer = trainers.BpeTrainer(
        vocab_size=32_000,
        min_frequency=2,
        special_tokens=list(BASE_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    core.train_from_iterator(corpus, trainer)
    core.add_tokens([AddedToken(text, normalized=False) for text in time_tokens(time_limit)])
    if activation_tokens:
        special = [AddedToken(text, normalized=False, special=True) for text in ACTIVATION_TOKENS]
        core.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        additional_special_tokens=list(BASE_TOKENS[1:]),
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, path: Path) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja into the folder `path`."""
    tokenizer.save_pretrained(str(path))
