"""Parts that tests of several rooms share."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from .web_page import chromedriver, open_page

__all__ = ["chromedriver", "open_page"]  # fixtures

# The models of the tests are tiny: a second thread only waits for the first. For processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"
# No test hears another run's nodes, nor anybody's on the network.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_LOCALHOST_ONLY"] = "1"
BASE = 1_700_000_000 * 10**9  # ns, where the bags of `write_images` begin
# Files and folders whose tests start ROS nodes or launch files: marked `ros`.
ROS = (
    "nodes",
    "launch",
    "demo",
    "benchmark/test_responder_benchmark.py",
    "packaging/test_colcon_test.py",
    "replay/test_live.py",
)
SLOW_FILE = re.compile(r"^pytestmark = pytest\.mark\.slow$", re.MULTILINE)


@cache
def _marks(path: Path) -> frozenset[str]:
    """Which of the markers `ros` and `slow` a whole file has, found without importing it."""
    own = path.relative_to(Path(__file__).parent).as_posix()
    starts_ros = own.startswith(tuple(part if part.endswith(".py") else f"{part}/" for part in ROS))
    is_slow = SLOW_FILE.search(path.read_text(encoding="utf-8"))
    return frozenset(["ros"] * starts_ros + ["slow"] * bool(is_slow))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files that `-m "not slow and not ros"` would deselect: importing them takes longest."""
    wanted = config.getoption("markexpr").split(" and ")
    excluded = {name for name in ("slow", "ros") if f"not {name}" in wanted}
    if excluded and collection_path.name.startswith("test_") and collection_path.suffix == ".py":
        return True if _marks(collection_path) & excluded else None
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts ROS nodes, before `-m` chooses."""
    for item in items:
        if "ros" in _marks(item.path):
            item.add_marker(pytest.mark.ros)


_PORTS = 7400, 250  # UDP port of domain 0, and ports of each domain (DDSI-RTPS 9.6.2.3)


def _claim_domain() -> socket.socket:
    """Take a ROS domain that nobody on this machine uses, for this process and those it starts.

    The name of an abstract socket is taken while this process lives, whatever its TMPDIR. Bound ports show
    what a run that was killed has left behind: its nodes would answer in the place of those under test.
    """
    ports = set()
    with contextlib.suppress(OSError):
        lines = Path("/proc/net/udp").read_text().splitlines()[1:]
        ports = {int(line.split()[1].rpartition(":")[2], 16) for line in lines}
    for domain in range(1, 100):  # the ports of higher ones may be anybody's (ip_local_port_range)
        first = _PORTS[0] + domain * _PORTS[1]
        if ports.intersection(range(first, first + _PORTS[1])):
            continue
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0stride_ros_test_domain_{domain}")
        except OSError:
            claim.close()
            continue
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        return claim
    raise RuntimeError("All ROS domains are in use on this machine; end what is left of earlier test runs.")


_CLAIM = _claim_domain()
_POLICY = os.sched_getscheduler(0) if hasattr(os, "sched_getscheduler") else None


@pytest.fixture(autouse=True)
def one_torch_thread():
    """The same for this process, whatever a command under test has set before."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def ordinary_process():
    """A test that left its process a real-time one would keep the others, and the machine, from running."""
    yield
    if hasattr(os, "sched_getscheduler"):
        assert os.sched_getscheduler(0) == _POLICY, "the test changed how its process is scheduled"


