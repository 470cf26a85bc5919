"""What goes wrong between robot and server: limits, statuses, addresses, keys, certificates, proxies."""

from __future__ import annotations

import base64
import email.utils
import json
import shutil
import ssl
import subprocess
import sys
import time

import pytest

from stride_ros.errors import BackendError, ConfigError
from stride_ros.response.backend import load_backend
from stride_ros.response.chat_stream import ServerSaidError
from stride_ros.response.server_retries import retry_after

pytestmark = pytest.mark.slow

pytest.importorskip("openai", reason="openai is not installed: run `python3 -m pip install openai`")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def piece(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def reply(status: str, body: object = "", *headers: str) -> list[bytes]:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", "Connection: close", *headers, "", ""]
    return ["\r\n".join(lines).encode() + data]


FINE = [HEAD, piece("Fine.", "stop")]


class Repeated:
    """Sends one part again and again, until the client has gone; ``pause`` in s is that of a slow server."""

    def __init__(self, *before: bytes, part: bytes, server, pause: float = 0.05) -> None:
        self.before, self.part, self.server, self.pause = before, part, server, pause

    def __iter__(self):
        yield from self.before
        while not self.server.over.wait(self.pause):
            yield self.part


# Limits: everything ends


ENDLESS = {
    "comments": ([HEAD], b": keep-alive\n\n"),
    "empty pieces": ([HEAD], piece("")),
    "white space": ([HEAD], piece(" \n")),
    "events without text": ([HEAD], b"data: {}\n\n"),
    "thoughts": ([HEAD], b'data: {"choices": [{"delta": {"reasoning_content": "Hm. "}}]}\n\n'),
    "thoughts in the text": ([HEAD, piece("<think>")], piece("Hm. ")),
    "comments after some text": ([HEAD, piece("A ")], b": keep-alive\n\n"),
    "early responses": ([], b"HTTP/1.1 100 Continue\r\n\r\n"),
    "header lines": ([b"HTTP/1.1 200 OK\r\n"], b"X-Slow: 1\r\n"),
    "a status line": ([b"HTTP/1.1 200 "], b"O"),
    "a line without end": ([HEAD], b"data: "),
}


@pytest.mark.parametrize(("before", "part"), ENDLESS.values(), ids=ENDLESS)
def test_without_text_an_answer_ends_after_the_read_timeout(raw_server, ask, before, part):
    raw_server.then(Repeated(*before, part=part, server=raw_server))
    said, error = ask(read_timeout=0.4, answer_timeout=60.0, max_retries=3)
    assert "read_timeout" in error
    assert said.strip() == ("A" if "A " in str(before) else "")
    assert len(raw_server.requests) == 1


def test_a_complete_answer_ends_although_comments_go_on(raw_server, ask):
    raw_server.then(Repeated(HEAD, piece("Fine.", "stop"), part=b": keep-alive\n\n", server=raw_server))
    assert ask(answer_timeout=600.0, read_timeout=600.0) == ("Fine.", "")


@pytest.mark.parametrize("cut", [2, 30])
def test_a_gap_in_the_line_after_a_finish_reason_is_no_end(raw_server, make_request, cut):
    """A packet that comes late, in the middle of the usage chunk or of a text that takes the reason back."""
    from stride_ros.response.openai_compatible import OpenAICompatibleBackend

    def slowly(part):
        yield from (HEAD, piece("A red "), piece("cup falls.", "stop"), part[:cut])
        raw_server.over.wait(1.5)  # three times as long as a finished answer is waited for
        yield from (part[cut:], b"data: [DONE]\n\n")

    usage = b'data: {"choices": [], "usage": {"completion_tokens": 5}}\n\n'
    raw_server.then(slowly(usage), slowly(piece(" It broke.", "stop")))
    backend = OpenAICompatibleBackend("m", base_url=raw_server.url, max_retries=0)
    request = make_request(1)
    assert "".join(backend.stream(request, lambda: False)) == "A red cup falls."
    assert backend.last_tokens == 5
    assert "".join(backend.stream(request, lambda: False)) == "A red cup falls. It broke."
    backend.close()


def test_a_first_answer_that_stalls_is_shown_although_comments_go_on(raw_server, make_request):
    raw_server.then(Repeated(HEAD, piece("A cup"), part=b": keep-alive\n\n", server=raw_server))
    backend = load_backend("openai", "m", base_url=raw_server.url, read_timeout=600.0)
    pieces = backend.stream(make_request(1), lambda: False)
    assert next(pieces) == "A cup"
    pieces.close()
    backend.close()


def test_an_answer_that_drips_ends_after_the_answer_timeout(raw_server, ask):
    raw_server.then(Repeated(HEAD, part=piece("a "), server=raw_server))
    said, error = ask(read_timeout=60.0, answer_timeout=1.0, connect_timeout=0.5)
    assert "raise answer_timeout" in error
    assert said.startswith("a ")


def test_an_answer_without_end_is_cut_at_a_multiple_of_what_was_asked_for(raw_server, ask):
    raw_server.then(Repeated(HEAD, part=piece("word " * 20), server=raw_server, pause=0.0))
    said, error = ask(max_new_tokens=8)
    assert "far beyond 8 tokens" in error
    assert 8 * 16 <= len(said) <= 8 * 16 + 100


def test_a_line_without_end_does_not_fill_the_memory(raw_server, ask):
    raw_server.then(Repeated(HEAD, part=b"x" * 65536, server=raw_server, pause=0.0))
    assert "longer than any answer" in ask()[1]


@pytest.mark.parametrize("status", ["500 Oops", "403 No"])
def test_an_error_without_end_is_cut(raw_server, ask, status):
    head = f"HTTP/1.1 {status}\r\n\r\nthe disk is full".encode()
    raw_server.then(Repeated(head, part=b" " * 8192, server=raw_server, pause=0.0))
    assert "the disk is full" in ask()[1]


@pytest.mark.parametrize("before", [[], [b"HTTP/1.1 200 OK\r\n\r\n["]])
def test_the_warm_up_ends_too(raw_server, before):
    raw_server.then(
        Repeated(*before, part=b" " if before else b"HTTP/1.1 102 Wait\r\n\r\n", server=raw_server)
    )
    backend = load_backend("openai", "m", base_url=raw_server.url, read_timeout=0.3, connect_timeout=0.3)
    with pytest.raises(BackendError, match="did not answer in time"):
        backend.warm_up()
    backend.close()


@pytest.mark.parametrize(
    ("body", "known"),
    [
        ({"data": [{"id": "m"}]}, True),
        ({"object": "list", "data": [{"id": "m:latest"}]}, True),
        ({"data": [{"id": "models/m"}]}, True),
        ({"models": [{"name": "m", "model": "m"}]}, True),
        ([{"id": "m"}], True),
        ({"data": []}, True),
        ({"data": [{"id": "other"}]}, "use one of other"),
        ({"error": {"message": "the scheduler is down"}}, "the scheduler is down"),
        ("<html><title>Sign in</title>", "a web page, Sign in"),
    ],
)
def test_lists_of_models_in_the_usual_spellings(raw_server, body, known):
    raw_server.then(reply("200 OK", body))
    backend = load_backend("openai", "m", base_url=raw_server.url)
    if known is True:
        backend.warm_up()
    else:
        with pytest.raises(BackendError, match=known):
            backend.warm_up()
    backend.close()


# Statuses


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        ("400 Bad", {"error": {"message": "At most 1 image"}}, "refused the request (400: At most 1 image)"),
        (
            "401 No",
            {"detail": "who are you?"},
            "(401: who are you?); set the environment variable OPENAI_API_KEY",
        ),
        ("402 Pay", {"error": {"message": "Insufficient credits"}}, "quota"),
        ("403 No", {"error": {"message": "Country not supported"}}, "(403: Country not supported)"),
        ("403 No", "<html><title>Blocked by the firewall</title></html>", "(403: Blocked by the firewall)"),
        ("404 No", {"message": "model not found"}, "(404: model not found); check model and base_url"),
        ("405 No", "", "check base_url"),
        ("413 Large", {"error": "too many bytes"}, "lower max_frames, image_size or jpeg_quality"),
        ("422 No", {"detail": [{"loc": ["body"], "msg": "field required"}]}, "(422: body: field required)"),
        ("429 Busy", [{"error": {"message": "You exceeded your current quota"}}], "quota"),
        ("429 Busy", {"error": {"code": "insufficient_quota", "message": "Buy more"}}, "(429: Buy more)"),
        ("501 No", {"error": "not here"}, "failed (501: not here)"),
        ("418 Teapot", b"\x1b[2Jforged\nline".decode(), r"(418: \x1b[2Jforged line)"),
    ],
)
def test_a_lasting_status_is_told_with_the_servers_words_and_not_tried_again(
    raw_server, ask, status, body, words
):
    raw_server.then(reply(status, body))
    said, error = ask(max_retries=2)
    assert said == ""
    assert words in error
    assert error.isprintable()
    assert len(raw_server.requests) == 1


