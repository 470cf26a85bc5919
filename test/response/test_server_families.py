"""The shapes in which servers send chat completions, each over a real connection: docs/responder.md's table."""

# ruff: noqa: E501  (tables of what is sent: one situation a line)

from __future__ import annotations

import json

import pytest

pytest.importorskip("openai", reason="openai is not installed: run `python3 -m pip install openai`")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
SAID = "A red cup falls."
HANGS = None  # the connection stays open


def event(value: object, end: str = "\n\n") -> bytes:
    return ("data: " + (value if isinstance(value, str) else json.dumps(value)) + end).encode()


def chunk(text: object = None, /, finish: object = None, **fields: object) -> dict:
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish, **fields}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def delta(**fields: object) -> bytes:
    return event(chunk(delta=fields))


def document(value: object, **options: object) -> list[bytes]:
    data = json.dumps(value, **options).encode()
    return [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + data]


def whole(content: object, finish: object = "stop", **message: object) -> dict:
    said = {"role": "assistant", "content": content, **message}
    return {"object": "chat.completion", "choices": [{"index": 0, "message": said, "finish_reason": finish}]}


FIRST, SECOND = event(chunk("A red ")), event(chunk("cup falls."))
STOP, DONE = event(chunk(finish="stop")), event("[DONE]")
TEXT = [FIRST, SECOND]
USAGE = event({"choices": [], "usage": {"completion_tokens": 5}})
FILTER_RESULTS = event({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]})


def lines(*values: object) -> list[bytes]:
    return [HEAD, *(json.dumps(value).encode() + b"\n" for value in values)]


def cut_off(*parts: bytes) -> list[bytes]:
    """A response whose connection ends before it does."""
    head = HEAD.replace(b"Connection: close", b"Content-Length: 9999")
    return [head, *parts]