class ChatServer:
    """A chat-completions server on loopback that behaves, request by request, as the test says.

    ``then`` queues behaviours: "ok TEXT" streams the text word by word, "cut TEXT" breaks the connection
    before the end, "hang" says nothing until the server closes, "stall TEXT" hangs after the text, "empty",
    "rubbish" (no JSON), "html" (no stream), "error" (an error inside the stream), "filter", "busy SECONDS"
    (429 with Retry-After) and any HTTP status number. Without one it answers "ok A cup falls.".
    """

    def __init__(self) -> None:
        self.requests: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.connections: list[socket.socket] = []
        self._script: list[str] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def then(self, *behaviours: str) -> ChatServer:
        with self._lock:
            self._script += behaviours
        return self

    def start(self) -> ChatServer:
        """Listen; a server that was stopped listens on its old port again."""
        self._closing.clear()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop to listen and break every connection."""
        self._closing.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.connections.clear()

    def next_behaviour(self) -> str:
        with self._lock:
            return self._script.pop(0) if self._script else "ok A cup falls."

    def hang(self) -> None:
        self._closing.wait()


class _Handler(BaseHTTPRequestHandler):
    owner: ChatServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.owner.connections.append(self.connection)

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._reply(200, {"object": "list", "data": [{"id": "tiny", "object": "model", "created": 0}]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.owner.requests.append(json.loads(body))
        self.owner.headers.append({name.lower(): value for name, value in self.headers.items()})
        kind, _, rest = self.owner.next_behaviour().partition(" ")
        try:
            if kind == "hang":
                self.owner.hang()
            elif kind == "busy":
                self._reply(429, {"error": {"message": "too many requests"}}, {"Retry-After": rest})
            elif kind.isdigit():
                self._reply(int(kind), {"error": {"message": rest or "the server says no"}})
            else:
                self._stream(kind, rest)
        except OSError:  # the client has gone
            self.close_connection = True

    def _stream(self, kind: str, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if kind == "html" else "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if kind == "rubbish":
            self._chunk("data: {this is no JSON\n\n")
        elif kind == "html":
            self._chunk("<html>welcome</html>")
        elif kind == "error":
            self._chunk('data: {"error": {"message": "the model fell over"}}\n\n')
        else:
            for word in text.split(" ") if text else []:
                self._event({"content": word + " "})
        if kind == "cut":
            self.close_connection = True
            return
        if kind == "stall":
            self.owner.hang()
        if kind in ("ok", "empty", "filter"):
            self._event({}, "content_filter" if kind == "filter" else "stop")
            self._chunk("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, delta: dict, finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        event = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "tiny"}
        self._chunk(f"data: {json.dumps({**event, 'choices': [choice]})}\n\n")

    def _chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _reply(self, status: int, body: dict, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """What a test starts hears Ctrl-C and a terminal that closes.

    A test in the background of a shell, or under nohup, ignores them and passes that on.
    """
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    hang_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGHUP, hang_up)


@pytest.fixture
def chat_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    """A chat server that is up; no proxy of the environment stands in front of it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ChatServer().start()
    yield server
    server.stop()


# Small random checkpoints of the families that the responder runs locally, each with its own tokenizer.
# Their chat templates lay out messages as the published ones do.

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% for c in m.content %}"
    "{% if c.type == 'image' %}{{ '<IMG_CONTEXT>\n' }}{% elif c.type == 'text' %}{{ c.text }}{% endif %}"
    "{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% set turns = messages %}{% set before = '' %}{% if messages[0].role == 'system' %}"
    "{% set before = messages[0].content[0].text + '\n\n' %}{% set turns = messages[1:] %}{% endif %}"
    "{% for m in turns %}{{ '<start_of_turn>' + m.role + '\n' + before }}{% for c in m.content %}"
    "{% if c.type == 'image' %}{{ '<start_of_image>' }}{% else %}{{ c.text | trim }}{% endif %}{% endfor %}"
    "{{ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)


