"""Interpret the JSON values of an answer: texts, thoughts, how it ended, and the server's own errors.

The rules are in docs/responder.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

COMPLETE = {
    *("stop", "eos", "eos_token", "end_turn", "stop_sequence", "stop_token", "end", "end_of_text"),
    *("complete", "completed", "done", "finished", "normal", "success"),
}
TOO_LONG = {
    *("length", "max_tokens", "max_output_tokens", "max_length", "max_new_tokens", "token_limit"),
    *("model_length", "model_context_window_exceeded", "context_length_exceeded"),
}
FILTERED = {
    *("content_filter", "content_filtered", "safety", "recitation", "blocklist", "prohibited_content"),
    *("spii", "image_safety", "sensitive", "refusal", "moderation", "guardrail"),
}
TOOLS = {"tool_calls", "tool_call", "tool_use", "function_call"}
_LONGEST = 1 << 20
_UNFINISHED = {"", "null", "none", "unspecified"}
_NUMBERED = {1: "stop", 2: "max_tokens", 3: "safety", 4: "recitation"}  # as numbered by Gemini's own protocol
_REASON_PREFIX = re.compile(r"^(finish_?reason[._])+")
_THOUGHT_KEYS = (
    "reasoning_content",
    "reasoning",
    "thinking",
    "thought",
    "reasoning_text",
    "reasoning_details",
)
_THOUGHT_PARTS = {"thinking", "reasoning", "thought", "redacted_thinking", "reasoning_text", "summary_text"}
_MESSAGE_KEYS = (
    "message",
    "msg",
    "detail",
    "error_message",
    "error_msg",
    "errorMessage",
    "description",
    "title",
)
_CODE_KEYS = ("code", "status", "status_code", "type", "error_code", "errorCode")


class ServerSaidError(Exception):
    """The server's answer reports an error: `words`, and a `code`, or "" if it gives none."""

    def __init__(self, words: str, code: str = "") -> None:
        super().__init__(words)
        self.words = words
        self.code = code


@dataclass(frozen=True)
class Piece:
    """A piece of an answer: text to speak, or thoughts."""

    text: str
    thought: bool = False


