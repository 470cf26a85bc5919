"""A second reading of what servers send, to hold the first one against: docs/responder.md, written anew.

It has the whole body at hand, so that nothing is kept back, cut or limited, and shares no code with the
package.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

GOOD = {
    *(
        "stop",
        "eos",
        "eos_token",
        "end_turn",
        "stop_sequence",
        "stop_token",
        "end",
        "end_of_text",
        "complete",
    ),
    *("completed", "done", "finished", "normal", "success"),
}
PAIRS = {
    **{f"<{name}>": [f"</{name}>"] for name in ("think", "thinking", "thought", "thoughts", "reasoning")},
    **{f"<{name}>": [f"</{name}>"] for name in ("mm:think", "longcat_think", "analysis", "reflection")},
    **{f"<{name}>": [f"</{name}>"] for name in ("seed:think", "antthinking")},
    **{f"<ifm|{name}>": [f"</ifm|{name}>"] for name in ("think", "think_fast", "think_faster")},
    "[think]": ["[/think]"],
    "[unused16]": ["[unused17]"],
    "◁think▷": ["◁/think▷"],
    "<|open|>think<|sep|>": ["<|close|>think<|sep|>", "<|open|>response<|sep|>"],
    "<|begin_of_thought|>": ["<|end_of_thought|>"],
    "<|start_thinking|>": ["<|end_thinking|>", "<|start_text|>", "<|start_response|>"],
    "<|thinking|>": ["<|/thinking|>"],
    "<|think|>": ["<|end|>", "<|content|>"],
    "<|think:start|>": ["<|think:end|>"],
    "<|inner_prefix|>": ["<|inner_suffix|>"],
    "<|content_thinking|>": ["<|end_message|>", "<|content_text|>"],
    "<|plamo:begin_think:plamo|>": ["<|plamo:end_think:plamo|>"],
    "<unused94>thought": ["<unused95>"],
    "<|channel>thought": ["<channel|>"],
}
SUFFIXED = r"</?think:[\w.-]{1,40}>"
HARMONY = re.compile(r"<\|(start|channel|message|end|return|call|eom|eot)\|>", re.IGNORECASE)
CHANNEL = "<|channel|>"
BARE = [f"{name}<|message|>" for name in ("analysis", "commentary", "final", "to=self", "to=user")]
GRANITE = ["here is my response:", "here's my response:"]
BEGINNINGS = {
    "analysis": ["assistantfinal"],
    "/think\n": ["<|im_start|>assistant"],
    "Here is my thought process:": GRANITE,
    "Here's my thought process:": GRANITE,
    "<SUMMARY>": ["<conclusion>"],
}
WRAPPERS = (
    *(f"<{slash}{name}>" for name in ("answer", "response", "output", "conclusion") for slash in ("", "/")),
    *(f"<|{edge}_of_{name}|>" for name in ("box", "solution") for edge in ("begin", "end")),
    *(f"<|{edge}_{name}|>" for name in ("response", "text") for edge in ("start", "end")),
    *(f"<|{edge}|>{name}<|sep|>" for name in ("response", "message") for edge in ("open", "close")),
    *("<|end_of_msg|>", "<|begin|>assistant", "<|content|>", "<|flush|>", "<|message_model|>"),
    *("<|content_text|>", "<|end_message|>", "<|content_model_end_sampling|>", "<|im_start|>assistant"),
    *("[end final response]", "<|im_end|>", "<|endoftext|>", "<|end_of_text|>", "<|end_of_turn|>"),
    *("<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<turn|>", "<end_of_utterance>", "<eos>", "</s>"),
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
)
ALONE = "[begin final response]"
CLOSES = [close for closes in PAIRS.values() for close in closes]
MARKERS = sorted({*PAIRS, *CLOSES, ALONE, *WRAPPERS}, key=len, reverse=True)
MARK = re.compile("|".join([HARMONY.pattern, *map(re.escape, MARKERS), SUFFIXED]), re.IGNORECASE)
QUOTES = ("``", "\u201c\u201d", "\u2018\u2019", "\u00ab\u00bb")
STRAIGHT = ('""', "''")
THOUGHT = object()  # stands for thoughts that come beside the text
THOUGHT_FIELDS = (
    *("reasoning_content", "reasoning", "thinking", "thought", "reasoning_text", "reasoning_details"),
)
THOUGHT_KINDS = ("thinking", "reasoning", "thought", "redacted_thinking", "reasoning_text", "summary_text")
WORDS = ("message", "msg", "detail", "error_message", "error_msg", "errorMessage", "description", "title")


@dataclass
class Reading:
    """What an answer says: its text without thoughts, and whether it is whole."""

    text: str
    whole: bool
    opened: bool | None = None  # what is then known of the server, see `read`
    said: str = ""  # the server's words where it reports an error
    stopped: bool = False  # nothing that may follow is read


class Stop(Exception):
    """Nothing more is read; `words` are the server's."""

    def __init__(self, words: str = "", *, done: bool = False) -> None:
        super().__init__(words)
        self.words, self.done = words, done


