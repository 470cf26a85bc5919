"""Load the tokenizer and chat template of a checkpoint, without transformers if they are plain files.

tokenizer.json contains the complete tokenizer of a Qwen3-VL model, and the library `tokenizers` reads it.
Anything else (a vocabulary in older files, tokens that only tokenizer_config.json adds) is left to
transformers, whose import takes longer than loading a small model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from stride_ros.errors import CheckpointError
from stride_ros.process.import_lock import IMPORT_LOCK
from stride_ros.qwen3_vl.chat_template import check_template, compile_template
from stride_ros.text.foreign import visible

# Classes of transformers that use tokenizer.json unchanged, or do so for a Qwen model.
_PLAIN_CLASSES = {
    None,
    "PreTrainedTokenizerFast",
    "TokenizersBackend",
    "Qwen2Tokenizer",
    "Qwen2TokenizerFast",
}
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_FURTHER = ("additional_special_tokens", "extra_special_tokens")


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer in `folder`, with the part of transformers' interface that `Prompt` uses.

    Raises CheckpointError without a chat template, and the libraries' exceptions for broken files.
    """
    return _plain_tokenizer(folder) or transformers_tokenizer(folder)


@contextmanager
def panics_told() -> Iterator[None]:
    """Turn a panic of the library `tokenizers`, which is not an Exception, into a CheckpointError.

    A checkpoint's own regular expressions may need more steps for some text than the library allows.
    """
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise CheckpointError(
            f"The checkpoint's tokenizer failed ({visible(str(error), 100)}); download the checkpoint "
            "again or choose another one."
        ) from error


class PlainTokenizer:
    """A tokenizer from tokenizer.json and a chat template, with the same results as transformers'."""

    def __init__(self, backend: Any, named: Mapping[str, str], special: Sequence[str], template: str) -> None:
        """`backend`: from the library tokenizers; `named`: special tokens by role; `special`: all of them."""
        self._backend = backend
        self._named = dict(named)
        self.all_special_ids: list[int] = [backend.token_to_id(token) for token in special]
        self.chat_template = template
        self._render = compile_template(template)

    def get_vocab(self) -> dict[str, int]:
        """Ids by token, including added tokens."""
        vocabulary: dict[str, int] = self._backend.get_vocab(with_added_tokens=True)
        return vocabulary

    def __call__(self, text: str, add_special_tokens: bool = False) -> dict[str, list[int]]:
        """`input_ids` of the text."""
        return {"input_ids": self._backend.encode(text, add_special_tokens=add_special_tokens).ids}

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        tokenize: Literal[False] = False,
        add_generation_prompt: bool = False,
    ) -> str:
        """Render the conversation with the checkpoint's template.

        `tokenize` exists because transformers' tokenizers, which may be used instead, return ids by default.
        """
        return str(
            self._render(
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                **self._named,
            )
        )


def _plain_tokenizer(folder: Path) -> PlainTokenizer | None:
    """The plain tokenizer; None if transformers would do more than read tokenizer.json and the template."""
    file, config = folder / "tokenizer.json", _read_json(folder / "tokenizer_config.json")
    if not file.is_file() or config.get("tokenizer_class") not in _PLAIN_CLASSES:
        return None
    if config.get("add_prefix_space"):
        return None
    template = _template(folder, config)
    if template is None or "endgeneration" in template or "dict(" in template:
        return None
    from tokenizers import Tokenizer

    backend = Tokenizer.from_file(str(file))
    backend.no_truncation()
    backend.no_padding()
    older = _read_json(folder / "special_tokens_map.json")
    named = {role: _content(value) for role, value in _roles(older, config)}
    further = [token for source in (older, config) for key in _FURTHER for token in _tokens(source.get(key))]
    declared = config.get("added_tokens_decoder") or {}
    wanted = {_content(token): int(number) for number, token in declared.items()}
    if any(backend.token_to_id(token) != number for token, number in wanted.items()):
        return None
    added = [token.content for token in backend.get_added_tokens_decoder().values() if token.special]
    special = list(dict.fromkeys([*named.values(), *further, *added]))
    if any(backend.token_to_id(token) is None for token in special):
        return None
    return PlainTokenizer(backend, named, special, template)


def transformers_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of transformers with a chat template, from any place in the checkpoint.

    Raises CheckpointError if there is none.
    """
    with IMPORT_LOCK:
        from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    if not tokenizer.chat_template:
        tokenizer.chat_template = legacy_template(folder)
    if not tokenizer.chat_template:
        raise CheckpointError(
            f"{folder} has no chat template; add the published chat_template.jinja, or choose "
            "the instruction-tuned variant of the model."
        )
    templates = tokenizer.chat_template
    for template in templates.values() if isinstance(templates, dict) else [templates]:
        check_template(template, folder)
    return tokenizer


def _template(folder: Path, config: Mapping[str, Any]) -> str | None:
    """The chat template, from the places where transformers looks for it."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    own = config.get("chat_template")
    return own if isinstance(own, str) else None if own else legacy_template(folder)


def legacy_template(folder: Path) -> str | None:
    """The chat template in chat_template.json, as in older checkpoints, or None."""
    template = _read_json(folder / "chat_template.json").get("chat_template")
    return template if isinstance(template, str) else None


def _read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if there is no file."""
    if not file.is_file():
        return {}
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{file.name} holds no object")
    return content


def _roles(*sources: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for source in sources:
        for role in _NAMED:
            if source.get(role) is not None:
                yield role, source[role]


def _tokens(value: Any) -> list[str]:
    """Tokens in a list, or in a mapping from names."""
    values = value.values() if isinstance(value, Mapping) else value or ()
    return [_content(token) for token in values]


def _content(token: Any) -> str:
    return str(token["content"]) if isinstance(token, Mapping) else str(token)