@pytest.mark.parametrize("status", ["408 Slow", "429 Busy", "500 Oops", "502 Bad", "503 Down", "529 Full"])
def test_a_passing_status_is_tried_again(raw_server, ask, status):
    raw_server.then(reply(status, {"error": "later"}, "Retry-After: 0.01"), FINE)
    assert ask(max_retries=1) == ("Fine.", "")


@pytest.mark.parametrize("words", ["Loading model", "The engine is starting", "warming up"])
def test_a_server_that_is_still_loading_is_not_said_to_have_failed(raw_server, ask, words):
    raw_server.then(reply("503 Service Unavailable", {"error": {"code": 503, "message": words}}))
    assert f"is not ready yet (503: {words}); wait for it, or raise max_retries." in ask()[1]


PASSING = {
    "a code": {"code": 429},
    "a code in letters": {"code": "503"},
    "OpenAI, a limit": {"type": "requests", "code": "rate_limit_exceeded", "message": "Slow down."},
    "OpenAI, a fault": {"type": "server_error", "code": None, "message": "Sorry about that."},
    "Anthropic": {"type": "overloaded_error", "message": "Overloaded"},
    "Gemini": {"status": "UNAVAILABLE", "message": "Try later."},
    "vLLM's old type": {"type": "InternalServerError", "message": "Oops"},
    "only words": "Model is temporarily unavailable",
    "words with a wait": {"message": "You exceeded your current quota. Please retry in 10ms."},
}


