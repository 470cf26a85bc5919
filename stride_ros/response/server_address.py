"""How to reach a server: its address, the proxy in front of it, the key, and what is secret."""

from __future__ import annotations

import base64
import ipaddress
import os
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from stride_ros.errors import ConfigError
from stride_ros.response.redaction import HIDDEN
from stride_ros.text.foreign import visible

_ENDPOINT = re.compile(r"/(chat/)?completions/?$")
_SECRET = "(?:key|token|secret|passw|signature|auth)"  # in the name of a query parameter


@dataclass(frozen=True)
class Address:
    """A server's address: `url` for the client, `query` (Azure's api-version), `shown` in texts."""

    url: str
    query: dict[str, str]
    shown: str
    host: str
    secure: bool
    secrets: tuple[str, ...] = ()  # contained in the URL

    @property
    def is_local(self) -> bool:
        """Whether the host is this machine."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(self.host)
            return address.is_loopback or address.is_unspecified
        except ValueError:
            return False

    @property
    def proxy_url(self) -> str:
        """The proxy for the host according to the environment, with its password; "" for none."""
        if (
            self.is_local
            or proxy_bypass(self.host)
            or proxy_bypass(self._place)
            or self._is_in_a_free_network()
        ):
            return ""
        proxies = getproxies()
        proxy = proxies.get("https" if self.secure else "http") or proxies.get("all") or ""
        return f"http://{proxy}" if proxy and "://" not in proxy else proxy

    @property
    def proxy(self) -> str:
        """The same, without its password, for messages."""
        return without_secrets(self.proxy_url)

    @property
    def _place(self) -> str:
        """Host and port, in the form of NO_PROXY."""
        return f"{self.host}:{urlsplit(self.url).port or (443 if self.secure else 80)}"

    def _is_in_a_free_network(self) -> bool:
        """Whether NO_PROXY names the address or its network, such as 192.168.0.0/16 or [fe80::1]."""
        for name in getproxies().get("no", "").split(","):
            try:
                network = ipaddress.ip_network(re.sub(r"[\[\]\s]", "", name), strict=False)
                if ipaddress.ip_address(self.host) in network:
                    return True
            except ValueError:
                continue
        return False


def read_address(base_url: str) -> Address:
    """Parse an address; raises ConfigError for an invalid one."""
    text = base_url.strip()
    problem = ConfigError(
        f"The base_url {visible(without_secrets(text))!r} is not a server URL; give one like "
        "http://localhost:8000/v1."
    )
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise problem from None
    bad = re.search(r"[\s\x00-\x1f\x7f\\]", text) or port == 0 or len(host) > 253
    if parts.scheme not in ("http", "https") or not host or bad:
        raise problem
    path = _ENDPOINT.sub("", parts.path)
    place = parts.netloc.replace("%25", "%") if "[" in parts.netloc else parts.netloc  # [fe80::1%25eth0]
    url = urlunsplit((parts.scheme, place, path, "", ""))
    query = dict(parse_qsl(parts.query))
    secrets = [value for name, value in query.items() if re.search(_SECRET, name, re.IGNORECASE)]
    if parts.password:
        pair = f"{unquote(parts.username or '')}:{unquote(parts.password)}"
        secrets += [parts.password, unquote(parts.password), base64.b64encode(pair.encode()).decode()]
    return Address(
        url,
        query,
        without_secrets(url),
        host.lower().replace("%25", "%"),
        parts.scheme == "https",
        tuple(secrets),
    )


def without_secrets(url: str) -> str:
    """An address for use in messages: without a password, and without keys in its query."""
    url = re.sub(r"(//)[^/?#\s]*@", r"\1", url)
    return re.sub(rf"([?&][^=&#\s]*{_SECRET}[^=&#\s]*=)[^&#\s]+", rf"\g<1>{HIDDEN}", url, flags=re.IGNORECASE)


def read_key(name: str) -> str:
    """The key in the environment variable `name`, "" for none; ConfigError for an impossible one."""
    key = (os.environ.get(name, "") if "\0" not in name else "").strip()
    if len(key) > 1 and key[0] == key[-1] and key[0] in "'\"":
        key = key[1:-1].strip()
    if not all("!" <= letter <= "~" for letter in key):
        raise ConfigError(
            f"The key in the environment variable {visible(name)} contains characters that a key cannot have "
            "(a line break, a space, curly quotes or others that are not ASCII); set it again without them."
        )
    return key
