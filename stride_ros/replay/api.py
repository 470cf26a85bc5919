"""`replay`: from a recording to spans, commentary and a verdict in one call, for tests and scripts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.frame_rate import rate_note
from stride_ros.errors import ConfigError, SourceError
from stride_ros.events.log import EventLog
from stride_ros.process.collector import paused_collector
from stride_ros.process.threads import AUTO, restored_threads
from stride_ros.qwen3_vl.checkpoint import BEYOND_EMBEDDED, EMBEDDED
from stride_ros.replay import DEFAULT_MODEL
from stride_ros.replay.recorded_truth import truth_topic
from stride_ros.replay.recording import Recording, open_recording
from stride_ros.response.config import BackendConfig, ResponseConfig
from stride_ros.runs.expectations import Expectations, read_expectations
from stride_ros.runs.judging import add_to
from stride_ros.runs.record import Run, Span
from stride_ros.runs.verdict import Verdict

if TYPE_CHECKING:
    from stride_ros.activation.model import ActivationModel


@dataclass
class Replay:
    """The result: the record of the run, and the verdict if there is ground truth."""

    run: Run

    @property
    def verdict(self) -> Verdict | None:
        """How the run compares with the ground truth of `expect`."""
        return self.run.verdict

    @property
    def ok(self) -> bool:
        """Whether the ground truth was met; true if there is none."""
        return self.verdict is None or self.verdict.ok

    @property
    def table(self) -> str:
        """The comparison with the ground truth, for the message of an assertion."""
        return self.verdict.table() if self.verdict is not None else "There is no ground truth."

    def spans(self, query: str | None = None) -> list[Span]:
        """The spans found, including retracted ones, of one query or of all, by onset; times in s."""
        return [span for asked, span in self.run.spans() if query in (None, asked.query)]


def replay(
    bag: str | Path,
    query: str | Sequence[str] | None = None,
    *,
    image_topic: str | None = None,
    model: str | ActivationModel = DEFAULT_MODEL,
    responder: str | BackendConfig | None = None,
    config: ActivationConfig | None = None,
    response: ResponseConfig | None = None,
    rate: float = 1.0,
    clock: str = "header",
    start: float = 0.0,
    duration: float | None = None,
    expect: str | Path | Expectations | None = None,
    device: str = "auto",
    threads: int | None = AUTO,
    out: str | Path | None = None,
    storage: str = "mcap",
    topics: Sequence[str] | None = None,
    events: str | Path | None = None,
    progress: Callable[[float, float], None] = lambda done, total: None,
) -> Replay:
    """Replay a recording offline, exactly as the nodes would process it.

    `bag`: a rosbag2 folder or file (sqlite3 or MCAP), a ROS 1 .bag or a video. `query`: one or several; None
    takes those of `expect`. `model`: name, folder or a loaded ActivationModel; `config`: its settings.
    `responder`: name or folder of the model that describes events, or a BackendConfig, None for no
    commentary; `response`: its settings. `rate`: frames per second to use. `clock`: "header" stamps or "log"
    times. `start`, `duration`: the part to play, s from the first image. `expect`: a file of ground truth, or
    an `Expectations`. `threads`: CPU threads for models that are loaded here, 0 for as many as suit their
    size, None to keep PyTorch's setting. `out`: a bag to write with the results and the recorded `topics`
    (default: the images). `events`: an event log, where the events found replace those of this recording.
    `progress(done, total)` gets seconds of the recording.

    The same arguments give the same result. Raises StrideErrors: SourceError for a recording that cannot be
    used, CheckpointError, QueryError, ConfigError.
    """
    expectations = read_expectations(expect) if isinstance(expect, str | Path) else expect
    queries = _queries(query, expectations)
    if start < 0 or (duration is not None and duration <= 0) or not rate > 0:
        raise ConfigError("start must be at least 0, and duration and rate above 0; correct the value.")
    with ExitStack() as stack:
        reader = stack.enter_context(open_recording(bag, image_topic))
        log = stack.enter_context(EventLog(events)) if events is not None else None
        wanted = [] if out is None else _copied(reader.image.topic, topics)
        absent = [topic for topic in wanted if topic not in reader.topics]
        if absent:
            raise SourceError(
                f"{bag} has no topic {absent[0]} to copy; it has: {', '.join(sorted(reader.topics))}."
            )
        total = duration or max(reader.seconds - start, 0.0)

        with paused_collector():
            from stride_ros.activation.model import ActivationModel
            from stride_ros.events.recording import write_recording
            from stride_ros.replay.bag_output import BagOutput
            from stride_ros.replay.event_sink import EventSink
            from stride_ros.replay.replayer import Replayer, Replaying

            stack.enter_context(restored_threads())
            loaded = ActivationModel.load(model, device, threads=threads) if isinstance(model, str) else model
        speaker = None
        if responder is not None:
            from stride_ros.replay.responder import ReplayResponder, load_speaker

            if isinstance(responder, str):
                responder = BackendConfig(model=responder, device=device, threads=threads)
            speaker = ReplayResponder(load_speaker(responder), response or ResponseConfig())
            stack.callback(speaker.close)
        output = None
        if out is not None:
            output = BagOutput(out, storage, model=loaded.short_name)
            stack.enter_context(output)
        sink = EventSink(str(bag), loaded.short_name) if log is not None else None
        replaying = Replaying(
            reader,
            queries,
            rate=rate,
            clock=clock,
            start=start,
            duration=duration,
            topics=wanted,
            responder=speaker,
            output=output,
            events=sink,
            truth=expectations is None,
        )
        run = Replayer(loaded, queries, config).replay(replaying, lambda done: progress(done, total))
        describe(
            run,
            reader,
            start=start,
            duration=duration,
            clock=clock,
            model=loaded.name,
            resolution=loaded.resolution,
            responder=speaker.name if speaker is not None else "",
            rate=rate,
            config=config,
            response=response,
        )
        if expectations is not None:
            if start or duration is not None:
                expectations = expectations.within(run.begin, run.begin + run.seconds)
            add_to(run, expectations)
        if log is not None and sink is not None:
            write_recording(log, str(bag), run.to_json(latencies=False), sink.found())
    return Replay(run)


def _copied(image_topic: str, topics: Sequence[str] | None) -> list[str]:
    """The recorded topics to copy. A topic that the replay writes itself would mix old and new messages."""
    from stride_ros.replay.bag_output import OUTPUT_TOPICS

    if topics is None:  # a video has no topics
        return [image_topic] if image_topic and image_topic not in OUTPUT_TOPICS else []
    for topic in topics:
        if topic in OUTPUT_TOPICS:
            raise ConfigError(f"The replay writes {topic} itself; leave it out of the topics to copy.")
    return list(topics)


def describe(
    run: Run,
    recording: Recording,
    *,
    start: float = 0.0,
    duration: float | None = None,
    clock: str,
    model: str,
    resolution: float,
    responder: str,
    rate: float,
    config: ActivationConfig | None,
    response: ResponseConfig | None,
) -> None:
    """Write into the record of a run what was played and what was set; default settings are left out.

    `resolution`: seconds per slot of the model.
    """
    truth = truth_topic(recording)
    if model == EMBEDDED and not truth:  # which a world writes
        run.notes.append(BEYOND_EMBEDDED)
    if note := rate_note(rate, resolution):
        run.notes.append(note)
    run.responder = responder
    run.source = {"image topic": recording.image.topic, "start": start, "duration": duration, "clock": clock}
    if any(query.expected for query in run.queries):
        run.source["ground truth"] = truth
    run.settings = {
        "model": model,
        "responder": responder or "none",
        "rate": rate,
        **_changed(config or ActivationConfig(), ActivationConfig()),
        **_changed(response or ResponseConfig(), ResponseConfig(), "responder."),
    }


def _changed(config: Any, default: Any, prefix: str = "") -> dict[str, Any]:
    """The settings that differ from the defaults, by name."""
    usual = asdict(default)
    return {f"{prefix}{name}": value for name, value in asdict(config).items() if value != usual[name]}


def _queries(query: str | Sequence[str] | None, expectations: Expectations | None) -> list[str]:
    given = [query] if isinstance(query, str) else list(query or ())
    queries = given or (expectations.queries if expectations is not None else [])
    if not queries:
        raise ConfigError("There is nothing to watch for; give a query, or ground truth that names one.")
    if len(set(queries)) < len(queries):
        raise ConfigError("A query is given twice; give each query once.")
    if expectations is not None and not set(queries) & set(expectations.queries):
        # Nothing would be compared, so a misspelt query would always pass.
        known = "; ".join(repr(known) for known in expectations.queries)
        raise ConfigError(f"The ground truth says nothing about {queries[0]!r}; watch for one of {known}.")
    return queries