@pytest.mark.parametrize("said", PASSING.values(), ids=PASSING)
def test_so_is_a_passing_error_before_the_first_text(raw_server, ask, said):
    raw_server.then([HEAD, b"data: " + json.dumps({"error": said}).encode() + b"\n\n"], FINE)
    assert ask(max_retries=1) == ("Fine.", "")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"code": "rate_limit_exceeded", "message": "Retry in 2m."}, "busy (Retry in 2m; it asks to wait 1"),
        ({"code": "rate_limit_exceeded", "message": "You exceeded your current quota"}, "quota is used up"),
        ({"type": "server_error", "message": "image input is not supported"}, "serve a vision model"),
        ({"type": "server_error", "message": "the prompt is too long"}, "lower max_frames"),
        ({"type": "invalid_request_error", "message": "No such role"}, "(No such role); check its log"),
        ({"code": 400, "type": "server_error", "message": "No"}, "(No); check its log"),
    ],
)  # fmt: skip
def test_a_lasting_error_in_an_answer_is_told_and_not_tried_again(raw_server, ask, said, words):
    raw_server.then([HEAD, b"data: " + json.dumps({"error": said}).encode() + b"\n\n"], FINE)
    assert words in ask(max_retries=1)[1]
    assert len(raw_server.requests) == 1


def test_the_wait_in_the_words_of_an_answer_counts():
    assert retry_after(ServerSaidError("Please try again in 1.2s.", "rate_limit_exceeded")) == 1.2


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_wait_that_is_too_long_for_a_robot_is_not_waited_for(raw_server, ask, form):
    wait = "3600" if form == "seconds" else email.utils.formatdate(time.time() + 3600, usegmt=True)
    raw_server.then(reply("429 Busy", {"error": "slow down"}, f"Retry-After: {wait}"))
    assert "asks to wait 3" in ask(max_retries=2)[1]
    assert len(raw_server.requests) == 1


