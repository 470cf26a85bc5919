"""Answers from a server with the OpenAI chat protocol: vLLM, SGLang, llama.cpp, Ollama or a cloud."""

from __future__ import annotations

import asyncio
import base64
import re
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import aclosing, suppress
from queue import Empty, Queue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stride_ros.errors import BackendError, ConfigError
from stride_ros.imaging.picture_file import encode_jpeg
from stride_ros.imaging.resize import shrink
from stride_ros.response.answer_reader import LETTERS_PER_TOKEN, AnswerReader
from stride_ros.response.backend import ResponseRequest
from stride_ros.response.config import BackendConfig
from stride_ros.response.event_stream import TooLongError
from stride_ros.response.model_list import is_name, model_names
from stride_ros.response.prompt import frame_times, question
from stride_ros.response.redaction import Secrets
from stride_ros.response.server_address import read_address, read_key
from stride_ros.response.server_client import StatusError, make_client
from stride_ros.response.server_errors import NoTextError, ServerFacts, TooSlowError, reason
from stride_ros.response.server_retries import is_passing, retry_after
from stride_ros.text.foreign import mended, visible

_POLL = 0.02  # s between checks of `cancelled` while nothing arrives
_PAUSE = 0.5  # s without bytes after which a line, or a finished answer, is taken as complete
_STALL = 5.0  # s without text after which a held-back answer is shown anyway
_LONGEST_BODY = 64 << 20  # maximum bytes of an answer, whatever they contain
_LONGEST_LIST = 16 << 20  # maximum bytes of a list of models
_LISTING = 10.0  # maximum s that a list of models may take
_DRAIN = 0.1  # s to wait for the end of a body after [DONE], so that the connection can be reused
_CLOSING = 5.0  # s that closing the connections may take
_FIXED_TEMPERATURE = re.compile(
    r"temperature.{0,80}(not support|unsupported|deprecated|only the default)|unsupported.{0,40}temperature",
    re.IGNORECASE | re.DOTALL,
)

_DEFAULT = BackendConfig()


