"""The connection to a server: certificates, proxies, redirects, and their errors."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import Callable
from typing import Any

from stride_ros.errors import BackendError, ConfigError
from stride_ros.response.server_address import Address, without_secrets
from stride_ros.text.foreign import visible

_LONGEST_BODY = 64 * 1024  # bytes read of an error
_BODY_SECONDS = 2.0  # s that an error's body may take


class StatusError(Exception):
    """The server answered with an HTTP status that is not a success; `body` is what it said."""

    def __init__(self, status: int, headers: dict[str, str], body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def value(self) -> Any:
        """The body as JSON, None when it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class RedirectError(Exception):
    """The server redirects the client elsewhere, where neither the key nor frames are sent automatically."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.target = target


def make_client(
    address: Address,
    key: str,
    on_sent: Callable[[], None],
    *,
    connect_timeout: float,
    read_timeout: float,
) -> Any:
    """Create an openai.AsyncOpenAI that talks only to the server at `address`; timeouts in s.

    It uses the environment's proxies, except for this machine, and certificates (SSL_CERT_FILE,
    SSL_CERT_DIR). It follows a redirect only to the same scheme, host and port, and never retries. `on_sent`
    is called when a request has been sent. An answer that is not a success raises StatusError or
    RedirectError. Raises ConfigError for an environment that cannot work.
    """
    try:
        import openai
    except ImportError as error:
        raise BackendError(
            "The openai backend needs the openai package; run `python3 -m pip install openai`."
        ) from error
    verify = _certificates(address)
    # Azure takes the key in a different header.
    headers: dict[str, Any] = {"api-key": key} if key and address.host.endswith(".azure.com") else {}
    if not f".{address.host}".endswith(".openai.com"):
        # Ids for one cloud in the environment must not be sent to another server.
        headers.update({"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()})

    async def trace(name: str, info: object) -> None:
        if name.endswith("send_request_body.complete"):
            on_sent()

    async def watch(request: Any) -> None:
        request.extensions["trace"] = trace

    timeout = openai.Timeout(read_timeout, connect=connect_timeout)
    try:
        http = openai.DefaultAsyncHttpxClient(
            verify=verify,
            timeout=timeout,
            event_hooks={"request": [watch], "response": [_check]},
            proxy=address.proxy_url or None,
            trust_env=False,  # the environment has already been read, since clients differ in how they do it
        )
        return openai.AsyncOpenAI(
            api_key=key or "none",
            base_url=address.url,
            default_query=address.query,
            default_headers=headers,
            max_retries=0,  # our own retries can be cancelled
            timeout=timeout,
            http_client=http,
        )
    except Exception as error:  # the libraries raise many types for values in the environment
        if address.proxy:
            raise ConfigError(
                f"The proxy {address.proxy} that the environment names for {address.host} cannot be used "
                f"({visible(without_secrets(str(error)))}); correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY."
            ) from None
        raise ConfigError(
            f"The base_url {address.shown!r} cannot be used ({visible(str(error))}); give one like "
            "http://localhost:8000/v1."
        ) from None


def _certificates(address: Address) -> Any:
    """The certificates for checking the server's: those that the environment names, or the default ones."""
    if not address.secure:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used, and loads no files that could be missing
    file, folder = os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", "")
    if not file and not folder:
        return True
    if not file and not any(map(os.path.isdir, folder.split(os.pathsep))):
        raise ConfigError(
            f"The environment variable SSL_CERT_DIR names {visible(folder)}, which is not a folder; "
            f"correct or "
            "unset it."
        )
    try:
        return ssl.create_default_context(cafile=file or None, capath=folder if not file else None)
    except (OSError, ValueError) as error:  # ssl.SSLError too
        why = "no certificates are in it" if isinstance(error, ssl.SSLError) else error.args[-1]
        raise ConfigError(
            f"The certificates in {visible(file or folder)}, which the environment variable "
            f"{'SSL_CERT_FILE' if file else 'SSL_CERT_DIR'} names, cannot be read ({why}); correct or unset "
            "it."
        ) from error


async def _check(response: Any) -> None:
    """Raise for every answer that is not a success, with a limited part of its body."""
    if 300 <= response.status_code < 400 and "location" in response.headers:
        _check_redirect(response)
    elif not 200 <= response.status_code < 300:
        body = await _read_some(response)
        raise StatusError(response.status_code, dict(response.headers), body)


def _check_redirect(response: Any) -> None:
    request = response.request
    try:
        target = request.url.join(response.headers["location"])
    except Exception:  # not a URL
        raise RedirectError(visible(response.headers["location"])) from None
    same = (target.scheme, target.host, target.port) == (
        request.url.scheme,
        request.url.host,
        request.url.port,
    )
    keeps_body = response.status_code in (307, 308) or request.method in ("GET", "HEAD")
    if not (same and keeps_body):
        raise RedirectError(without_secrets(str(target)))


async def _read_some(response: Any) -> str:
    parts: list[bytes] = []

    async def read() -> None:
        size = 0
        async for part in response.aiter_bytes():
            parts.append(part)
            size += len(part)
            if size >= _LONGEST_BODY:
                return

    try:
        await asyncio.wait_for(read(), _BODY_SECONDS)
    except asyncio.CancelledError:
        raise
    except Exception:  # the status is what counts
        pass
    return b"".join(parts)[:_LONGEST_BODY].decode("utf-8-sig", "replace")