@pytest.mark.parametrize("wait", ["date", "nan", "soon", "-5"])
def test_other_spellings_of_the_wait(raw_server, ask, wait):
    wait = email.utils.formatdate(time.time() - 5, usegmt=True) if wait == "date" else wait
    raw_server.then(reply("503 Down", "", f"Retry-After: {wait}"), FINE)
    assert ask(max_retries=1) == ("Fine.", "")


def test_a_rate_limit_that_speaks_of_quota_but_says_when_is_tried_again(raw_server, ask):
    raw_server.then(reply("429 Busy", {"error": "exceeded your current quota"}, "Retry-After: 0.01"), FINE)
    assert ask(max_retries=1) == ("Fine.", "")


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 429, "details": [{"@type": "RetryInfo", "retryDelay": "0.2s"}]}},
        {"error": {"message": "You exceeded your current quota. Please retry in 200ms."}},
        {"error": {"message": "Rate limit reached. Please try again in 0.2s. Need more tokens?"}},
    ],
    ids=["Gemini's endpoint", "in words, ms", "in words, s"],
)
def test_a_wait_in_the_body_counts_too(raw_server, ask, body):
    raw_server.then(reply("429 Busy", body), FINE)
    assert ask(max_retries=1) == ("Fine.", "")


def test_a_long_wait_in_the_body_is_told(raw_server, ask):
    raw_server.then(reply("429 Busy", {"error": {"message": "Please try again in 1m2.5s."}}), FINE)
    assert "asks to wait 62 s" in ask(max_retries=1)[1]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (500, "image input is not supported - hint: you may need to provide the mmproj"),
        (500, 'Failed to parse messages: Unsupported content part type: "image_url"'),
        (500, "this model is missing data required for image input"),
        (400, "At most 0 image(s) may be provided in one request."),
        (404, "No endpoints found that support image input"),
        (400, "Model does not support images. Please use a model that does."),
        (400, "messages[0]: unknown variant `image_url`, expected `text`"),
        (400, "'messages.0.content' : value must be a string"),
    ],
)
def test_a_model_without_eyes_is_told_and_not_asked_again(raw_server, ask, status, words):
    raw_server.then(reply(f"{status} No", {"error": {"message": words}}))
    error = ask(max_retries=2)[1]
    assert words[:20] in error
    assert "serve a vision model" in error
    assert len(raw_server.requests) == 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (500, "the request exceeds the available context size. try increasing the context size"),
        (400, "This model's maximum context length is 4096 tokens. However, you requested 9000 tokens"),
        (400, "At most 1 image(s) may be provided in one request."),
        (200, "At most 4 images may be provided in one prompt."),
    ],
)
def test_a_request_that_is_too_much_is_not_made_again(raw_server, ask, status, words):
    raw_server.then(reply(f"{status} No", {"error": {"message": words, "code": 500}}))
    error = ask(max_retries=2)[1]
    assert words[:20] in error
    assert "lower max_frames" in error
    assert len(raw_server.requests) == 1


@pytest.mark.parametrize(
    "words",
    [
        "Unsupported value: 'temperature' does not support 0.0 with this model.",
        "`temperature` is deprecated for this model.",
    ],
)
def test_a_model_with_one_temperature_is_asked_without_it(raw_server, ask, words):
    raw_server.then(reply("400 No", {"error": {"message": words, "param": "temperature"}}), FINE)
    assert ask(temperature=0.0) == ("Fine.", "")
    assert ask(temperature=0.0) == ("Fine.", "")
    assert ["temperature" in json.loads(body) for _, body in raw_server.requests] == [True, False, False]


def test_the_newer_name_of_the_limit_costs_no_retry(raw_server, ask):
    refusal = {"error": {"message": "Use 'max_completion_tokens' instead."}}
    raw_server.then(reply("400 Bad", refusal), FINE)
    assert ask(max_retries=0, max_new_tokens=7) == ("Fine.", "")
    assert json.loads(raw_server.requests[1][1])["max_completion_tokens"] == 7