class ChatReader:
    """Reads the values of one answer in turn and remembers how it ended.

    Of several choices, the first to arrive is read. In a choice, a `delta` is a piece; a `message` is also a
    piece, unless it repeats the whole answer. `finish` is "" until the server names a reason, in lower case;
    text after a reason cancels it, since some servers name it in every chunk. `refusal` is what the model
    says instead of an answer, `tools` tells whether it called tools, `tokens` is the server's count, 0 if it
    gives none.
    """

    def __init__(self) -> None:
        self.finish = ""
        self.refusal = ""
        self.tools = False
        self.tokens = 0
        self.recognised = False  # a chat completion has arrived
        self.whole = False  # the answer came in one message, not as a stream
        self._choice: Any = None
        self._text = ""  # text so far, up to about _LONGEST characters, to recognise a repetition
        self._streamed = False  # pieces came as deltas

    def read(self, value: Any) -> Iterator[Piece]:
        """Yield the pieces that a JSON value holds; raises ServerSaidError after them."""
        if isinstance(value, list):
            for item in value:
                yield from self.read(item)
            return
        if not isinstance(value, Mapping):
            return
        self._count(value)
        for piece in self._pieces(value):
            if piece.text and not piece.thought and len(self._text) < _LONGEST:
                self._text += piece.text
            yield piece
        error = error_of(value)
        if error is not None:
            raise error

    def _pieces(self, value: Mapping[str, Any]) -> Iterator[Piece]:
        choices = value.get("choices")
        if isinstance(choices, Mapping):
            choices = [choices]
        if isinstance(choices, list):
            self.recognised = True
            whole = value.get("object") == "chat.completion"
            for choice in choices:
                if isinstance(choice, Mapping) and self._is_ours(choice.get("index")):
                    yield from self._read_choice(choice, whole)
            self._end(_reason_in(value))
        elif isinstance(value.get("message"), Mapping) or "response" in value:  # Ollama's own protocol
            self.recognised = True
            if isinstance(value.get("message"), Mapping):
                yield from self._own(_parts(value["message"]))
            else:
                yield from self._own(_content(value["response"]))
                yield from _thoughts(value)
            if value.get("done") is True or value.get("done_reason"):  # some of its backends leave out `done`
                self._end(_reason(value.get("done_reason")) or "stop")

    def _is_ours(self, index: Any) -> bool:
        index = 0 if index is None else index
        if self._choice is None:
            self._choice = index
        return bool(index == self._choice)

    def _read_choice(self, choice: Mapping[str, Any], whole: bool) -> Iterator[Piece]:
        reason = _reason_in(choice)
        spoken = False
        for name in ("delta", "message"):
            source = choice.get(name)
            source = {"content": source} if isinstance(source, str) else source
            if not isinstance(source, Mapping) or spoken:
                continue
            pieces = list(_parts(source))
            self._notice(source)
            spoken = any(piece.text and not piece.thought for piece in pieces)
            if name == "delta":
                self._streamed = self._streamed or spoken
            elif whole or reason:
                self.whole = self.whole or whole
                pieces = self._news(pieces)
            else:
                pieces = self._growth(pieces)
            yield from self._own(pieces)
        if not spoken and isinstance(choice.get("text"), str) and choice["text"]:
            yield from self._own([Piece(choice["text"])])
        self._end(reason)

    def _news(self, pieces: list[Piece]) -> list[Piece]:
        """What a message with the whole answer adds to the pieces before it."""
        if not self._text:
            return pieces
        text = "".join(piece.text for piece in pieces if not piece.thought)
        if text.startswith(self._text):
            return [Piece(text[len(self._text) :])]
        if self._streamed or len(self._text) >= _LONGEST or text.strip() == self._text.strip():
            return []
        return pieces

    def _growth(self, pieces: list[Piece]) -> list[Piece]:
        """What a message in the middle of a stream adds: some servers send all the text so far with each."""
        text = "".join(piece.text for piece in pieces if not piece.thought)
        if self._text.strip() and len(text) > len(self._text) and text.startswith(self._text):
            return [Piece(text[len(self._text) :])]
        return pieces

    def _own(self, pieces: Any) -> Iterator[Piece]:
        for piece in pieces:
            if piece.text and not piece.thought and not piece.text.isspace():
                self.finish = ""
            yield piece

    def _end(self, reason: str) -> None:
        self.finish = reason or self.finish

    def _notice(self, source: Mapping[str, Any]) -> None:
        refusal = source.get("refusal")
        if isinstance(refusal, str):
            self.refusal = (self.refusal + refusal)[:2000]
        self.tools = self.tools or bool(source.get("tool_calls") or source.get("function_call"))

    def _count(self, value: Mapping[str, Any]) -> None:
        usage = value.get("usage")
        count = usage.get("completion_tokens") if isinstance(usage, Mapping) else value.get("eval_count")
        if isinstance(count, int) and 0 < count < 1 << 31:
            self.tokens = count


def error_of(value: Any) -> ServerSaidError | None:
    """The error that a JSON value reports, or None."""
    if isinstance(value, list):
        found = (error_of(item) for item in value if isinstance(item, Mapping))
        return next((error for error in found if error is not None), None)
    if not isinstance(value, Mapping):
        return None
    for key in ("error", "errors"):
        if value.get(key):
            said = value if value[key] is True else value[key]
            return ServerSaidError(words_of(said), _code_of(said) or _code_of(value))
    choices = value.get("choices")
    if isinstance(choices, list) and choices:
        return next(
            (
                ServerSaidError(words_of(choice["error"]), _code_of(choice["error"]))
                for choice in choices
                if isinstance(choice, Mapping) and choice.get("error")
            ),
            None,
        )
    if isinstance(value.get("message"), Mapping) or "response" in value or "choices" in value:
        return None
    named = value.get("object") == "error" or value.get("type") == "error" or value.get("success") is False
    fine = _code_of(value).lower() in ("0", "200", "ok", "success")
    if named or (not fine and any(value.get(key) for key in _MESSAGE_KEYS)):
        return ServerSaidError(words_of(value), _code_of(value))
    return None


