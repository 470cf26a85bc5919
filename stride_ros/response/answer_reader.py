"""Read one answer of a server, from bytes to the text to speak; the caller handles network and timeouts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from stride_ros.response.chat_stream import COMPLETE, ChatReader, Piece, ServerSaidError, error_of, words_of
from stride_ros.response.event_stream import Event, EventReader
from stride_ros.response.reasoning import ReasoningFilter
from stride_ros.text.foreign import Mender

LETTERS_PER_TOKEN = 16  # more than the average of any tokenizer
_LONGEST_WORDS = 4000  # characters kept of a body that is not an answer


class CutOffError(Exception):
    """The body ended before the answer did."""


class NotAChatError(Exception):
    """The body is not a chat completion; the message is its beginning."""


class UnfinishedError(Exception):
    """The server ended the answer before the model did; `reason` is the finish reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class EndlessError(Exception):
    """The answer is much longer than requested."""


class OnlyThoughtsError(Exception):
    """The answer is complete but consists only of thoughts."""


class RefusedError(Exception):
    """The model refused to answer, in these words."""


class AnswerReader:
    """Reads the body of one answer and passes each piece of text to speak to `say`.

    The text contains no thoughts and can be published. `opened` is what is known about this server's answers:
    whether they begin inside thoughts that the prompt opened, None if nothing is known yet; `learned` is what
    is known at the end. Up to `longest` characters are read. `heard` grows with each piece that is neither
    thoughts nor white space; `over` tells that the answer is complete although the connection may stay open,
    `done` that nothing follows at all.
    """

    def __init__(self, say: Callable[[str], None], *, opened: bool | None = None, longest: int) -> None:
        self.done = False
        self.heard = 0
        self.learned = opened
        self._say = say
        self._opened = opened
        self._longest = longest
        self._events = EventReader()
        self._chat = ChatReader()
        self._mender = Mender()
        self._thoughts = ReasoningFilter(False if opened is False else None)
        self._words = ""  # the beginning of text that is not JSON
        self._foreign = ""  # the beginning of JSON that is not a chat completion
        self._thought = False
        self._apart = False  # thoughts come in a separate field
        self._cut = False  # the body ended within a line
        self._left = False

    @property
    def over(self) -> bool:
        """Whether the server has marked the answer as complete."""
        return self.done or bool(self._chat.finish)

    @property
    def unfinished(self) -> bool:
        """Whether a value from the server is incomplete, so that more must come."""
        return self._events.unfinished

    @property
    def thinking(self) -> bool:
        """Whether only thoughts have arrived so far."""
        return self._thought and not self._thoughts.said

    @property
    def tokens(self) -> int:
        """Number of tokens counted by the server, 0 if it does not count them."""
        return self._chat.tokens

    def feed(self, data: bytes) -> None:
        """Read some bytes. Raises the errors of `finish` as soon as they are certain."""
        self._take(self._events.feed(data))

    def settle(self) -> None:
        """Read what is complete although its line has not ended, since nothing has arrived for a while."""
        self._take(self._events.settle())

    def release(self) -> None:
        """Stop holding text back, unless this server's answers are known to begin inside thoughts."""
        if self._opened is not True:
            self._hand_out(self._thoughts.known())

    def finish(self) -> None:
        """Handle the end of the body: say what is left.

        Raises CutOffError, NotAChatError, OnlyThoughtsError, RefusedError, ServerSaidError or UnfinishedError
        if it is not a complete answer.
        """
        if not self.done:
            self._cut = self._events.in_line
            self._take(self._events.finish())
        problem = self._problem()
        self._leave(complete=problem is None)
        if not self._thoughts.said:  # checked only now: the end may have shown that held text is not thoughts
            problem = self._instead_of_text() or problem
        if problem is not None:
            raise problem

    def abandon(self) -> None:
        """Give up the answer: say the text that was held back, unless it is thoughts."""
        self._leave(complete=False)

    def _leave(self, *, complete: bool) -> None:
        if self._left:
            return
        self._left = True
        self._hand_out(self._thoughts.feed(self._mender.finish()))
        self._hand_out(self._thoughts.finish(complete=complete, suspect=self._opened is True))
        if self._thoughts.orphan:
            self.learned = True
        elif complete and self._thoughts.said:
            self.learned = False

    def _problem(self) -> Exception | None:
        chat = self._chat
        if chat.finish in COMPLETE or (not chat.finish and (self.done or chat.whole)):
            return None
        if chat.finish:
            return UnfinishedError(chat.finish)
        if chat.recognised:
            return ServerSaidError(self._words) if self._words else CutOffError()
        words = self._words or self._foreign
        return NotAChatError(words) if words else CutOffError()

    def _instead_of_text(self) -> Exception | None:
        """What arrived in place of text, if that explains the missing text better than the end does."""
        chat = self._chat
        if chat.refusal:
            return RefusedError(chat.refusal)
        if self._problem() is not None:
            return None
        if chat.tools:
            return UnfinishedError("tool_calls")
        return OnlyThoughtsError() if self._thought else None

    def _take(self, events: Iterable[Event]) -> None:
        for event in events:
            if self.done:
                return
            try:
                self._take_one(event)
            except RecursionError:
                raise NotAChatError("deeply nested JSON") from None

    def _take_one(self, event: Event) -> None:
        if event.kind == "done":
            self.done = True
        elif event.kind == "error":
            if self._chat.finish not in COMPLETE:
                raise error_of(event.value) or ServerSaidError(words_of(event.value))
        elif event.kind == "json":
            try:
                for piece in self._chat.read(event.value):
                    self._hear(piece)
            except ServerSaidError:
                if self._chat.finish not in COMPLETE:
                    raise
            if not self._chat.recognised and event.value:
                self._foreign = self._foreign or json.dumps(event.value, ensure_ascii=False)[:_LONGEST_WORDS]
        else:
            if event.kind == "broken" and self._cut and self._chat.recognised:
                raise CutOffError
            self._words = self._words or event.value[:_LONGEST_WORDS]
            page = event.value.lstrip().startswith("<") and not self._chat.recognised
            if page or event.kind == "broken":
                raise NotAChatError(self._words)

    def _hear(self, piece: Piece) -> None:
        if piece.thought:
            self._thought = True
            if not self._apart:
                self._apart = True
                self._hand_out(self._thoughts.known())
            return
        before = self._thoughts.heard
        self._hand_out(self._thoughts.feed(self._mender.feed(piece.text)))
        if self._thoughts.heard > before and not piece.text.isspace():
            self.heard += 1
        self._thought = self._thought or self._thoughts.thinking or self._thoughts.orphan
        if self._thoughts.heard > self._longest:
            raise EndlessError

    def _hand_out(self, texts: Iterable[str]) -> None:
        for text in texts:
            self._say(text)