# Redirects


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_frames_and_keys_are_not_sent_on_to_another_server(raw_server, ask, monkeypatch, status, name):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    other = type(raw_server)().then(FINE)
    raw_server.then(reply(f"{status} Moved", "", f"Location: http://{name}:{other.port}/v1/chat/completions"))
    said, error = ask(max_retries=2)
    assert f"http://{name}:{other.port}/v1/chat/completions; set base_url" in error
    assert (said, other.requests, len(raw_server.requests)) == ("", [], 1)
    other.close()


def test_an_error_where_v1_is_missing_names_base_url(raw_server, ask):
    """LM Studio answers a path that it does not know with status 200."""
    raw_server.then(reply("200 OK", {"error": "Unexpected endpoint or method."}))
    _, error = ask(base_url=raw_server.url.removesuffix("/v1"))
    assert "(Unexpected endpoint or method)" in error
    assert error.endswith("check its log, and base_url, which ends in /v1 for most servers.")


def test_a_redirect_on_the_same_server_is_followed(raw_server, ask):
    raw_server.then(reply("307 Moved", "", "Location: /v2/chat/completions"), FINE)
    assert ask() == ("Fine.", "")
    assert raw_server.requests[1][0].startswith("POST /v2/")
    assert raw_server.requests[1][1] == raw_server.requests[0][1]


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_would_lose_the_frames_is_told(raw_server, ask, status):
    raw_server.then(reply(f"{status} Moved", "", "Location: /elsewhere"), FINE)
    assert "/elsewhere; set base_url" in ask()[1]
    assert len(raw_server.requests) == 1


def test_a_redirect_in_a_circle_ends(raw_server, ask):
    raw_server.then(reply("307 Moved", "", "Location: /v1/chat/completions"))
    assert ask()[1].endswith(".")


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        *("", "localhost:8000", "ftp://host/v1", "http://", "http:///v1", "http://host:port/v1"),
        *("http://host:99999/v1", "http://host:0/v1", "http://[::1/v1", "http://a b/v1", "http://a\nb/v1"),
        *("http://user:sk-secret@/v1", "http://ho\x00st/v1", "http://" + "a" * 300 + "/v1", "http://-.-/\\"),
    ],
)
def test_what_is_no_url_is_refused_in_one_sentence(url):
    with pytest.raises(ConfigError, match="give one like http://localhost:8000/v1") as refused:
        load_backend("openai", "m", base_url=url)
    assert "sk-secret" not in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("form", ["{}", " {}\n", "{}/", "{}/chat/completions"])
def test_the_usual_spellings_of_an_address(raw_server, ask, form):
    raw_server.then(FINE)
    assert ask(base_url=form.format(raw_server.url)) == ("Fine.", "")
    assert raw_server.requests[0][0].startswith("POST /v1/chat/completions ")


def test_a_query_in_the_address_stays_as_azure_wants_it(raw_server, ask):
    raw_server.then(FINE)
    assert ask(base_url=raw_server.url + "?api-version=2024-06-01") == ("Fine.", "")
    assert raw_server.requests[0][0].startswith("POST /v1/chat/completions?api-version=2024-06-01 ")


def test_a_password_in_the_address_is_used_and_never_told(raw_server, ask):
    raw_server.then(FINE, reply("500 Oops", "user:pa55word is wrong"))
    url = raw_server.url.replace("//", "//user:pa55word@")
    assert ask(base_url=url) == ("Fine.", "")
    assert "authorization: Basic" in raw_server.requests[0][0].replace("Authorization", "authorization")
    assert "pa55word" not in ask(base_url=url)[1]


def test_the_header_of_a_password_is_never_told(raw_server, ask):
    pair = base64.b64encode(b"user:p@55").decode()
    raw_server.then(reply("500 Oops", f"Authorization: Basic {pair}"))
    for spelling in ("user:p@55@", "user:p%4055@"):
        error = ask(base_url=raw_server.url.replace("//", f"//{spelling}"))[1]
        assert "Basic ***" in error
        assert "p@55" not in error