def words_of(error: Any) -> str:
    """The message of an error in any of the usual formats; its JSON if it has none of these."""
    if isinstance(error, str):
        return error
    if isinstance(error, list):
        return "; ".join(words_of(item) for item in error[:5])
    if not isinstance(error, Mapping):
        return str(error)
    nested = error.get("error")
    message = next((error[key] for key in _MESSAGE_KEYS if error.get(key)), None)
    if message is None and nested:
        message = nested
    if message is None:
        return _spelled(error)
    words = words_of(message)
    place = error.get("loc") or error.get("param")
    if isinstance(place, list):
        words = f"{'.'.join(map(str, place))}: {words}"
    metadata = error.get("metadata")
    if isinstance(metadata, Mapping) and metadata.get("raw"):  # the error of the provider behind a router
        words = f"{words}: {words_of(metadata['raw'])}"
    return words


def _spelled(error: Mapping[str, Any]) -> str:
    import json

    code = _code_of(error)
    return code or json.dumps(error, ensure_ascii=False, default=str)[:2000]


def _code_of(error: Any) -> str:
    if not isinstance(error, Mapping):
        return ""
    found = [str(error[key]) for key in _CODE_KEYS if isinstance(error.get(key), (str, int)) and error[key]]
    return next((code for code in found if code.isdigit()), found[0] if found else "")


def _reason_in(source: Mapping[str, Any]) -> str:
    """The finish reason of a choice or a chunk, or ""."""
    return _reason(source.get("finish_reason")) or _reason(source.get("finishReason"))


def _reason(reason: Any) -> str:
    if isinstance(reason, list):
        reason = next(iter(reason), None)
    if isinstance(reason, Mapping):  # as in SGLang's own protocol
        reason = reason.get("type")
    if isinstance(reason, int) and not isinstance(reason, bool) and reason:
        return _NUMBERED.get(reason, f"finish reason {reason}")
    text = _REASON_PREFIX.sub("", reason.strip().lower()) if isinstance(reason, str) else ""
    return "" if text in _UNFINISHED else text


def _parts(source: Mapping[str, Any]) -> Iterator[Piece]:
    """The pieces of a delta or a message."""
    yield from _thoughts(source)
    extra = source.get("extra_content")
    google = extra.get("google") if isinstance(extra, Mapping) else None
    thought = isinstance(google, Mapping) and google.get("thought") is True
    for piece in _content(source.get("content")):
        yield Piece(piece.text, thought or piece.thought)


def _thoughts(source: Mapping[str, Any]) -> Iterator[Piece]:
    if any(source.get(key) for key in _THOUGHT_KEYS):
        yield Piece("", thought=True)


def _content(content: Any) -> Iterator[Piece]:
    """The pieces of content that is text, a part, or a list of either."""
    if isinstance(content, (int, float)) and not isinstance(content, bool):
        yield Piece(str(content))  # a token of digits that was parsed as a number
    elif isinstance(content, str):
        if content:
            yield Piece(content)
    elif isinstance(content, list):
        for part in content:
            yield from _content(part)
    elif isinstance(content, Mapping):
        kind = str(content.get("type") or "text").lower()
        text = content.get("text", content.get("content", content.get("parts")))
        if isinstance(text, Mapping):
            text = text.get("value")
        if kind in _THOUGHT_PARTS or content.get("thought") is True:
            yield Piece("", thought=True)
        elif kind in ("text", "output_text", "text_delta"):
            yield from _content(text)