@dataclass
class Chat:
    """What the values said so far."""

    text: str = ""  # with the thoughts that are in it
    apart: int | None = None  # how much of it had come when the first thoughts came beside it
    finish: str = ""
    refusal: str = ""
    tools: bool = False
    seen: bool = False  # a completion of any kind
    single: bool = False  # one message without a stream
    deltas: bool = False
    choice: Any = None
    words: list[str] = field(default_factory=list)


def read(body: bytes, *, closed: bool = True, opened: bool | None = None) -> Reading:
    """Read a body that ended (`closed`), or whose connection broke or stands open after it.

    `opened`: whether this server's answers are known to begin inside of thoughts, None: nothing is known.
    """
    chat, stop = Chat(), None
    try:
        read_lines(body.decode("utf-8", "replace").removeprefix("\ufeff"), closed, chat)
    except Stop as end:
        stop = end
    complete = judge(chat, stop, closed)
    text, orphan = without_thoughts(chat, opened, complete)
    spoken = bool(text.strip())
    if orphan:
        opened = True
    elif complete and spoken:
        opened = False
    whole = complete and spoken
    said = stop.words if stop is not None and not whole else ""
    return Reading(text.strip(), whole, opened, said, stop is not None)


def judge(chat: Chat, stop: Stop | None, closed: bool) -> bool:
    """Whether the answer ended as a whole one does."""
    done = stop is not None and stop.done
    if stop is not None and not done:
        return False
    if (chat.refusal or chat.tools) and not chat.text.strip():
        return False
    if chat.finish:
        return chat.finish in GOOD
    return done or (chat.single and closed)


# Lines and events


def read_lines(text: str, closed: bool, chat: Chat) -> None:
    lines = re.split("\r\n|\r|\n", text)
    data: list[str] = []
    other: list[str] = []
    name = ""
    for number, line in enumerate(lines):
        is_last = number == len(lines) - 1
        if is_last and not closed and not chat.finish and not is_complete(line, other):
            return
        if not line:
            flush(data, name, chat)
            data, name = [], ""
            continue
        key, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "data":
            while value.lstrip().startswith("data:"):
                value = value.lstrip()[5:].removeprefix(" ")
            data.append(value)
            joined = "\n".join(data)
            if joined.strip() == "[DONE]":
                raise Stop(done=True)
            if parsed(joined) is not None:
                take(parsed(joined), chat, is_error=name == "error")
                data = []
        elif key == "event" and colon:
            name = value.strip()
        elif key == "error" and colon:
            report(parsed(value) or value, chat)
        elif key in ("id", "retry") or (not key and colon):
            pass
        else:
            other = read_other(line, other, chat)
    if closed or chat.finish:
        flush(data, name, chat, at_end=bool(lines[-1]))
        leftover("\n".join(other), chat, at_end=bool(lines[-1]))
    elif parsed("\n".join(other)) is not None:
        take(parsed("\n".join(other)), chat)


def is_complete(line: str, other: list[str]) -> bool:
    """Whether a last line without an end says all the same all that it can."""
    if line.startswith("data:"):
        return line[5:].strip() == "[DONE]" or parsed(line[5:]) is not None
    return line.strip() == "[DONE]" or parsed("\n".join([*other, line])) is not None


