"""The OpenAI-compatible backend against a real HTTP server that behaves, and one that does not."""

from __future__ import annotations

import base64
import logging

import pytest

from stride_ros.errors import BackendError, ConfigError
from stride_ros.response.backend import load_backend

pytest.importorskip("openai", reason="openai is not installed: run `python3 -m pip install openai`")


def never() -> bool:
    return False


@pytest.fixture
def connect(chat_server):
    """Makes backends on the server and closes them."""
    made = []

    def make(model: str = "tiny", **options):
        options = {"base_url": chat_server.url, "max_retries": 0, "read_timeout": 10.0, **options}
        made.append(load_backend("openai", model, **options))
        return made[-1]

    yield make
    for backend in made:
        backend.close()


def answer(backend, request) -> str:
    return "".join(backend.stream(request, never))


def test_the_answer_is_streamed(chat_server, connect, make_request):
    chat_server.then("ok The cup falls.")
    backend = connect()
    assert list(backend.stream(make_request(), never)) == ["The ", "cup ", "falls. "]
    assert backend.last_tokens == 3


def test_frames_travel_as_jpeg_with_their_times(chat_server, connect, make_request):
    import cv2
    import numpy as np

    answer(connect(image_size=64), make_request(2, size=(96, 128), system_prompt="Be short."))
    system, user = chat_server.requests[0]["messages"]
    assert system == {"role": "system", "content": "Be short."}
    assert [part["type"] for part in user["content"]] == ["text", "image_url", "text", "image_url", "text"]
    assert user["content"][2]["text"] == "Frame 2 at 1.0 s:"
    head, _, data = user["content"][1]["image_url"]["url"].partition(",")
    assert head == "data:image/jpeg;base64"
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (48, 64, 3)


def test_colours_survive_the_journey(chat_server, connect):
    import cv2
    import numpy as np

    from stride_ros.response.backend import ResponseRequest, TimedFrame

    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 255
    answer(connect(jpeg_quality=95), ResponseRequest("red?", (TimedFrame(red, 0.0),), 0.0))
    url = chat_server.requests[0]["messages"][-1]["content"][1]["image_url"]["url"]
    data = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    blue, green, red_value = cv2.imdecode(data, cv2.IMREAD_COLOR)[16, 16]
    assert (red_value > 240, green < 20, blue < 20) == (True, True, True)


def test_settings_travel_too(chat_server, connect, make_request):
    answer(connect(max_new_tokens=7, temperature=0.0), make_request())
    sent = chat_server.requests[0]
    assert (sent["model"], sent["max_tokens"], sent["temperature"], sent["stream"]) == ("tiny", 7, 0.0, True)


def test_the_models_own_temperature_is_left_to_the_server(chat_server, connect, make_request):
    answer(connect(), make_request())
    assert "temperature" not in chat_server.requests[0]


def test_a_server_that_wants_the_newer_name_of_the_limit_gets_it(chat_server, connect, make_request):
    chat_server.then("400 Unsupported parameter: use 'max_completion_tokens'.", "ok Fine.")
    assert answer(connect(max_new_tokens=7, max_retries=1), make_request()) == "Fine. "
    assert chat_server.requests[1]["max_completion_tokens"] == 7
    assert "max_tokens" not in chat_server.requests[1]


def test_the_key_comes_from_the_environment_and_is_never_told(
    chat_server, connect, make_request, monkeypatch, caplog
):
    monkeypatch.setenv("TEST_KEY", "sk-secret-1")
    chat_server.then("ok Fine.", "401 wrong key sk-secret-1", "400 who sends sk-secret-1?")
    backend = connect(api_key_env="TEST_KEY")
    with caplog.at_level(logging.DEBUG):
        answer(backend, make_request())
        assert chat_server.headers[0]["authorization"] == "Bearer sk-secret-1"
        with pytest.raises(BackendError, match="set the environment variable TEST_KEY") as refused:
            answer(backend, make_request())
        with pytest.raises(BackendError, match="refused the request") as rejected:
            answer(backend, make_request())
    assert "sk-secret-1" not in f"{refused.value} {rejected.value} {vars(backend)['name']} {backend!r}"
    assert "sk-secret-1" not in caplog.text


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("500", r"failed \(500.*check its log"),
        ("busy 0", r"is busy \(429.*lower its load"),
        ("404", r"does not know tiny.*check model and base_url"),
        ("400 too many images", r"too many images.*lower max_frames"),
        ("cut The cup", "was lost during the answer"),
        ("rubbish", "a chat completion"),
        ("html", "was lost|not return a chat completion"),
        ("error", "the model fell over"),
        ("filter", "content filter"),
    ],
)
def test_each_fault_is_one_sentence_and_the_next_request_works(
    chat_server, connect, make_request, behaviour, message
):
    chat_server.then(behaviour, "ok Fine.")
    backend = connect()
    with pytest.raises(BackendError, match=message) as fault:
        answer(backend, make_request())
    assert "\n" not in str(fault.value)
    assert answer(backend, make_request()) == "Fine. "


