"""Remove keys and passwords from a server's texts, in any form in which it sends them back."""

from __future__ import annotations

import base64
import html.entities
import re

HIDDEN = "***"
_SHORTEST = 4  # minimum characters of a secret
_LONG = 8  # minimum characters of a key that is not a placeholder such as EMPTY, which may be a word
_PART = 12  # minimum characters of a part of a secret that is hidden, too, as when a server cuts off a text
# What may be between two characters of a secret in a wrapped text: white space and invisible characters.
_GAP = r"[\s\u00ad\u200b-\u200f\u2060-\u2064\ufeff]{0,8}"
_NAMES: dict[int, list[str]] = {}
for _name, _code in html.entities.name2codepoint.items():
    _NAMES.setdefault(_code, []).append(_name)


class Secrets:
    """Removes keys and passwords from a server's texts.

    It finds them in any letter case, percent-encoded, escaped as in JSON or HTML, in hexadecimal or base64
    (also as part of longer data), wrapped, or cut off.
    """

    def __init__(self, *secrets: str) -> None:
        self._whole = sorted(
            {secret for secret in secrets if len(secret) >= _SHORTEST}, key=len, reverse=True
        )
        patterns = [pattern for secret in self._whole for pattern in _patterns(secret)]
        self._pattern = re.compile("|".join(patterns)) if patterns else None

    def remove(self, text: str) -> str:
        """Return `text` without secrets; call this before shortening it, as half a key is a secret, too."""
        if self._pattern is None:
            return text
        text = self._pattern.sub(HIDDEN, text)
        for secret in self._whole:
            text = _without_parts(text, secret)
        return text

    def stream(self) -> SecretFilter:
        """Create a filter for a text that comes in pieces."""
        return SecretFilter([secret for secret in self._whole if _is_no_word(secret)])


class SecretFilter:
    """Removes unencoded secrets from a text that comes in pieces, which may each hold only a part of one."""

    def __init__(self, secrets: list[str]) -> None:
        self._secrets = secrets
        self._rest = ""

    def feed(self, piece: str) -> str:
        """Add a piece; return the text that is certain now."""
        return self._read(piece, over=False)

    def finish(self) -> str:
        """Return the rest at the end of the text."""
        return self._read("", over=True)

    def _read(self, piece: str, *, over: bool) -> str:
        if not self._secrets:
            return piece
        text = self._rest + piece
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        end = len(text) if over else min(_safe_end(text, secret) for secret in self._secrets)
        self._rest = text[end:]
        return text[:end]


def _safe_end(text: str, secret: str) -> int:
    """The start of the longest suffix of `text` that may be the beginning of `secret`."""
    for at in range(max(0, len(text) - len(secret) + 1), len(text)):
        if secret.startswith(text[at:]):
            return at
    return len(text)


def _is_no_word(secret: str) -> bool:
    """Whether a model would not say it by itself."""
    return len(secret) >= _LONG and bool(re.search(r"[0-9]|[a-z].*[A-Z]|[A-Z].*[a-z]", secret))


def _patterns(secret: str) -> list[str]:
    if len(secret) < _LONG:
        return [re.escape(secret)]
    data = secret.encode()
    plain, hexadecimal = _GAP.join(map(_spellings, secret)), _GAP.join(f"{byte:02x}" for byte in data)
    found = [f"(?i:{plain})", f"(?i:{hexadecimal})"]
    for before in range(3):  # a secret may begin anywhere in the encoded data
        code = base64.b64encode(bytes(before) + data).decode()
        # Characters that encode only bytes of the secret.
        code = code[(0, 2, 3)[before] : len(code) - (0, 3, 2)[(before + len(data)) % 3]]
        if len(code) >= _SHORTEST:
            letters = ({"+": "[+-]", "/": "[/_]"}.get(letter, re.escape(letter)) for letter in code)
            found.append(_GAP.join(letters))
    return found


def _spellings(letter: str) -> str:
    """A pattern for one character: plain, percent-encoded, and escaped as in JSON and HTML."""
    code = ord(letter)
    names = "".join(f"|{name}" for name in _NAMES.get(code, ()))
    encoded = "".join(f"%(?:25){{0,3}}{byte:02x}" for byte in letter.encode())
    escapes = rf"\\{{0,8}}{re.escape(letter)}|\\{{1,8}}u{code:04x}|\\{{1,8}}x{code:02x}"
    return rf"(?:{escapes}|{encoded}|&(?:amp;){{0,3}}(?:#0{{0,5}}{code}|#x0{{0,5}}{code:x}{names});)"


def _without_parts(text: str, secret: str) -> str:
    """Hide parts of long secrets."""
    if len(secret) <= _PART:
        return text
    lower, whole = text.lower(), secret.lower()
    parts = {whole[at : at + _PART] for at in range(len(whole) - _PART + 1)}
    shown, at = [], 0
    while at < len(text):
        if lower[at : at + _PART] in parts:
            end = at + _PART
            while end < len(text) and lower[end - _PART + 1 : end + 1] in parts:
                end += 1
            shown.append(HIDDEN)
            at = end
        else:
            shown.append(text[at])
            at += 1
    return "".join(shown)
