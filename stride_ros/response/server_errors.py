"""Describe errors of a server in one sentence with the remedy."""

from __future__ import annotations

import html
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stride_ros.errors import causes
from stride_ros.response.answer_reader import (
    CutOffError,
    EndlessError,
    NotAChatError,
    OnlyThoughtsError,
    RefusedError,
    UnfinishedError,
)
from stride_ros.response.chat_stream import FILTERED, TOO_LONG, TOOLS, ServerSaidError, error_of, words_of
from stride_ros.response.event_stream import TooLongError
from stride_ros.response.redaction import Secrets
from stride_ros.response.server_address import Address
from stride_ros.response.server_client import RedirectError, StatusError
from stride_ros.response.server_retries import (
    LONGEST_WAIT,
    is_busy,
    is_of_the_line,
    is_quota,
    retry_after,
    takes_no_images,
    tls_error,
    was_too_much,
)
from stride_ros.text.foreign import visible


class NoTextError(Exception):
    """No text came for `seconds`; `thinking`: thoughts did; `begun`: some text had come before."""

    def __init__(self, seconds: float, *, thinking: bool = False, begun: bool = False) -> None:
        super().__init__(seconds)
        self.seconds = seconds
        self.thinking = thinking
        self.begun = begun


class TooSlowError(Exception):
    """The answer was not complete after `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclass(frozen=True)
class ServerFacts:
    """The facts about a server that the sentences name; `has_key` tells whether a key is sent."""

    address: Address
    model: str
    key_name: str
    has_key: bool
    max_new_tokens: int
    secrets: Secrets


def reason(error: Exception, facts: ServerFacts) -> str:
    """One sentence about `error`, ending with the remedy."""
    where = facts.address.shown
    for kind, sentence in _SENTENCES.items():
        if isinstance(error, kind):
            return f"The server at {where} {sentence(error, facts)}"
    if isinstance(error, UnfinishedError):
        return _unfinished(error, facts)
    if isinstance(error, StatusError):
        return _status_reason(error, facts)
    if isinstance(error, EndlessError):
        return (
            f"{facts.model} went on far beyond {facts.max_new_tokens} tokens, and the rest was left out; use "
            "a server that honours max_tokens, or raise max_new_tokens."
        )
    if isinstance(error, RefusedError):
        return f"{facts.model} refused to answer ({_said(str(error), facts)}): change the query or the model."
    return _line_reason(error, facts)


_SENTENCES: dict[type[Exception], Callable[[Any, ServerFacts], str]] = {
    NoTextError: lambda error, facts: (
        f"sent thoughts but no text for {error.seconds:g} s: turn thinking off, or raise read_timeout."
        if error.thinking
        else f"did not answer in time: no text came for {error.seconds:g} s; check its load, or raise "
        "read_timeout."
    ),
    TooSlowError: lambda error, facts: (
        f"did not finish its answer within {error.seconds:g} s; check its load, or raise answer_timeout."
    ),
    OnlyThoughtsError: lambda error, facts: (
        "sent thoughts but no text: turn thinking off at the server, or raise max_new_tokens."
    ),
    TooLongError: lambda error, facts: (
        "sent a line that is longer than any answer, which is not a chat completion; check base_url."
    ),
    RedirectError: lambda error, facts: (
        f"redirects to {_said(error.target, facts)}; set base_url to that server if you trust it."
    ),
    NotAChatError: lambda error, facts: (
        f"did not return a chat completion ({_page_or_words(str(error), facts)}); check base_url, which ends "
        "in /v1 for most servers."
    ),
    ServerSaidError: lambda error, facts: _in_answer(error, facts),
    CutOffError: lambda error, facts: (
        "ended its answer before it was complete: the connection was lost during the answer; check its log."
    ),
}


def _in_answer(error: ServerSaidError, facts: ServerFacts) -> str:
    """The rest of the sentence about an error that an answer reports."""
    said = _said(error.words, facts)
    if takes_no_images(error.words):
        return _no_images(said, facts)
    if is_quota(error):
        return f"reported that its quota is used up ({said}); raise it at the provider."
    if was_too_much(error.words):
        return f"refused the request ({said}); lower max_frames or image_size."
    if is_busy(error):
        return _busy(said, error)
    return f"reported an error in its answer ({said}); check its log{_address_hint(facts)}."


def _busy(quoted: str, error: StatusError | ServerSaidError) -> str:
    wait = retry_after(error)
    asks = f"; it asks to wait {wait:.0f} s" if wait > LONGEST_WAIT else ""
    return f"is busy ({quoted}{asks}); lower its load, or raise max_retries."


def _unfinished(error: UnfinishedError, facts: ServerFacts) -> str:
    why = error.reason
    kind = why.partition(":")[0]  # some append details
    if kind in TOO_LONG:
        return (
            f"{facts.model} was cut off after {facts.max_new_tokens} tokens ({_said(why, facts)}); raise "
            "max_new_tokens, or ask for shorter answers in system_prompt."
        )
    if kind in FILTERED:
        return (
            f"The content filter stopped {facts.model} ({_said(why, facts)}): change the query or the model."
        )
    if kind in TOOLS:
        return f"{facts.model} called a tool instead of answering: turn tools off at the server."
    return (
        f"The server at {facts.address.shown} ended the answer before it was complete "
        f"({_said(why, facts)}); check its log."
    )


def _no_images(quoted: str, facts: ServerFacts) -> str:
    return (
        f"takes no images with {facts.model} ({quoted}): serve a vision model, such as Qwen3-VL (llama.cpp "
        "also needs its --mmproj file)."
    )


def _status_reason(error: StatusError, facts: ServerFacts) -> str:
    status, where, proxy = error.status, facts.address.shown, facts.address.proxy
    if proxy:  # which may have sent the answer
        where += f" (through the proxy {_said(proxy, facts)})"
    said = _said(_words(error), facts)
    quoted = f"{status}: {said}" if said else str(status)
    if takes_no_images(error.body):
        return f"The server at {where} {_no_images(quoted, facts)}"
    if was_too_much(error.body) and status not in (401, 403, 404, 429):
        return f"The server at {where} refused the request ({quoted}); lower max_frames or image_size."
    if is_quota(error):
        return f"The quota at {where} is used up ({quoted}); raise it at the provider, or use another key."
    if status == 401:
        which = "" if facts.has_key else ", which is not set"
        return (
            f"The server at {where} refused the key{which} ({quoted}); set the environment variable "
            f"{facts.key_name}."
        )
    if status == 403:
        return (
            f"The server at {where} does not allow the request ({quoted}); check what the key in "
            f"{facts.key_name} may do."
        )
    if status == 404:
        return (
            f"The server at {where} does not know {facts.model} or the address ({quoted}); check model and "
            f"base_url{_hint(facts)}."
        )
    if status == 405:
        return (
            f"The server at {where} has no chat completions there ({quoted}); check base_url{_hint(facts)}."
        )
    if status == 407:
        return (
            f"The proxy in front of {where} requires a password ({quoted}); put it into HTTP_PROXY or "
            "HTTPS_PROXY."
        )
    if status == 413:
        return (
            f"The request is too large for {where} ({quoted}); lower max_frames, image_size or jpeg_quality."
        )
    if status == 429:
        return f"The server at {where} {_busy(quoted, error)}"
    if status == 503 and re.search(r"\b(loading|starting|warming up)\b", error.body, re.IGNORECASE):
        return f"The server at {where} is not ready yet ({quoted}); wait for it, or raise max_retries."
    if status >= 500:
        return f"The server at {where} failed ({quoted}); check its log."
    return f"The server at {where} refused the request ({quoted}); lower max_frames or check the model."


def _line_reason(error: Exception, facts: ServerFacts) -> str:
    """The sentence about a connection error, before or during an answer."""
    address = facts.address
    where = address.shown
    tls = tls_error(error)
    if tls is not None:
        return _tls_reason(tls, where)
    names = {type(cause).__name__ for cause in causes(error)}
    by = f" through the proxy {_said(address.proxy, facts)}" if address.proxy else ""
    if "ProxyError" in names:
        said = next(str(cause) for cause in causes(error) if type(cause).__name__ == "ProxyError")
        return (
            f"The proxy {_said(address.proxy, facts)} did not let {where} be reached ({_said(said, facts)}); "
            f"correct the proxy, or add {address.host} to NO_PROXY."
        )
    if names & {"ConnectError", "ConnectTimeout", "ConnectionRefusedError", "gaierror"}:
        if by:
            return (
                f"The server at {where} cannot be reached{by}; start it, correct the proxy, or add "
                f"{address.host} to NO_PROXY."
            )
        if "gaierror" in names:
            return (
                f"The server at {where} cannot be reached, since no address is known for {address.host}; "
                "correct base_url, or the network."
            )
        if address.secure and names & {"EndOfStream", "SSLEOFError", "ConnectionResetError"}:
            return (
                f"The server at {where} closed the secure connection; use http:// in base_url if it does not "
                "speak https, otherwise check its log."
            )
        if "ConnectTimeout" in names:
            return (
                f"The server at {where} cannot be reached in time; start it, correct base_url, or raise "
                "connect_timeout."
            )
        return f"The server at {where} cannot be reached; start it, or correct base_url."
    if any(re.search("illegal (status|request) line", str(cause)) for cause in causes(error)):
        return f"The server at {where} does not speak HTTP there; correct base_url (http or https, the port)."
    if is_of_the_line(error):
        return f"The connection to {where} was lost during the answer; check the server's log."
    said = _said(f"{type(error).__name__}: {error}", facts)
    return f"The server at {where} could not be used ({said}); check its log."


def _tls_reason(error: ssl.SSLError, where: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = visible(error.verify_message or str(error)).rstrip(".")
        return (
            f"The certificate of the server at {where} is not trusted ({why}); correct base_url, or name the "
            "file of its authority in the environment variable SSL_CERT_FILE."
        )
    if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return f"The server at {where} does not speak https; use http:// in base_url, or correct the port."
    return (
        f"No secure connection to {where} can be made ({visible(error.reason or str(error))}); check its log."
    )


def _address_hint(facts: ServerFacts) -> str:
    return "" if "/v1" in facts.address.url else ", and base_url, which ends in /v1 for most servers"


def _hint(facts: ServerFacts) -> str:
    return "" if "/v1" in facts.address.url else ", which ends in /v1 for most servers"


def _words(error: StatusError) -> str:
    value = error.value
    found = error_of(value)
    if found is not None:
        return found.words
    return words_of(value) if value else _page_title(error.body) or error.body


def _page_or_words(text: str, facts: ServerFacts) -> str:
    if text.lstrip().startswith("<"):
        title = _said(_page_title(text) or "", facts)
        return f"a web page, {title}" if title else "a web page"
    return _said(text, facts, 100)


def _page_title(text: str) -> str | None:
    """The title of a web page, or its first words; None if `text` is not a page."""
    if not text.lstrip().startswith("<"):
        return None
    found = re.search(r"<title[^>]*>(.{1,300}?)</title", text, re.IGNORECASE | re.DOTALL)
    words = found[1] if found else re.sub(r"<[^>]{0,300}>", " ", text[:4000])
    return html.unescape(words).strip()


def _said(text: str, facts: ServerFacts, longest: int = 200) -> str:
    """A server's words for use in a sentence: without keys, on one line, shortened."""
    return visible(facts.secrets.remove(text), longest).rstrip(".: ")
