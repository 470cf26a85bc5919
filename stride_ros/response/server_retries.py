"""Decide whether asking a server again may help, and after how long."""

from __future__ import annotations

import math
import re
import ssl
import time
from email.utils import parsedate_to_datetime

from stride_ros.errors import causes
from stride_ros.response.answer_reader import CutOffError
from stride_ros.response.chat_stream import ServerSaidError
from stride_ros.response.server_client import StatusError

LONGEST_WAIT = 30.0  # maximum s before a retry: a server that asks for more is not asked again
_PASSING = {408, 409, 425, 429}
_QUOTA = re.compile(
    r"insufficient[_ ]?(quota|balance|credit|fund)|exceeded your (current|monthly|daily|weekly) quota"
    r"|quota (is |has been |was )?(used up|exhausted|exceeded)|quota[_ ]?exceeded|used up [a-z ]*quota"
    r"|out of (credits?|quota)|(no|not enough) (credits?|balance)|billing_hard_limit|billing hard limit"
    r"|spend(ing)? limit|payment required|hard limit has been reached|arrear",
    re.IGNORECASE,
)
_NO_IMAGES = re.compile(
    r"(not|n't|un|no)[ -]?(a )?(support|accept|allow|handle|process|multi)[a-z ]{0,20}"
    r"(images?|image[_ ](url|inputs?)|vision|modal)\b|not multi-?modal|remove image inputs|mmproj"
    r"|images?[_ a-z]{0,12} (is|are) (not|un)[a-z ]{0,4}(support|enabl|allow|accept)"
    r"|no endpoints[a-z ]{0,20} support image|unsupported content part|at most 0 image"
    r"|unknown variant .?image_url|missing data required for image|content.{0,4} ?: value must be a string",
    re.IGNORECASE,
)
_TOO_MUCH = re.compile(
    r"at most [1-9]\d* (images?|videos?)\b|too many (images|frames|tokens)|prompt is too (long|large)"
    r"|(maximum|available|model'?s) context|context[ _](length|size|window)"
    r"|exceeds? the (max|limit)[a-z ]{0,30}(token|image)",
    re.IGNORECASE,
)
# What clouds call a passing error where it has no HTTP status, as in an answer that began with 200.
_PASSING_CODE = re.compile(
    r"rate[_ -]?limit|too[_ -]?many[_ -]?requests|throttl|overload|over[_ -]?capacity|resource[_ -]?exhausted"
    r"|unavailable|server[_ -]?error|internal[_ -]?error|time[_ -]?out|server[_ -]?busy",
    re.IGNORECASE,
)
_BUSY = re.compile(
    r"rate[_ -]?limit|too[_ -]?many[_ -]?requests|throttl|overloaded|over[_ -]?capacity"
    r"|resource[_ -]?exhausted|server[_ -]?busy|temporarily unavailable"
    r"|(try|retry)[a-z ]{0,20} (again )?(later|in|after) ?\d",
    re.IGNORECASE,
)
# Some ask for a pause only in the body: Gemini's endpoint, and clouds in words ("try again in 1m2.5s").
_RETRY_DELAY = re.compile(r'"retryDelay"\s*:\s*"([\d.]+s)"')
_TRY_AGAIN = re.compile(
    r"(?:try again|retry)(?: your request)? (?:in|after) ((?:\d+(?:\.\d+)? ?(?:ms|h|m|s)[a-z]* ?)+)",
    re.IGNORECASE,
)
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def is_passing(error: Exception) -> bool:
    """Whether the same request may succeed a moment later."""
    if isinstance(error, StatusError):
        if takes_no_images(error.body) or was_too_much(error.body):
            return False
        if error.status not in _PASSING and (error.status < 500 or error.status in (501, 505)):
            return False
        return not is_quota(error) and retry_after(error) <= LONGEST_WAIT
    if isinstance(error, ServerSaidError):
        words = error.words
        if takes_no_images(words) or was_too_much(words) or is_quota(error):
            return False
        return _passes(error) and retry_after(error) <= LONGEST_WAIT
    if isinstance(error, CutOffError):
        return True
    return is_of_the_line(error) and tls_error(error) is None


def _passes(error: ServerSaidError) -> bool:
    """Whether the code or the words of an error in an answer are those of a passing one."""
    if error.code.isdigit() and len(error.code) == 3:
        return int(error.code) in _PASSING or int(error.code) >= 500
    return bool(_PASSING_CODE.search(error.code)) or is_busy(error)


def is_busy(error: ServerSaidError) -> bool:
    """Whether an error in an answer says that the server has too much to do at the moment."""
    return error.code in ("429", "529") or bool(_BUSY.search(f"{error.code} {error.words}"))


def is_quota(error: StatusError | ServerSaidError) -> bool:
    """Whether the server refuses because a quota is used up, which retries do not change."""
    if isinstance(error, ServerSaidError):
        return is_quota_text(f"{error.code} {error.words}") and not retry_after(error)
    if error.status == 402:
        return True
    if error.status not in (403, 429) or retry_after(error):
        return False
    return is_quota_text(error.body)


def is_quota_text(text: str) -> bool:
    """Whether a server's words say that a quota is used up."""
    return bool(_QUOTA.search(text))


def takes_no_images(text: str) -> bool:
    """Whether a server's words say that the model, as it is served, takes no images."""
    return bool(_NO_IMAGES.search(text))


def was_too_much(text: str) -> bool:
    """Whether a server's words say that the request has too many images or tokens."""
    return bool(_TOO_MUCH.search(text))


def retry_after(error: Exception) -> float:
    """Seconds that the server asks to wait before the next attempt, 0 if it does not."""
    if isinstance(error, ServerSaidError):
        return _asked_wait(error.words)
    if not isinstance(error, StatusError):
        return 0.0
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = error.headers.get(name, "").strip()
        try:
            seconds = float(text) * unit
        except ValueError:
            try:
                seconds = parsedate_to_datetime(text).timestamp() - time.time()
            except (ValueError, TypeError, OverflowError):
                continue
        if not math.isnan(seconds):
            return max(0.0, seconds)
    return _asked_wait(error.body) if error.status in (429, 503) else 0.0


def _asked_wait(body: str) -> float:
    """Seconds that a body asks to wait, for answers without the header; 0 if it does not."""
    found = _RETRY_DELAY.search(body) or _TRY_AGAIN.search(body)
    if found is None:
        return 0.0
    parts = re.findall(r"(\d+(?:\.\d+)?) ?(ms|h|m|s)", found[1].lower())
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def is_of_the_line(error: BaseException) -> bool:
    """Whether it is a connection error: reset, timeout, broken protocol."""
    modules = {type(cause).__module__.partition(".")[0].rstrip("2") for cause in causes(error)}
    return bool(modules & {"httpx", "httpcore", "h11", "anyio"}) or any(
        isinstance(cause, OSError) for cause in causes(error)
    )


def tls_error(error: BaseException) -> ssl.SSLError | None:
    found = [cause for cause in causes(error) if isinstance(cause, ssl.SSLError)]
    passing = (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
    return next((cause for cause in found if not isinstance(cause, passing)), None)