def _byte_tokenizer(special: list[str], named: dict[str, str], template: str, **roles: str):
    """A tokenizer with one token for each byte and the given special tokens (``named`` as attributes)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([*special, *named.values(), *roles.values()])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, extra_special_tokens=named, chat_template=template, **roles
    )


@pytest.fixture(scope="session")
def internvl3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny InternVL3 checkpoint: 56 px tiles, 4 tokens each."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from transformers import InternVLConfig, InternVLForConditionalGeneration, Qwen2Config
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
    from transformers.models.internvl.configuration_internvl import InternVLVisionConfig

    folder = tmp_path_factory.mktemp("models") / "internvl3-tiny"
    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = _byte_tokenizer(
        ["<|im_start|>"], named, CHATML, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(1)
    model = InternVLForConditionalGeneration(
        InternVLConfig(
            vision_config=InternVLVisionConfig(image_size=[56, 56], patch_size=[14, 14], **sizes),
            text_config=Qwen2Config(vocab_size=len(tokenizer), num_key_value_heads=1, **sizes),
            image_token_id=tokenizer.context_image_token_id,
            tie_word_embeddings=False,
        )
    )
    _spread(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    GotOcr2ImageProcessorPil(size={"height": 56, "width": 56}, crop_to_patches=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def gemma3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Gemma 3 checkpoint: 56 px images, 4 tokens each."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        Gemma3Processor,
        Gemma3TextConfig,
        SiglipVisionConfig,
    )
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    folder = tmp_path_factory.mktemp("models") / "gemma3-tiny"
    named = {
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>",
    }
    tokenizer = _byte_tokenizer(
        ["<start_of_turn>"], named, GEMMA, bos_token="<bos>", eos_token="<end_of_turn>", pad_token="<pad>"
    )
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(2)
    model = Gemma3ForConditionalGeneration(
        Gemma3Config(
            text_config=Gemma3TextConfig(
                vocab_size=len(tokenizer),
                num_key_value_heads=1,
                head_dim=16,
                **sizes,
            ),
            vision_config=SiglipVisionConfig(image_size=56, patch_size=14, **sizes),
            mm_tokens_per_image=4,
            image_token_index=tokenizer.image_token_id,
            boi_token_index=tokenizer.boi_token_id,
            eoi_token_index=tokenizer.eoi_token_id,
            tie_word_embeddings=False,
        )
    )
    _spread(model, tokenizer)
    model.save_pretrained(folder)
    processor = Gemma3Processor(
        Gemma3ImageProcessorPil(size={"height": 56, "width": 56}), tokenizer, GEMMA, image_seq_length=4
    )
    processor.save_pretrained(folder)
    return folder


def _spread(model, tokenizer) -> None:
    """Make weights so large that an answer depends on what is shown, and answers printable."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and parameter.any():
                parameter.mul_(5.0)
            elif parameter.ndim > 1:  # Gemma's projection of images starts at zero
                parameter.normal_()
        for token, number in tokenizer.get_vocab().items():
            if (
                not (token.isascii() and token.isalnum()) and token != "\u0120"
            ):  # a space, in byte-level terms
                model.lm_head.weight[number] = 0


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint that happens to decide on several spans in `world_bag`."""
    from stride_ros.training.checkpoint import create_checkpoint

    return create_checkpoint(tmp_path_factory.mktemp("model") / "random", seed=3, window=8)


@pytest.fixture(scope="session")
def write_images(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a bag of raw images from pairs of header and log stamps (s after a fixed time)."""
    pytest.importorskip("rosbags", reason="rosbags is missing; install it with: pip install rosbags")
    from stride_ros.bags import messages
    from stride_ros.bags.writer import BagWriter
    from stride_ros.world import World

    world = World(seed=0, seconds=60, size=(96, 64))

    def write(
        stamps: Sequence[tuple[float | None, float]], storage: str = "mcap", encoding: str = ""
    ) -> Path:
        path = tmp_path_factory.mktemp("bag") / "bag"
        with BagWriter(path, storage) as bag:
            for i, (stamp, logged) in enumerate(stamps):
                time = 0 if stamp is None else BASE + round(stamp * 1e9)
                message = messages.image(world.frame(i % 60), time, "camera")
                if encoding:
                    message.encoding = encoding
                bag.write("/cam", message, BASE + round(logged * 1e9))
        return path

    return write


@pytest.fixture(scope="session")
def world_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 s of the world at 5 Hz as JPEGs, with ground truth."""
    pytest.importorskip("rosbags", reason="rosbags is missing; install it with: pip install rosbags")
    from stride_ros.sources.world_bag import write_bag
    from stride_ros.world import World

    path = tmp_path_factory.mktemp("world") / "bag"
    write_bag(World(seed=0, seconds=40, size=(96, 64), fps=5), path)
    return path