@pytest.mark.parametrize("behaviour", ["hang", "stall The cup"])
def test_a_server_that_hangs_is_left_after_the_read_timeout(chat_server, connect, make_request, behaviour):
    chat_server.then(behaviour, "ok Fine.")
    backend = connect(read_timeout=0.2)
    with pytest.raises(BackendError, match="did not answer in time"):
        answer(backend, make_request())
    assert answer(backend, make_request()) == "Fine. "


def test_a_server_that_is_down_is_said_and_used_again_when_it_is_up(chat_server, connect, make_request):
    backend = connect()
    chat_server.stop()
    with pytest.raises(BackendError, match=r"cannot be reached; start it"):
        answer(backend, make_request())
    chat_server.start()
    assert answer(backend, make_request()) == "A cup falls. "


@pytest.mark.parametrize("fault", ["500", "busy 0.01", "503", "cut"])
def test_a_passing_fault_is_tried_again(chat_server, connect, make_request, fault):
    chat_server.then(fault, "ok Fine.")
    assert answer(connect(max_retries=1), make_request()) == "Fine. "
    assert len(chat_server.requests) == 2


@pytest.mark.parametrize("fault", ["400", "401", "404", "filter"])
def test_a_lasting_fault_is_not_tried_again(chat_server, connect, make_request, fault):
    chat_server.then(fault)
    with pytest.raises(BackendError):
        answer(connect(max_retries=3), make_request())
    assert len(chat_server.requests) == 1


def test_text_that_was_spoken_is_not_spoken_again(chat_server, connect, make_request):
    chat_server.then("cut The cup")
    pieces = connect(max_retries=3).stream(make_request(), never)
    assert [next(pieces), next(pieces)] == ["The ", "cup "]
    with pytest.raises(BackendError):
        next(pieces)
    assert len(chat_server.requests) == 1


@pytest.mark.slow
def test_a_cancelled_request_ends_although_the_server_hangs(chat_server, connect, make_request):
    chat_server.then("stall The cup")
    said: list[str] = []
    for piece in connect(read_timeout=600.0).stream(make_request(), lambda: len(said) == 2):
        said.append(piece)
    assert said == ["The ", "cup "]


def test_a_cancelled_request_ends_during_the_wait_for_a_retry(chat_server, connect, make_request):
    chat_server.then("busy 25")
    backend = connect(max_retries=3)
    assert list(backend.stream(make_request(), lambda: len(chat_server.requests) > 0)) == []


def test_warm_up_checks_address_and_model(chat_server, connect):
    connect().warm_up()
    with pytest.raises(BackendError, match=r"does not list the model 'other'; use one of tiny"):
        connect("other").warm_up()
    chat_server.stop()
    with pytest.raises(BackendError, match="cannot be reached"):
        connect().warm_up()


@pytest.mark.parametrize(("model", "url"), [("tiny", "localhost:8000"), ("", "http://localhost:8000/v1")])
def test_impossible_addresses_are_refused(model, url):
    with pytest.raises(ConfigError, match=r"give one like|set model"):
        load_backend("openai", model, base_url=url)


def test_a_connection_whose_answer_is_complete_is_used_again(chat_server, connect, make_request):
    backend = connect()
    for _ in range(3):
        assert answer(backend, make_request()) == "A cup falls. "
    assert len(chat_server.connections) == 1
