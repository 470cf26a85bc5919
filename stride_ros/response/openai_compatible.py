"""Answers from a server that speaks the OpenAI chat protocol: vLLM, SGLang, llama.cpp, Ollama, a cloud."""

from __future__ import annotations

import asyncio
import base64
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from queue import Empty, Queue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stride_ros.errors import BackendError, ConfigError
from stride_ros.response.backend import ResponseRequest
from stride_ros.response.frame_cache import shrink
from stride_ros.response.prompt import frame_times, question
from stride_ros.response.server_errors import CutOffError, is_passing, reason, retry_after
from stride_ros.response.thoughts import without_thoughts

_POLL = 0.02  # s between looks at `cancelled` while nothing arrives
_LONGEST_WAIT = 30.0  # s before a retry, whatever the server asks for


class OpenAICompatibleBackend:
    """A Video-LLM on a server. Frames travel as JPEG data URLs, each with its time as text in front.

    ``base_url`` ends in /v1 for most servers. The key is read from the environment variable that
    ``api_key_env`` names (servers on your own network need none); it is never logged. ``image_size`` is the
    longer side of a frame in px at most, ``jpeg_quality`` 1 to 100. Timeouts are in s: ``connect_timeout``
    until the connection stands, ``read_timeout`` between two pieces of the answer. A request that fails
    before its first text is tried again ``max_retries`` times, after 0.5, 1, 2 s ... or what the server asks.
    Whatever happens on the line is a BackendError when it is asked, never when it is made: a server may start
    after the robot. ``device`` and ``dtype`` are the server's business and ignored.
    """

    remote = True

    def __init__(
        self,
        model: str,
        device: str = "auto",
        dtype: str = "auto",
        *,
        base_url: str = "http://localhost:8000/v1",
        api_key_env: str = "OPENAI_API_KEY",
        max_new_tokens: int = 128,
        temperature: float = -1.0,
        image_size: int = 768,
        jpeg_quality: int = 85,
        connect_timeout: float = 5.0,
        read_timeout: float = 30.0,
        max_retries: int = 2,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ConfigError(
                f"The base_url {base_url!r} is no web address: give one like http://localhost:8000/v1."
            )
        if not model:
            raise ConfigError("No model is named: give the name under which the server knows it.")
        try:
            import openai
        except ImportError as error:
            raise BackendError(
                "The openai backend needs the openai package: run `python3 -m pip install openai`."
            ) from error
        self.name = model.rstrip("/").rsplit("/", 1)[-1]
        self.last_tokens = 0
        self._model = model
        self._where = base_url
        self._image_size = image_size
        self._jpeg_quality = jpeg_quality
        self._max_retries = max_retries
        self._options: dict[str, Any] = {"max_tokens": max_new_tokens}
        if temperature >= 0:
            self._options["temperature"] = temperature
        self._key_name = api_key_env
        self._key = os.environ.get(api_key_env, "")
        self._client: Any = openai.AsyncOpenAI(
            api_key=self._key or "none",
            base_url=base_url,
            max_retries=0,  # ours can be cancelled
            timeout=openai.Timeout(read_timeout, connect=connect_timeout),
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stride-openai", daemon=True)
        self._thread.start()

    def warm_up(self) -> None:
        """Ask the server for its models: a wrong address, key or name is found before the first event."""
        known = self._run(self._list_models()).result()
        if known and self._model not in known:
            raise BackendError(
                f"The server at {self._where} does not list the model {self._model!r}: use one of "
                f"{', '.join(sorted(known)[:5])}."
            )

    def stream(self, request: ResponseRequest, cancelled: Callable[[], bool]) -> Iterator[str]:
        """Yield the answer in increments of text (see ResponseBackend)."""
        return without_thoughts(self._pieces(self.messages(request), cancelled))

    def _pieces(self, messages: list[dict[str, Any]], cancelled: Callable[[], bool]) -> Iterator[str]:
        pieces: Queue[str | None] = Queue()
        self.last_tokens = 0
        running = self._run(self._ask(messages, pieces))
        try:
            while not cancelled():
                try:
                    piece = pieces.get(timeout=_POLL)
                except Empty:
                    continue
                if piece is None:
                    break
                self.last_tokens += 1  # servers send a token at a time
                yield piece
            else:
                return
            running.result()
        finally:  # also when the caller drops the iterator: closes the connection, which stops the server
            running.cancel()

    def messages(self, request: ResponseRequest) -> list[dict[str, Any]]:
        """The conversation in the form of the OpenAI chat protocol."""
        content: list[dict[str, Any]] = []
        for number, (frame, time) in enumerate(zip(request.frames, frame_times(request), strict=True), 1):
            content.append({"type": "text", "text": f"Frame {number} at {time:.1f} s:"})
            url = _data_url(frame.image, self._image_size, self._jpeg_quality)
            content.append({"type": "image_url", "image_url": {"url": url}})
        content.append({"type": "text", "text": question(request)})
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if request.system_prompt:
            messages.insert(0, {"role": "system", "content": request.system_prompt})
        return messages

    def close(self) -> None:
        """Close the connections; the backend cannot be used afterwards."""
        self._run(self._client.close()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    # What runs in the event loop's thread, where a request can be cancelled at any moment

    async def _list_models(self) -> list[str]:
        try:
            return [model.id async for model in self._client.models.list()]
        except Exception as error:  # the client raises many types, also for rubbish
            raise self._failure(error) from error

    async def _ask(self, messages: list[dict[str, Any]], pieces: Queue[str | None]) -> None:
        try:
            for attempt in range(self._max_retries + 1):
                begun = False
                try:
                    async for piece in self._receive(messages):
                        begun = True
                        pieces.put(piece)
                    return
                except Exception as error:  # the client raises many types, also for rubbish
                    if "max_completion_tokens" in str(error) and "max_tokens" in self._options:
                        self._options["max_completion_tokens"] = self._options.pop("max_tokens")
                    elif begun or attempt == self._max_retries or not is_passing(error):
                        raise self._failure(error) from error
                    else:
                        await asyncio.sleep(min(retry_after(error) or 0.5 * 2**attempt, _LONGEST_WAIT))
        finally:
            pieces.put(None)

    async def _receive(self, messages: list[dict[str, Any]]) -> AsyncIterator[str]:
        """Yield the texts of one streamed answer; raises whatever the client does, and CutOffError."""
        stream = await self._client.chat.completions.create(
            model=self._model, messages=messages, stream=True, **self._options
        )
        finished = ""
        async with stream:
            async for chunk in stream:
                for choice in chunk.choices or ():
                    if choice.delta.content:
                        yield choice.delta.content
                    finished = choice.finish_reason or finished
        if not finished:
            raise CutOffError
        if finished == "content_filter":
            raise BackendError(
                f"{self.name} refused to answer (content filter): change the query or the model."
            )

    def _failure(self, error: Exception) -> BackendError:
        if isinstance(error, BackendError):
            return error
        text = reason(error, self.name, self._where, self._key_name)
        return BackendError(text.replace(self._key, "***") if self._key else text)


def _data_url(image: NDArray[np.uint8], longest: int, quality: int) -> str:
    """An (H, W, 3) uint8 RGB image as a JPEG data URL, its longer side at most ``longest`` px."""
    import cv2

    image = shrink(image, longest)
    _, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