# family, shape: what is sent for one whole answer
ANSWERS = {
    "OpenAI": [HEAD, delta(role="assistant", content="", refusal=None), *TEXT, STOP, USAGE, DONE],
    "vLLM, reasoning parser": [HEAD, delta(reasoning_content="Hm, "), delta(reasoning="a cup."), *TEXT, STOP, DONE],
    "vLLM, no parser": [HEAD, event(chunk("Okay, the user ")), event(chunk("asks.\n</th")), event(chunk("ink>\n\n")), *TEXT, STOP, DONE],
    "vLLM, parser that sends null content": [HEAD, delta(content=None, reasoning_content="Hm"), *TEXT, STOP, DONE],
    "vLLM, gpt-oss without its parser": [
        HEAD,
        event(chunk("<|chan")), event(chunk("nel|>analysis<|message|>We see a cup.<|end|><|start|>assist")),
        event(chunk("ant<|channel|>final<|mess")), event(chunk("age|>")), *TEXT, event(chunk("<|return|>")), STOP, DONE,
    ],
    "gpt-oss, special tokens removed": [HEAD, event(chunk("analysisWe see a cup.assistantfin")), event(chunk("al")), *TEXT, STOP, DONE],
    "gpt-oss, first token removed": [HEAD, event(chunk("analysis<|message|>A cup.<|end|><|start|>assistant<|channel|>final<|message|>")), *TEXT, STOP, DONE],
    "vLLM, the reason with the last text and usage in each chunk": [
        HEAD,
        event({**chunk("A red "), "usage": {"completion_tokens": 2}}), event({**chunk("cup falls.", "stop", stop_reason=None), "usage": {"completion_tokens": 5}}), DONE,
    ],
    "SGLang, null role and content while it thinks": [HEAD, delta(role=None, content=None, reasoning_content="Hm"), delta(role=None, content=None), *TEXT, STOP, DONE],
    "SGLang, finish reason an object": [HEAD, *TEXT, event(chunk(finish={"type": "stop", "matched": 2})), DONE],
    "SGLang, empty finish reasons": [HEAD, event(chunk("A red ", "")), event(chunk("cup falls.", "")), DONE],
    "Ollama": [HEAD, delta(role="assistant", content="", reasoning="Hm."), *TEXT, event(chunk("", "stop")), DONE],
    "Ollama, empty finish reasons and the role in each chunk": [
        HEAD,
        event(chunk(finish="", delta={"role": "assistant", "content": "A red "})), event(chunk(finish="", delta={"role": "assistant", "content": "cup falls."})), STOP, DONE,
    ],
    "Ollama, progress while it loads": lines(
        {"model": "m", "message": {"role": "", "content": ""}, "done": False, "load_progress": 48},
        {"model": "m", "message": {"role": "assistant", "content": SAID}, "done": False},
        {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
    ),
    "Ollama, a reason but no done": lines(
        {"model": "m", "message": {"role": "assistant", "content": SAID}, "done": False},
        {"model": "m", "message": {"role": "assistant", "content": ""}, "done_reason": "stop"},
    ),
    "Ollama, its own protocol": lines(
        {"model": "m", "message": {"role": "assistant", "content": "", "thinking": "Hm."}, "done": False},
        {"model": "m", "message": {"role": "assistant", "content": "A red "}, "done": False},
        {"model": "m", "message": {"role": "assistant", "content": "cup falls."}, "done": False},
        {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop", "eval_count": 5},
    ),
    "Ollama, generate": lines({"response": "A red ", "done": False}, {"response": "cup falls.", "done": True}),
    "llama.cpp": [HEAD, delta(role="assistant", content=None), *TEXT, STOP, event({"choices": [], "usage": {}, "timings": {}}), DONE],
    "llama.cpp, thoughts in the text": [HEAD, event(chunk("<think>\nHm.")), event(chunk("\n</think>\n\n")), *TEXT, STOP, DONE],
    "LM Studio": [HEAD, event(chunk("<think>Hm. ")), event(chunk("</think>A red ")), SECOND, event(chunk(finish="stop", delta={})), DONE],
    "TGI": [HEAD, *TEXT, event(chunk("", "eos_token")), DONE],
    "TGI, no space after the colon": [HEAD, *(part.replace(b"data: ", b"data:") for part in (*TEXT, STOP)), b"data:[DONE]\n\n"],
    "TGI, text completions": [
        HEAD,
        event({"object": "text_completion", "choices": [{"index": 0, "text": "A red ", "finish_reason": ""}]}),
        event({"object": "text_completion", "choices": [{"index": 0, "text": "cup falls.", "finish_reason": "stop"}]}),
        DONE,
    ],
    "Azure": [HEAD, FILTER_RESULTS, *TEXT, event(chunk(finish="stop", content_filter_results={})), event({"choices": [{"index": 0, "content_filter_offsets": {}}]}), DONE],
    "OpenRouter": [HEAD, b": OPENROUTER PROCESSING\n\n", delta(role="assistant", content="", reasoning="Hm", reasoning_details=[{"text": "Hm"}]), *TEXT, event(chunk("", "stop", native_finish_reason="STOP")), USAGE, DONE],
    "Gemini's endpoint": [HEAD, *(part.replace(b"\n\n", b"\r\n\r\n") for part in (FIRST, event(chunk("cup falls.", "stop")))), b"data: [DONE]\r\n\r\n"],
    "Gemini's endpoint, thoughts": [
        HEAD,
        event(chunk(delta={"content": "<thought>Hm.", "extra_content": {"google": {"thought": True}}})),
        event(chunk("</thought>A red ")), event(chunk("cup falls.", "STOP")), DONE,
    ],
    "Mistral, parts": [
        HEAD,
        event(chunk([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}])),
        event(chunk([{"type": "text", "text": "A red "}])), event(chunk(["cup ", {"type": "text", "text": "falls."}], "stop")), DONE,
    ],
    "GLM-V, a box": [HEAD, event(chunk("<think>Hm.</think><|begin_of_")), event(chunk("box|>")), *TEXT, event(chunk("<|end_of_box|>")), STOP, DONE],
    "Hunyuan, tags around both": [HEAD, event(chunk("<think>\nHm.\n</think>\n<ans")), event(chunk("wer>\n")), *TEXT, event(chunk("</answer>")), STOP, DONE],
    "Apriel, a line before the answer": [HEAD, event(chunk("Here are my reasoning steps:\nHm.\n[BEGIN FINAL ")), event(chunk("RESPONSE]\n")), *TEXT, event(chunk("[END FINAL RESPONSE]")), STOP, DONE],
    "Command A Vision": [HEAD, event(chunk("<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>")), *TEXT, event(chunk("<|END_RESPONSE|>")), STOP, DONE],
    "llama.cpp, the end token in the text": [HEAD, *TEXT, event(chunk("<|im_")), event(chunk("end|>")), STOP, DONE],
    "Gemini's own names of the end": [HEAD, *TEXT, event({"choices": [{"index": 0, "delta": {}, "finishReason": "FinishReason.STOP"}]})],
    "the reason as a number": [HEAD, *TEXT, event(chunk(finish=1))],
    "Magistral": [HEAD, event(chunk("[THI")), event(chunk("NK]Hm.[/THINK]")), *TEXT, STOP, DONE],
    "Kimi-VL": [HEAD, event(chunk("◁think▷Hm.◁/thi")), event(chunk("nk▷")), *TEXT, STOP, DONE],
    "transformers serve, no [DONE]": [HEAD, delta(role="assistant"), *TEXT, STOP],
    "Together, the text twice in a chunk": [HEAD, event(chunk("A red ", text="A red ")), event(chunk("cup falls.", text="cup falls.")), STOP, DONE],
    "DashScope, null as a word": [HEAD, event(chunk("A red ", "null")), event(chunk("cup falls.", "stop")), DONE],
    "a reason in every chunk": [HEAD, event(chunk("A red ", "stop")), event(chunk("cup falls.", "stop")), DONE],
    "null delta at the end": [HEAD, *TEXT, event(chunk(finish="stop", delta=None)), DONE],
    "delta is a string": [HEAD, event(chunk(delta="A red ")), event(chunk(delta="cup falls.", finish="stop"))],
    "the whole answer repeated at the end": [HEAD, *TEXT, event(whole(SAID)), DONE],
    "the whole answer repeated in the last chunk": [HEAD, *TEXT, event(chunk(finish="stop", message={"content": SAID})), DONE],
    "messages for deltas, piece by piece": [HEAD, event(chunk(delta=None, message={"content": "A red "})), event(chunk(delta=None, message={"content": "cup falls."}, finish="stop")), DONE],
    "text beside a refusal": [HEAD, delta(content="A red ", refusal="I can't."), SECOND, STOP, DONE],
    "messages that hold all so far": [HEAD, event(chunk(delta=None, message={"content": "A red "})), event(chunk(delta=None, message={"content": SAID})), STOP, DONE],
    "no line ends at all": [HEAD, b"".join((*TEXT, STOP, DONE)).replace(b"\n", b"")],
    "values without anything between": [HEAD, b"".join(json.dumps(value).encode() for value in (chunk("A red "), chunk("cup falls."), chunk(finish="stop")))],
    "two events in a line": [HEAD, FIRST.rstrip() + SECOND.rstrip() + b"\n\n", STOP, DONE],
    "two answers at once": [HEAD, FIRST, event(chunk("It ", index=1)), SECOND, event(chunk("fell", index=1)), STOP, event(chunk(finish="stop", index=1)), DONE],
    "whole completion": document(whole(SAID)),
    "whole completion, indented": document(whole(SAID), indent=2),
    "whole completion, parts and no reason": document(whole([{"type": "text", "text": SAID}], finish=None)),
    "whole completion, connection stays open": [*document(whole(SAID)), HANGS],
    "whole completion on three lines, connection stays open": [*(part.replace(b'": "A', b'":\n\n"A') + b"\n\n" for part in document(whole(SAID))), HANGS],
    "whole completion on two lines, connection breaks": cut_off(json.dumps(whole(SAID)).replace(": {", ":\n{", 1).encode()),
    "whole completion in a stream": [HEAD, event(whole(SAID)), DONE],
    "list of chunks": document([chunk("A red "), chunk("cup falls.", "stop")]),
    "last newline missing": [HEAD, *TEXT, STOP.rstrip()],
    "open after the end": [HEAD, *TEXT, STOP, HANGS],
    "open after [DONE]": [HEAD, *TEXT, b"data: [DONE]\n", HANGS],
    "open after a line without an end": [HEAD, *TEXT, STOP.rstrip(), HANGS],
    "byte order mark": [HEAD, b"\xef\xbb\xbf" + FIRST, SECOND, STOP, DONE],
    "carriage returns": [HEAD, b"".join((*TEXT, STOP)).replace(b"\n", b"\r")],
    "no empty lines": [HEAD, b"".join((*TEXT, STOP, DONE)).replace(b"\n\n", b"\n")],
    "data over several lines": [HEAD, FIRST, *(b"data: " + line.encode() + b"\n" for line in json.dumps(chunk("cup falls.", "stop"), indent=1).splitlines()), b"\n", DONE],
    "ids, names, retries and comments": [HEAD, b": hello\nid: 1\nevent: message\nretry: 10\n", FIRST, b":\n\nevent\nid\n", SECOND, STOP, DONE],
    "data twice": [HEAD, *(b"data: " + part for part in (*TEXT, STOP, DONE))],
    "empty data and pings": [HEAD, b"data:\n\n", event({"type": "ping"}), FIRST, event("ping"), b"data\n\n", SECOND, STOP, DONE],
    "an error field that is null": [HEAD, event({**chunk("A red "), "error": None}), event({**chunk("cup falls.", "stop"), "error": {}}), DONE],
    "cut after the reason": cut_off(*TEXT, STOP),
    "cut after the reason, in its line": cut_off(*TEXT, STOP.rstrip()),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("sent", ANSWERS.values(), ids=ANSWERS)
def test_the_text_is_told_once_and_whole(raw_server, ask, sent):
    raw_server.then(sent)
    assert ask() == (SAID, "")
    assert ask() == (SAID, "")  # also when the server is known
    assert len(raw_server.requests) == 2


@pytest.mark.parametrize(
    "family", ["OpenAI", "Ollama, its own protocol", "whole completion, indented", "Kimi-VL"]
)
def test_however_the_bytes_are_cut(raw_server, ask, family):
    sent = b"".join(ANSWERS[family])
    raw_server.then([sent[i : i + 1] for i in range(len(sent))])
    assert ask() == (SAID, "")


# what is sent instead of an answer, or of its end: text so far, part of the error
FAULTS = {
    "length": ([HEAD, FIRST, event(chunk(finish="length")), DONE], "A red ", "raise max_new_tokens"),
    "max_tokens": ([HEAD, FIRST, event(chunk(finish="MAX_TOKENS"))], "A red ", "raise max_new_tokens"),
    "Ollama, length": (lines({"message": {"content": "A red "}, "done": True, "done_reason": "length"}), "A red ", "raise max_new_tokens"),
    "Gemini's own name of the end": ([HEAD, FIRST, event({"choices": [{"index": 0, "delta": {}, "finishReason": "MAX_TOKENS"}]}), DONE], "A red ", "raise max_new_tokens"),
    "length, beside the choices": ([HEAD, FIRST, event({"choices": [], "finish_reason": "length"}), DONE], "A red ", "raise max_new_tokens"),
    "length, as a number": ([HEAD, FIRST, event(chunk(finish=2)), DONE], "A red ", "raise max_new_tokens"),
    "length, its whole name": ([HEAD, FIRST, event(chunk(finish="FINISH_REASON_LENGTH")), DONE], "A red ", "raise max_new_tokens"),
    "cut in the middle of a chunk": ([HEAD, FIRST, SECOND[:20]], "A red ", "was lost"),
    "vLLM, images to a model without eyes": ([HEAD, event({"error": {"object": "error", "message": "The model is not multimodal.", "code": 400}}), DONE], "", "serve a vision model"),
    "whole completion, length": (document(whole("A red ", "length")), "A red ", "raise max_new_tokens"),
    "Gemini's endpoint, MAX_TOKENS without a delta": ([HEAD, FIRST, event({"choices": [{"index": 0, "finish_reason": "MAX_TOKENS"}]}), DONE], "A red ", "raise max_new_tokens"),
    "Gemini's endpoint, a filter and its kind": ([HEAD, FIRST, event(chunk(finish="content_filter: RECITATION")), DONE], "A red ", "content filter"),
    "vLLM, an error after the beginning": ([HEAD, FIRST, event({"error": {"message": "Model is overloaded", "type": "InternalServerError", "param": None, "code": 500}}), DONE], "A red ", "Model is overloaded"),
    "Ollama, an error in its own protocol": (lines({"message": {"content": "A red "}, "done": False}, {"error": "Model is overloaded"}), "A red ", "Model is overloaded"),
    "llama.cpp, an error as an event": ([HEAD, FIRST, event({"error": {"code": 500, "message": "Model is overloaded", "type": "server_error"}})], "A red ", "Model is overloaded"),
    "LM Studio, a path that it does not know": (document({"error": "Unexpected endpoint or method. (POST /chat/completions)"}), "", "Unexpected endpoint or method. (POST /chat/completions)"),
    "LM Studio, an error event": ([HEAD, FIRST, b'event: error\ndata: {"error": {"message": "Model is overloaded"}}\n\n'], "A red ", "Model is overloaded"),
    "TGI, an error in the stream": ([HEAD, FIRST, event({"error": "Model is overloaded", "error_type": "generation"})], "A red ", "Model is overloaded"),
    "OpenRouter, a provider that fails": ([HEAD, FIRST, event({"error": {"code": 502, "message": "Model is overloaded"}, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]})], "A red ", "Model is overloaded"),
    "content_filter": ([HEAD, FIRST, event(chunk(finish="content_filter")), DONE], "A red ", "content filter"),
    "SAFETY": ([HEAD, FIRST, event(chunk(finish="SAFETY")), DONE], "A red ", "content filter"),
    "error": ([HEAD, FIRST, event(chunk(finish="error")), DONE], "A red ", "before it was complete"),
    "abort": ([HEAD, FIRST, event(chunk(finish={"type": "abort", "message": "x"})), DONE], "A red ", "(abort)"),
    "a reason of its own": ([HEAD, FIRST, event(chunk(finish="insufficient_system_resource"))], "A red ", "insufficient_system_resource"),
    "tool call": ([HEAD, delta(tool_calls=[{"index": 0, "function": {"name": "look", "arguments": "{}"}}]), event(chunk(finish="tool_calls")), DONE], "", "called a tool"),
    "tool call that stops": ([HEAD, delta(tool_calls=[{"index": 0}]), STOP, DONE], "", "called a tool"),
    "refusal": ([HEAD, delta(refusal="I can't "), delta(refusal="look."), STOP, DONE], "", "refused to answer (I can't look)"),
    "no end": ([HEAD, FIRST], "A red ", "was lost"),
    "nothing": ([HEAD], "", "was lost"),
    "a line that breaks off behind a whole event": (cut_off(FIRST, SECOND.rstrip()), SAID, "was lost"),
    "an error that breaks off behind its words": (cut_off(FIRST, event({"error": "Model is overloaded"}).rstrip()), "A red ", "Model is overloaded"),
    "text after an end": ([HEAD, FIRST, STOP, SECOND], SAID, "was lost"),
    "half a whole completion": ([part[:-30] for part in document(whole(SAID))], "", "a chat completion"),
    "broken JSON": ([HEAD, FIRST, b'data: {"choices": [{"delta": {"content": "cup\n\n', STOP, DONE], "A red ", "a chat completion"),
    "another protocol": ([HEAD, event({"candidates": [{"text": SAID}]})], "", "a chat completion"),
    "a page": ([HEAD, b"<!DOCTYPE html><html><head><title>Sign in &amp; go</title>"], "", "a web page, Sign in & go); check base_url"),
    "a page that never ends": ([HEAD, b"<html>" + b" " * 2000, HANGS], "", "check base_url"),
    "plain words": ([HEAD, b"upstream connect error"], "", "upstream connect error"),
    "words in the stream": ([HEAD, FIRST, b"Internal Server Error"], "A red ", "Internal Server Error"),
    "words as an event": ([HEAD, event("the model fell over")], "", "the model fell over"),
    "error object": (document({"error": {"message": "Model is overloaded", "code": 400}}), "", "Model is overloaded"),
    "error text": (document({"error": "Model is overloaded"}), "", "Model is overloaded"),
    "error, true": (document({"error": True, "message": "Model is overloaded"}), "", "Model is overloaded"),
    "errors": (document({"errors": [{"message": "Model is"}, "overloaded"]}), "", "Model is; overloaded"),
    "detail": (document({"detail": "Model is overloaded"}), "", "Model is overloaded"),
    "detail, a list": (document({"detail": [{"loc": ["body", "model"], "msg": "Model is overloaded"}]}), "", "body.model: Model is overloaded"),
    "message and code": (document({"message": "Model is overloaded", "code": 50501}), "", "Model is overloaded"),
    "list of errors": (document([{"error": {"message": "Model is overloaded", "status": "UNAVAILABLE"}}]), "", "Model is overloaded"),
    "error object in the stream": ([HEAD, FIRST, event({"object": "error", "message": "Model is overloaded"}), DONE], "A red ", "Model is overloaded"),
    "error text in the stream": ([HEAD, FIRST, event({"error": "Model is overloaded", "error_type": "x"})], "A red ", "Model is overloaded"),
    "error event": ([HEAD, FIRST, b'event: error\ndata: {"message": "Model is overloaded"}\n\n'], "A red ", "Model is overloaded"),
    "error event, words": ([HEAD, FIRST, b"event: error\ndata: Model is overloaded\n\n"], "A red ", "Model is overloaded"),
    "error line": ([HEAD, FIRST, b'error: {"code": 500, "message": "Model is overloaded"}\n\n'], "A red ", "Model is overloaded"),
    "error in a choice": ([HEAD, FIRST, event({"choices": [{"index": 0, "delta": {}, "error": {"message": "Model is overloaded"}, "finish_reason": "error"}]})], "A red ", "Model is overloaded"),
    "error of a router's provider": (document({"error": {"message": "Provider returned error", "metadata": {"raw": '{"x": "Model is overloaded"}'}}}), "", "Model is overloaded"),
    "error without words": (document({"error": {"code": 503}}), "", "503"),
    "error with its own chunk's text": ([HEAD, event({**chunk("A red "), "error": {"message": "Model is overloaded"}})], "A red ", "Model is overloaded"),
    "a quota in the stream": ([HEAD, event({"error": {"code": "insufficient_quota", "message": "Buy more"}})], "", "quota is used up (Buy more)"),
    "nothing but thoughts": ([HEAD, delta(reasoning_content="Hm."), STOP, DONE], "", "thoughts but no text"),
    "thoughts that never end": ([HEAD, event(chunk("<think>It moves")), event(chunk(finish="length"))], "", "raise max_new_tokens"),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "text", "words"), FAULTS.values(), ids=FAULTS)