def test_a_key_in_the_query_is_never_told(raw_server, ask):
    raw_server.then(reply("500 Oops", "POST /v1/chat/completions?key=sk-secret failed"))
    assert "sk-secret" not in ask(base_url=raw_server.url + "?key=sk-secret")[1]
    raw_server.then(reply("307 Moved", "", "Location: http://other.invalid/v1?api-key=sk-secret&x=1"))
    error = ask()[1]
    assert "sk-secret" not in error
    assert "&x=1" in error
    with pytest.raises(ConfigError) as refused:
        load_backend("openai", "m", base_url="http://a b/v1?token=sk-secret")
    assert "sk-secret" not in str(refused.value)


def test_a_zone_of_an_address_is_understood_as_in_urls_and_as_people_write_it(ask):
    spellings = [f"http://[fe80::1{zone}]:9/v1" for zone in ("%25nosuch0", "%nosuch0")]
    assert len({ask(base_url=url)[1] for url in spellings}) == 1


def test_a_host_that_does_not_exist(ask):
    error = ask(base_url="http://no-such-host.invalid/v1")[1]
    assert "no-such-host.invalid" in error
    assert "correct base_url" in error


def test_a_server_that_does_not_speak_http(raw_server, ask):
    raw_server.then([b"SSH-2.0-OpenSSH_9.6\r\n\r\n"])
    assert "does not speak HTTP" in ask()[1]


# Keys


@pytest.mark.parametrize("key", ["sk-secret\n", " sk-secret\r\n", '"sk-secret"', "'sk-secret'"])
def test_what_clings_to_a_key_is_taken_off(raw_server, ask, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    raw_server.then(FINE)
    assert ask() == ("Fine.", "")
    assert "Bearer sk-secret\r\n" in raw_server.requests[0][0] + "\r\n"


@pytest.mark.parametrize(
    "key", ["\u201csk-secret\u201d", "sk-\nsecret", "sk secret", "sk-s\u00e9cret", "sk-\x7f"]
)
def test_a_key_that_cannot_be_one_names_the_variable_and_not_the_key(monkeypatch, key):
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(ConfigError, match="environment variable MY_KEY") as refused:
        load_backend("openai", "m", api_key_env="MY_KEY")
    assert "cret" not in str(refused.value)


@pytest.mark.parametrize("cut", range(150, 215, 8))
def test_a_key_is_removed_before_a_text_is_cut(raw_server, ask, monkeypatch, cut):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ab/cd+ef")
    raw_server.then(reply("400 Bad", {"error": "x" * cut + "sk-ab/cd+ef sk-ab%2Fcd%2Bef"}))
    error = ask()[1]
    assert "sk-" not in error


@pytest.mark.parametrize("cut", [1, 7, 14])
def test_a_key_in_an_answer_is_not_said_in_however_many_events(raw_server, ask, monkeypatch, cut):
    key = "sk-S3cret-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    raw_server.then(
        [HEAD, *map(piece, ["You sent ", key[:cut], key[cut:]]), piece(", and a cup falls.", "stop")]
    )
    assert ask() == ("You sent ***, and a cup falls.", "")


def test_the_clouds_ids_go_to_no_other_server(raw_server, ask, monkeypatch):
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "org-secret")
    raw_server.then(FINE)
    assert ask() == ("Fine.", "")
    assert "org-secret" not in raw_server.requests[0][0]


# Certificates and proxies


def test_certificates_that_are_not_there_are_named(monkeypatch, tmp_path):
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    named = [("SSL_CERT_FILE", "/nowhere.pem"), ("SSL_CERT_FILE", str(empty)), ("SSL_CERT_DIR", "/nowhere")]
    for name, value in named:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        monkeypatch.setenv(name, value)
        with pytest.raises(ConfigError, match=name) as refused:
            load_backend("openai", "m", base_url="https://localhost/v1")
        assert value in str(refused.value)


@pytest.fixture
def secure_server(tmp_path, raw_server):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
            ),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = type(raw_server)(context).then(FINE)
    server.certificate = certificate
    yield server
    server.close()