def flush(data: list[str], name: str, chat: Chat, *, at_end: bool = False) -> None:
    text = "\n".join(data).strip()
    if not text:
        return
    if name == "error":
        report(parsed(text) or text, chat)
    elif parsed(text) is not None:
        take(parsed(text), chat)
    else:
        for line in data if len(data) > 1 else [text]:
            leftover(line, chat, at_end=at_end)


def read_other(line: str, other: list[str], chat: Chat) -> list[str]:
    """A line that is not a field: JSON by itself, or part of a longer document."""
    if not other or other[0].lstrip()[:1] not in ("{", "["):
        if line.strip() == "[DONE]":
            raise Stop(done=True)
        if parsed(line) is not None:
            take(parsed(line), chat)
            return other
    other = [*other, line]
    if line[0] in "}]" and parsed("\n".join(other)) is not None:
        take(parsed("\n".join(other)), chat)
        return []
    return other


def leftover(text: str, chat: Chat, *, at_end: bool = False) -> None:
    """Text that ends where it is: JSON, the beginning of some, or words."""
    if not text.strip():
        return
    if text.strip() == "[DONE]":
        raise Stop(done=True)
    if parsed(text) is not None:
        take(parsed(text), chat)
        return
    if (glued := split_glued(text)) is not None:
        for value in glued:
            if value == "[DONE]":
                raise Stop(done=True)
            take(value, chat)
        return
    broken = re.match(r'\s*(\{|\[\s*[{"\[])', text)
    if broken and chat.seen and at_end:  # cut in the middle
        raise Stop
    chat.words.append(text)
    if broken or (text.lstrip().startswith("<") and not chat.seen):
        raise Stop(chat.words[0])


def split_glued(text: str) -> list[Any] | None:
    """Values without line ends between them, None for anything else."""
    values: list[Any] = []
    rest = text
    while rest := re.sub(r"^(\s|data:)+", "", rest):
        if rest.strip() == "[DONE]":
            return [*values, "[DONE]"]
        try:
            value, end = json.JSONDecoder(strict=False).raw_decode(rest)
        except ValueError:
            return None
        if not isinstance(value, dict | list):
            return None
        values.append(value)
        rest = rest[end:]
    return values or None


def parsed(text: str) -> Any:
    """An object or a list; None for everything else."""
    try:
        value = json.loads(text, strict=False)
    except ValueError:
        return None
    return value if isinstance(value, dict | list) else None


# Values


def take(value: Any, chat: Chat, *, is_error: bool = False) -> None:
    if is_error:
        report(value, chat)
        return
    if isinstance(value, list):
        for item in value:
            take(item, chat)
        return
    if not isinstance(value, dict):
        return
    choices = value.get("choices")
    choices = [choices] if isinstance(choices, dict) else choices
    if isinstance(choices, list):
        chat.seen = True
        for choice in choices:
            if isinstance(choice, dict):
                index = choice.get("index") or 0
                chat.choice = index if chat.choice is None else chat.choice
                if index == chat.choice:
                    take_choice(choice, value.get("object") == "chat.completion", chat)
        chat.finish = ending(value) or chat.finish
    elif isinstance(value.get("message"), dict) or "response" in value:
        chat.seen = True
        source = (
            value["message"]
            if isinstance(value.get("message"), dict)
            else {**value, "content": value["response"]}
        )
        add(parts_of(source), chat)
        if value.get("done") is True or value.get("done_reason"):
            chat.finish = spelled(value.get("done_reason")) or "stop"
    words = error_words(value, choices if isinstance(choices, list) else [])
    if words is not None and chat.finish not in GOOD:
        raise Stop(words)