class OpenAICompatibleBackend:
    """A Video-LLM on a server. Frames are sent as JPEG data URLs, each preceded by its time as text.

    `base_url` ends in /v1 for most servers. The key is read from the environment variable that `api_key_env`
    names (servers on your own network usually need no key); it is never logged. `image_size` is the maximum
    length of a frame's longer side in px, `jpeg_quality` is 1 to 100. Timeouts are in s: `connect_timeout`
    until connected, `read_timeout` without text of the answer, `answer_timeout` for the whole answer (0:
    twice `read_timeout`). Up to 16 characters for each of `max_new_tokens` are read. A request that fails
    before its first text is tried again `max_retries` times, after 0.5, 1, 2 s ... or as long as the server
    asks, but not if no text came in time. An address, key or environment that cannot work is a ConfigError on
    construction; connection problems are a BackendError when it is asked, since a server may start after the
    robot. `device` and `dtype` are up to the server and ignored.

    The first answer of a server is held back until it ends or stalls: the prompts of some models open
    thoughts that the answer only closes. What it shows applies to later answers.
    """

    remote = True

    def __init__(
        self,
        model: str,
        device: str = _DEFAULT.device,
        dtype: str = _DEFAULT.dtype,
        *,
        base_url: str = _DEFAULT.base_url,
        api_key_env: str = _DEFAULT.api_key_env,
        max_new_tokens: int = _DEFAULT.max_new_tokens,
        temperature: float = _DEFAULT.temperature,
        image_size: int = _DEFAULT.image_size,
        jpeg_quality: int = _DEFAULT.jpeg_quality,
        connect_timeout: float = _DEFAULT.connect_timeout,
        read_timeout: float = _DEFAULT.read_timeout,
        answer_timeout: float = _DEFAULT.answer_timeout,
        max_retries: int = _DEFAULT.max_retries,
    ) -> None:
        address = read_address(base_url)
        if not model:
            raise ConfigError("No model is named; set model to its name on the server.")
        key = read_key(api_key_env)
        self.name = model.rstrip("/").rsplit("/", 1)[-1]
        self.last_tokens = 0
        self._model = model
        self._image_size = image_size
        self._jpeg_quality = jpeg_quality
        self._max_retries = max_retries
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._answer_timeout = answer_timeout or 2 * read_timeout
        self._longest = LETTERS_PER_TOKEN * max_new_tokens
        self._options: dict[str, Any] = {"max_tokens": max_new_tokens}
        if temperature >= 0:
            self._options["temperature"] = temperature
        self._facts = ServerFacts(
            address, self.name, api_key_env, bool(key), max_new_tokens, Secrets(key, *address.secrets)
        )
        self._opened: bool | None = None  # whether answers begin inside thoughts; None: not yet known
        self._sent: float | None = None  # when the current request was sent, on the loop's clock
        self._client = make_client(
            address,
            key,
            self._on_sent,
            connect_timeout=connect_timeout,
            read_timeout=max(connect_timeout, self._answer_timeout) + 1,  # so that our timeouts come first
        )
        self._chat = self._client.chat.completions.with_streaming_response  # imports what answers need
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stride-openai", daemon=True)
        self._thread.start()

    def warm_up(self) -> None:
        """Ask the server for its models, to find a wrong address, key or name before the first event."""
        known = self._run(self._list_models()).result()
        if known and not any(is_name(self._model, name) for name in known):
            names = self._facts.secrets.remove(", ".join(sorted(known)[:5]))
            raise BackendError(
                f"The server at {self._facts.address.shown} does not list the model {self._model!r}; use one "
                f"of {visible(names)}."
            )

    def stream(self, request: ResponseRequest, cancelled: Callable[[], bool]) -> Iterator[str]:
        """Yield the answer in increments of text (see ResponseBackend)."""
        pieces: Queue[str | None] = Queue()
        self.last_tokens = 0
        running = self._run(self._ask(self.messages(request), pieces))
        try:
            while not cancelled():
                try:
                    piece = pieces.get(timeout=_POLL)
                except Empty:
                    continue
                if piece is None:
                    break
                yield piece
            else:
                return
            running.result()
        finally:  # also when the caller drops the iterator: closing the connection stops the server
            running.cancel()

    def messages(self, request: ResponseRequest) -> list[dict[str, Any]]:
        """The conversation in the form of the OpenAI chat protocol."""
        content: list[dict[str, Any]] = []
        for number, (frame, time) in enumerate(zip(request.frames, frame_times(request), strict=True), 1):
            content.append({"type": "text", "text": f"Frame {number} at {time:.1f} s:"})
            url = _data_url(frame.image, self._image_size, self._jpeg_quality)
            content.append({"type": "image_url", "image_url": {"url": url}})
        content.append({"type": "text", "text": mended(question(request))})
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if request.system_prompt:
            messages.insert(0, {"role": "system", "content": mended(request.system_prompt)})
        return messages

    def close(self) -> None:
        """Close the connections; the backend cannot be used afterwards."""
        with suppress(Exception):  # a connection that cannot be closed is left open
            self._run(self._shut_down()).result(2 * _CLOSING)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    # The following runs in the event loop's thread, where a request can be cancelled at any moment

    def _on_sent(self) -> None:
        self._sent = self._loop.time()

    async def _shut_down(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=_CLOSING)
        await asyncio.wait_for(self._client.close(), _CLOSING)
        await self._loop.shutdown_asyncgens()

    async def _list_models(self) -> list[str]:
        limit = self._connect_timeout + min(self._read_timeout, _LISTING)
        parts: list[bytes] = []

        async def ask() -> None:
            async with self._client.models.with_streaming_response.list() as response:
                async for part in response.iter_bytes():
                    parts.append(part)
                    if sum(map(len, parts)) > _LONGEST_LIST:
                        raise TooLongError

        try:
            await asyncio.wait_for(ask(), limit)
            return model_names(b"".join(parts))
        except asyncio.TimeoutError:
            failure: Exception = NoTextError(limit)
        except Exception as error:  # the client raises many types, also for rubbish
            failure = error
        raise self._failure(failure) from failure

    async def _ask(self, messages: list[dict[str, Any]], pieces: Queue[str | None]) -> None:
        """Put the texts of an answer into `pieces`, then None; retry while that may help."""

        safe = self._facts.secrets.stream()

        def say(text: str) -> None:
            self.last_tokens += 1  # most servers send one token at a time
            put(safe.feed(text))

        def put(text: str) -> None:
            if text:
                pieces.put(text)

        tries = 0
        try:
            while True:
                reader = AnswerReader(say, opened=self._opened, longest=self._longest)
                try:
                    await self._receive(messages, reader)
                    return
                except Exception as error:  # the client raises many types, also for rubbish
                    if self._can_adapt(error):
                        continue
                    if reader.heard or tries == self._max_retries or not is_passing(error):
                        reader.abandon()
                        raise self._failure(error) from error
                    pause = retry_after(error) or 0.5 * 2**tries
                finally:
                    self._opened = reader.learned
                    self.last_tokens = reader.tokens or self.last_tokens
                tries += 1
                await asyncio.sleep(pause)
        finally:
            put(safe.finish())
            pieces.put(None)

    async def _receive(self, messages: list[dict[str, Any]], reader: AnswerReader) -> None:
        """Feed one answer to `reader`; raises the errors of the client and the reader, and on timeouts."""
        self._sent = None
        begun = self._loop.time()
        end = begun + self._connect_timeout + self._answer_timeout
        heard, heard_at = 0, begun + self._connect_timeout
        over, over_at = False, begun  # whether the answer is complete, and since when nothing was added
        size = 0
        body: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(maxsize=8)
        reading = asyncio.ensure_future(self._read(messages, body))
        try:
            while not reader.done:
                if not heard:
                    heard_at = self._sent or heard_at
                now = self._loop.time()
                rest = over and not reader.unfinished  # whatever still comes is not part of the answer
                quiet_at = (over_at if over else heard_at) + (_PAUSE if rest else self._read_timeout)
                if over and now >= quiet_at:
                    break
                if now >= end:
                    raise TooSlowError(self._answer_timeout)
                if now >= quiet_at:
                    raise NoTextError(self._read_timeout, thinking=reader.thinking)
                if heard and now >= heard_at + _STALL:
                    reader.release()
                try:
                    data = await asyncio.wait_for(body.get(), min(_PAUSE, end - now, quiet_at - now))
                except asyncio.TimeoutError:
                    data = b""
                    reader.settle()
                if isinstance(data, Exception):
                    reader.settle()  # the line may have broken off after a complete event
                    if not reader.over:
                        raise data
                if data is None or isinstance(data, Exception):
                    break
                size += len(data)
                if size > _LONGEST_BODY:
                    raise TooLongError
                reader.feed(data)
                if reader.heard > heard:
                    heard, heard_at = reader.heard, self._loop.time()
                    over_at = heard_at
                if reader.over != over:
                    over, over_at = reader.over, self._loop.time()
            reader.finish()
            if reader.done:
                await asyncio.wait({reading}, timeout=_DRAIN)
        finally:
            reading.cancel()
            await asyncio.wait({reading}, timeout=_CLOSING)

    async def _read(
        self, messages: list[dict[str, Any]], body: asyncio.Queue[bytes | Exception | None]
    ) -> None:
        """Put the parts of one answer's body into `body` as they arrive, then None or the error."""
        try:
            async with (
                self._chat.create(
                    model=mended(self._model), messages=messages, stream=True, **self._options
                ) as response,
                aclosing(response.http_response.aiter_bytes()) as parts,
            ):
                async for part in parts:
                    await body.put(part)
            await body.put(None)
        except Exception as error:  # reported by the reader of `body`
            await body.put(error)

    def _can_adapt(self, error: Exception) -> bool:
        """Whether the server wants an option in another form, which it gets from now on."""
        if not isinstance(error, StatusError) or error.status >= 500:
            return False
        if "max_tokens" in self._options and "max_completion_tokens" in error.body:
            self._options["max_completion_tokens"] = self._options.pop("max_tokens")
            return True
        # Reasoning models have a fixed temperature, and refuse requests that set one.
        if "temperature" in self._options and _FIXED_TEMPERATURE.search(error.body):
            del self._options["temperature"]
            return True
        return False

    def _failure(self, error: Exception) -> BackendError:
        return error if isinstance(error, BackendError) else BackendError(reason(error, self._facts))


def _data_url(image: NDArray[np.uint8], longest: int, quality: int) -> str:
    """An (H, W, 3) uint8 RGB image as a JPEG data URL, its longer side scaled to at most `longest` px."""
    data = encode_jpeg(shrink(image, longest), quality)
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()