def test_a_certificate_that_nobody_signed_is_told(secure_server, ask, monkeypatch):
    error = ask(base_url=secure_server.url, max_retries=2)[1]
    assert "not trusted (self" in error
    assert "SSL_CERT_FILE" in error
    monkeypatch.setenv("SSL_CERT_FILE", str(secure_server.certificate))
    assert ask(base_url=secure_server.url) == ("Fine.", "")


def test_https_where_http_is_spoken_and_the_other_way_round(secure_server, raw_server, ask):
    raw_server.then(reply("400 Bad", ""))
    assert "use http://" in ask(base_url=raw_server.url.replace("http:", "https:"))[1]
    assert "http" in ask(base_url=secure_server.url.replace("https:", "http:"))[1]


def test_no_proxy_stands_before_this_machine(raw_server, ask, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9/")
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9/")
    raw_server.then(FINE)
    assert ask() == ("Fine.", "")


@pytest.mark.parametrize("free", ["198.51.100.0/24", "localhost, 198.51.100.7", "198.51.100.7:9", "*"])
def test_a_network_that_needs_no_proxy_is_reached_without(ask, raw_server, monkeypatch, free):
    monkeypatch.setenv("HTTP_PROXY", raw_server.url)
    raw_server.then(FINE)
    assert ask(base_url="http://198.51.100.7:9/v1") == ("Fine.", "")
    monkeypatch.setenv("NO_PROXY", free)
    ask(base_url="http://198.51.100.7:9/v1/", connect_timeout=0.5)
    assert len(raw_server.requests) == 1


@pytest.mark.parametrize("free", ["fe80::/10", "[::1]", "localhost,127.0.0.0/8,::1/128", "a b", "http://x"])
def test_what_no_proxy_holds_beside_does_no_harm(ask, raw_server, monkeypatch, free):
    monkeypatch.setenv("NO_PROXY", free)
    monkeypatch.setenv("HTTP_PROXY", raw_server.url)
    raw_server.then(FINE)
    assert ask(base_url="http://gpu-server.invalid/v1") == ("Fine.", "")


def test_a_proxy_that_does_not_answer_is_named_without_its_password(ask, monkeypatch, raw_server):
    monkeypatch.setenv("HTTP_PROXY", "http://user:pa55word@127.0.0.1:9/")
    error = ask(base_url="http://gpu-server.invalid/v1")[1]
    assert "proxy http://127.0.0.1:9/" in error
    assert "NO_PROXY" in error
    assert "pa55word" not in error


def test_a_proxy_that_refuses_is_named(ask, monkeypatch, raw_server):
    raw_server.then(reply("407 Proxy Authentication Required", ""))
    monkeypatch.setenv("HTTPS_PROXY", raw_server.url.removesuffix("/v1"))
    error = ask(base_url="https://gpu-server.invalid/v1")[1]
    assert "proxy" in error.lower()


@pytest.mark.parametrize("proxy", ["socks9://host:1", "http://[::1", "http://host:port"])
def test_a_proxy_that_cannot_be_one_is_told(monkeypatch, raw_server, proxy):
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(ConfigError, match="HTTP_PROXY"):
        load_backend("openai", "m", base_url="http://gpu-server.invalid/v1")


def test_no_task_is_left_at_the_end_of_a_process(raw_server, tmp_path):
    """Also when an answer is dropped half-way and the process ends at once."""
    raw_server.then([HEAD, piece("A "), None])
    code = f"""
import numpy as np
from stride_ros.response.backend import ResponseRequest, load_backend
from stride_ros.response.backend import TimedFrame
backend = load_backend("openai", "m", base_url={raw_server.url!r}, read_timeout=0.5)
request = ResponseRequest("q", (TimedFrame(np.zeros((8, 8, 3), np.uint8), 0.0),), 0.0)
try:
    print(list(backend.stream(request, lambda: False)))
except Exception as error:
    print(type(error).__name__)
next(backend.stream(request, lambda: True), None)
backend.close()
"""
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "BackendError\n"
    assert "was destroyed" not in done.stderr
    assert "never awaited" not in done.stderr