def test_what_is_no_whole_answer_is_an_error_with_the_text_so_far(raw_server, ask, sent, text, words):
    raw_server.then(sent)
    said, error = ask()
    assert said == text
    assert words in error
    assert error.endswith(".")
    assert error.isprintable()


@pytest.mark.parametrize("escapes", [r"\ud83d\ude00", r"\ud83d", r"\ude00", r"\u0000"])
def test_a_text_that_cannot_be_published_is_mended(raw_server, ask, escapes):
    cut = escapes[:6], escapes[6:]
    raw = [json.dumps(chunk("HERE")).replace("HERE", part) for part in ("A ", *cut, " waves.")]
    raw_server.then([HEAD, *map(event, raw), STOP, DONE])
    expected = "\U0001f600" if len(escapes) == 12 else "\ufffd"
    assert ask() == (f"A {expected} waves.", "")


def test_a_server_that_opens_reasoning_in_its_prompt_is_remembered(raw_server, ask):
    """Cut before the thoughts end: all of it may be thoughts, and once that is known it is."""
    thoughts = [HEAD, event(chunk("Okay, so")), event(chunk(finish="length"))]
    raw_server.then([HEAD, event(chunk("Okay.</think>")), *TEXT, STOP, DONE], thoughts)
    assert ask() == (SAID, "")
    said, error = ask()
    assert said == ""
    assert "raise max_new_tokens" in error


def test_once_a_server_is_known_its_text_comes_as_it_is_sent(raw_server, make_request):
    from stride_ros.response.openai_compatible import OpenAICompatibleBackend

    raw_server.then([HEAD, *TEXT, STOP, DONE], [HEAD, FIRST, None])
    backend = OpenAICompatibleBackend("m", base_url=raw_server.url)
    assert "".join(backend.stream(make_request(1), lambda: False)) == SAID
    pieces = backend.stream(make_request(1), lambda: False)
    assert next(pieces) == "A red "
    pieces.close()
    backend.close()


def test_the_servers_count_of_tokens_is_taken(raw_server, make_request):
    from stride_ros.response.openai_compatible import OpenAICompatibleBackend

    raw_server.then([HEAD, *TEXT, STOP, USAGE, DONE])
    backend = OpenAICompatibleBackend("m", base_url=raw_server.url)
    assert "".join(backend.stream(make_request(1), lambda: False)) == SAID
    assert backend.last_tokens == 5
    backend.close()