def take_choice(choice: dict[str, Any], is_whole: bool, chat: Chat) -> None:
    reason = ending(choice)
    told = False
    for key in ("delta", "message"):
        source = choice.get(key)
        source = {"content": source} if isinstance(source, str) else source
        if told or not isinstance(source, dict):
            continue
        pieces = parts_of(source)
        if isinstance(source.get("refusal"), str):
            chat.refusal += source["refusal"]
        chat.tools = chat.tools or bool(source.get("tool_calls") or source.get("function_call"))
        text = "".join(piece for piece in pieces if piece is not THOUGHT)
        told = bool(text)
        if key == "delta":
            chat.deltas = chat.deltas or told
        elif is_whole or reason:
            chat.single = chat.single or is_whole
            before = chat.text
            if before and text.startswith(before):
                pieces = [text[len(before) :]]
            elif before and (chat.deltas or text.strip() == before.strip()):
                pieces = []
        elif chat.text.strip() and text != chat.text and text.startswith(chat.text):
            pieces = [text[len(chat.text) :]]
        add(pieces, chat)
    if not told and isinstance(choice.get("text"), str):
        add([choice["text"]], chat)
    chat.finish = reason or chat.finish


def add(pieces: list[Any], chat: Chat) -> None:
    for piece in pieces:
        if piece is THOUGHT:
            chat.apart = len(chat.text) if chat.apart is None else chat.apart
            continue
        if piece.strip():
            chat.finish = ""
        chat.text += piece


def parts_of(source: dict[str, Any]) -> list[Any]:
    """The pieces of a message or delta; THOUGHT for each that is one."""
    thoughts = [THOUGHT] if any(source.get(key) for key in THOUGHT_FIELDS) else []
    extra = source.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    pieces = content_of(source.get("content"))
    is_thought = isinstance(google, dict) and google.get("thought") is True
    return thoughts + ([THOUGHT for _ in pieces] if is_thought else pieces)


def content_of(content: Any) -> list[Any]:
    if type(content) in (int, float):
        return [str(content)]
    if isinstance(content, str):
        return [content] if content else []
    if isinstance(content, list):
        return [piece for part in content for piece in content_of(part)]
    if not isinstance(content, dict):
        return []
    kind = str(content.get("type") or "text").lower()
    if kind in THOUGHT_KINDS or content.get("thought") is True:
        return [THOUGHT]
    text = content.get("text", content.get("content", content.get("parts")))
    text = text.get("value") if isinstance(text, dict) else text
    return content_of(text) if kind in ("text", "output_text", "text_delta") else []


def spelled(reason: Any) -> str:
    if isinstance(reason, list):
        reason = reason[0] if reason else None
    reason = reason.get("type") if isinstance(reason, dict) else reason
    if isinstance(reason, int) and reason is not True and reason:
        return {1: "stop", 2: "max_tokens"}.get(reason, f"number {reason}")
    text = reason.strip().lower() if isinstance(reason, str) else ""
    for prefix in ("finishreason.", "finish_reason."):
        text = text.removeprefix(prefix)
    text = text.removeprefix("finish_reason_")
    return "" if text in ("null", "none", "unspecified") else text


def ending(source: dict[str, Any]) -> str:
    return spelled(source.get("finish_reason")) or spelled(source.get("finishReason"))


def report(error: Any, chat: Chat) -> None:
    if chat.finish not in GOOD:
        raise Stop(words_in(error))


def error_words(value: dict[str, Any], choices: list[Any]) -> str | None:
    for holder in (value, *(choice for choice in choices if isinstance(choice, dict))):
        for key in ("error", "errors") if holder is value else ("error",):
            if holder.get(key):
                return words_in(value if holder[key] is True else holder[key])
    if "choices" in value or "response" in value or isinstance(value.get("message"), dict):
        return None
    fine = str(value.get("code", value.get("status", ""))).lower() in ("0", "200", "ok", "success")
    named = value.get("object") == "error" or value.get("type") == "error" or value.get("success") is False
    if named or (not fine and any(value.get(key) for key in WORDS)):
        return words_in(value)
    return None


def words_in(error: Any) -> str:
    if isinstance(error, list):
        return words_in(error[0]) if error else ""
    if isinstance(error, dict):
        inner = next((error[key] for key in (*WORDS, "error") if error.get(key)), "")
        return words_in(inner)
    return str(error)


# Texts


def mend(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\0", "\ufffd")


def without_thoughts(chat: Chat, opened: bool | None, complete: bool) -> tuple[str, bool]:
    """The text to speak, and whether it closed thoughts that it had not opened."""
    text = mend(chat.text)
    apart = (
        len(text)
        if chat.apart is None
        else len(mend(re.sub("[\ud800-\udbff]$", "", chat.text[: chat.apart])))
    )
    kept = opened is not False  # a closing without an opening makes thoughts of all before it
    orphan = trim = False
    out = ""
    nested, held, held_at = 0, -1, 0  # openings within thoughts; how long `out` was at the first closing

    def say(part: str) -> None:
        nonlocal out, trim
        part = part.lstrip() if trim else part
        trim = trim and not part
        out += part

    def quoted(mark: re.Match[str], pairs: tuple[str, ...]) -> bool:
        around = text[mark.start() - 1 : mark.start()] + text[mark.end() : mark.end() + 1]
        return mark.start() > begin and around in pairs

    def close(at: int, opening: str, closes: list[str]) -> re.Match[str] | None:
        """What ends the thoughts that go on at `at`."""
        nonlocal nested, held, held_at
        marks = [re.escape(mark) for mark in sorted([opening, *closes], key=len, reverse=True) if mark]
        for mark in re.compile("|".join(marks), re.IGNORECASE).finditer(text, at):
            if quoted(mark, QUOTES):
                continue
            if mark[0].lower() in closes:
                if nested and held < 0:
                    held, held_at = len(out), mark.end()
                return mark
            nested += 1
        return None

    begin = at = len(text) - len(text.lstrip())
    if re.match(r"(analysis|commentary|final|to=self|to=user)<\|message\|>", text[at:]):
        kept, trim, at = False, True, harmony(CHANNEL, text, at)
    else:
        for word, closes in BEGINNINGS.items():
            if text[at:].startswith(word):
                begin = at + len(word)
                end = close(begin, word.lower() if word.lower() in PAIRS else "", closes)
                if end is None:
                    return text if complete else "", False
                kept, trim, at = False, True, end.end()
                break
    begin = at
    while mark := MARK.search(text, at):
        before, low = text[at : mark.start()], mark[0].lower()
        at = mark.end()
        if held >= 0 and held_at <= apart < mark.start():
            nested, held = 0, -1  # what was kept back was said when thoughts came beside the text
        opens = low in PAIRS or low.startswith("<think:")
        if quoted(mark, (*QUOTES, *STRAIGHT) if opens else QUOTES):
            say(before + mark[0])
        elif opens:
            first = not before.strip() and not out.strip()
            say(before)
            if first:
                kept, nested, held = False, 0, -1
            end = close(at, low, PAIRS.get(low) or [low.replace("<", "</")])
            if end is None:
                if complete and not first:
                    say(text[mark.start() :])
                at = len(text)
                break
            trim, at = True, end.end()
        elif HARMONY.fullmatch(low):
            say(before)
            kept, nested, held = False, 0, -1
            if low in ("<|start|>", CHANNEL):
                trim, at = True, harmony(low, text, at)
        elif low in WRAPPERS:
            say(before)
            trim = trim or not out.strip()
        elif held >= 0:
            out, trim, nested = out[:held], True, nested - 1
            held = held if nested else -1
        elif kept and at <= apart:
            orphan = trim = True
            kept = False
            out = ""
        else:
            orphan = True
            say(before)
    say(text[at:])
    if kept and chat.apart is None and opened is True and not complete:
        out = ""
    return out, orphan


def harmony(mark: str, text: str, at: int) -> int:
    """Where the text of gpt-oss's format goes on after a token that begins a header."""
    while mark in ("<|start|>", CHANNEL):
        end = text.find("<|message|>", at)
        if end < 0:
            return len(text)
        words = text[at:end].rpartition(CHANNEL)[2].split()
        at = end + len("<|message|>")
        if not words or (words[0] in ("final", "assistant", "to=user") and "to=self" not in words):
            return at
        ends = re.compile(r"<\|(end|return|call|start|channel|eom|eot)\|>", re.IGNORECASE).finditer(text, at)
        found = next(
            (mark for mark in ends if text[mark.start() - 1] + text[mark.end() :][:1] not in QUOTES), None
        )
        if found is None:
            return len(text)
        mark, at = found[0].lower(), found.end()
    return at
