"""Parameters of the activation node, and the ActivationConfig they make. Needs no ROS and no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.errors import ConfigError, QueryError
from stride_ros.parameters.cameras import CAMERAS, check_cameras
from stride_ros.parameters.table import LIVE, THREADS, ParameterSpec, Table

DEFAULT_QUERY = "Tell me when a person is in view."
DEFAULT_MODEL = "interlive/STRIDE-2B"
MAX_QUERY_CHARACTERS = 1000  # a query is part of every prompt: a page of text would fill the context

if TYPE_CHECKING:
    from stride_ros.activation.model import ActivationModel

_DEFAULT = ActivationConfig()
_THRESHOLD = 0.75 if _DEFAULT.confidence_threshold is None else _DEFAULT.confidence_threshold

TABLE: Table = (
    ParameterSpec(
        "query",
        DEFAULT_QUERY,
        "What to watch for, in natural language, if queries is empty; also settable on the query topic.",
        LIVE,
    ),
    ParameterSpec(
        "queries",
        (),
        "Several things to watch for at once, instead of query; each frame is encoded only once. A message "
        "on the query topic replaces all of them.",
        LIVE,
    ),
    ParameterSpec(
        "model", DEFAULT_MODEL, "STRIDE checkpoint: a directory, a Hugging Face repository, or stride-tiny."
    ),
    ParameterSpec("device", "auto", "Device of the model: auto, cpu, cuda or cuda:N."),
    ParameterSpec(
        "dtype",
        "auto",
        "Data type of the weights; auto is bfloat16 on a GPU and float32 on a CPU.",
        choices=("auto", "float32", "bfloat16", "float16"),
    ),
    THREADS,
    CAMERAS,
    ParameterSpec(
        "image_transport",
        "raw",
        "Subscribe to <image> (raw) or to <image>/compressed (compressed).",
        choices=("raw", "compressed"),
    ),
    ParameterSpec(
        "rate",
        1.0,
        "Sampling rate of the stream by stamps (Hz): one frame per slot of the model, so 1 for slots of 1 s; "
        "a warning says when it is well above or below that.",
        LIVE,
        (0.1, 10.0),
    ),
    ParameterSpec(
        "image_timeout",
        5.0,
        "Seconds without images after which a warning gives the reason; 0: never.",
        LIVE,
        (0.0, 3600.0),
    ),
    ParameterSpec(
        "look_back",
        True,
        "Keep the features of the frames in context, so that added watches can look back.",
    ),
    ParameterSpec(
        "max_watches",
        32,
        "Maximum number of watches that services and goals may add; each needs memory and time.",
        LIVE,
        (0, 1000),
    ),
    ParameterSpec(
        "max_goals",
        100,
        "Maximum number of goals that may wait for events at once; goals may share a watch.",
        LIVE,
        (0, 1000),
    ),
    ParameterSpec(
        "max_wait",
        600.0,
        "Seconds that a goal without a timeout waits for an event; a lost client cannot be detected.",
        LIVE,
        (0.1, 86400.0),
    ),
    ParameterSpec(
        "memory_limit",
        0.0,
        "Maximum memory for keys, values and frames (MB), in addition to the model, for all watches "
        "together; watches that do not fit are refused. 0: no limit.",
        limits=(0.0, 1e7),
    ),
    ParameterSpec(
        "wait_for_responder",
        0.0,
        "Seconds to wait for a responder before watching, so that it receives the first event; 0: do not "
        "wait.",
        limits=(0.0, 3600.0),
        depends="60.0 if stride.launch.py or compose also starts a responder",
    ),
    ParameterSpec(
        "unmasking_steps",
        _DEFAULT.unmasking_steps,
        "Number of denoising passes over the window for a new decision; fewer are faster, more are finer.",
        LIVE,
        (1, 256),
    ),
    ParameterSpec(
        "retention",
        _DEFAULT.confidence_threshold is not None,
        "Keep slots of the previous decision that the model still agrees with, and denoise only the rest.",
        LIVE,
    ),
    ParameterSpec(
        "confidence_threshold",
        _THRESHOLD,
        "With retention: a slot keeps its label while P(active) differs from it by less than 1 minus this.",
        LIVE,
        (0.0, 1.0),
    ),
    ParameterSpec(
        "selection",
        _DEFAULT.selection,
        "Slots to unmask in a step: topk takes the most confident ones, pool samples from twice as many.",
        LIVE,
        choices=("topk", "pool"),
    ),
    ParameterSpec("seed", _DEFAULT.seed, "Random seed for selection pool.", LIVE, (0, 2**31 - 1)),
    ParameterSpec(
        "span_mode",
        _DEFAULT.span_mode,
        "How slots form spans: hull is one span from the first to the last active slot, runs is one span for "
        "each run of active slots.",
        LIVE,
        choices=("hull", "runs"),
    ),
    ParameterSpec(
        "max_gap",
        _DEFAULT.max_gap,
        "With span_mode runs: active runs closer than this are one event (s).",
        LIVE,
        (0.0, 60.0),
    ),
    ParameterSpec(
        "margin_seconds",
        _DEFAULT.margin_seconds,
        "A span is over once its end is this long before the newest frame (s).",
        LIVE,
        (0.0, 60.0),
    ),
    ParameterSpec(
        "trigger.min_active_seconds",
        _DEFAULT.trigger.min_active_seconds,
        "A span must last this long before its onset is published (s).",
        LIVE,
        (0.0, 60.0),
    ),
    ParameterSpec(
        "trigger.min_confidence",
        _DEFAULT.trigger.min_confidence,
        "A span must have at least this mean P(active) before its onset is published.",
        LIVE,
        (0.0, 1.0),
    ),
    ParameterSpec("multi_event", _DEFAULT.multi_event, "Look for the next event after one is over.", LIVE),
    ParameterSpec(
        "max_triggers",
        _DEFAULT.max_triggers,
        "Maximum number of further denoisings in one tick; one follows each completed span.",
        LIVE,
        (1, 1000),
    ),
    ParameterSpec(
        "max_frames",
        _DEFAULT.max_frames,
        "Maximum number of frames in the model's context.",
        limits=(2, 4096),
    ),
    ParameterSpec(
        "drop_frames",
        0,
        "Number of oldest frames to drop when the context is full, up to max_frames; 0: half of max_frames.",
        limits=(0, 4096),
    ),
    ParameterSpec("decide_every", _DEFAULT.decide_every, "Number of frames per decision.", limits=(1, 256)),
    ParameterSpec(
        "odd_frame",
        _DEFAULT.odd_frame,
        "What to do with the first frame of a pair: repeat decides immediately and uses it twice, wait "
        "decides when the second one arrives.",
        choices=("repeat", "wait"),
    ),
    ParameterSpec(
        "position_scheme",
        _DEFAULT.position_scheme,
        "Positions of the tokens: mrope as trained, flat for weights trained with plain 1-D positions.",
        choices=("mrope", "flat"),
    ),
    ParameterSpec(
        "frame_max_tokens",
        _DEFAULT.frame_max_tokens,
        "Maximum number of image tokens per frame pair; fewer are faster but show less detail.",
        limits=(1, 4096),
    ),
    ParameterSpec(
        "cuda_graphs",
        _DEFAULT.cuda_graphs,
        "On a CUDA device, replay captured passes, which starts their kernels together; the replay is "
        "checked, and turned off with a warning if it fails. No effect on a CPU.",
    ),
)


def check_values(values: Mapping[str, Any]) -> None:
    """Raise ConfigError or QueryError when the parameters do not go together."""
    to_config(values)
    check_cameras(values["cameras"])
    check_query(values["query"], "The query")
    for number, query in enumerate(values["queries"], 1):
        check_query(query, f"Query {number} in queries")
    if len(set(values["queries"])) < len(values["queries"]):
        raise QueryError("A query is listed twice in queries; list each one once.")


def check_query(query: str, what: str = "The query") -> None:
    """Raise QueryError for a query that no model could work with; `what` names it."""
    if not query.strip():
        raise QueryError(f"{what} is empty; say what to watch for, like 'Tell me when a person is in view.'.")
    if len(query) > MAX_QUERY_CHARACTERS:
        raise QueryError(f"{what} has {len(query)} characters; use at most {MAX_QUERY_CHARACTERS}.")


def watched_queries(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the node watches for: `queries`, or `query` alone while there are none."""
    return tuple(values["queries"]) or (values["query"],)


def check_with_model(values: Mapping[str, Any], model: ActivationModel) -> None:
    """Raise QueryError or ConfigError when a loaded model cannot work with these parameters."""
    for query in (values["query"], *values["queries"]):
        model.prompt.check_query(query)
    needed, covered = values["trigger.min_active_seconds"], model.past * model.resolution
    if needed > covered:
        raise ConfigError(
            f"trigger.min_active_seconds is {needed:g}, but the model's window covers {covered:g} s; "
            "use at most that."
        )


def memory_limit(values: Mapping[str, Any]) -> int | None:
    """Bytes that the state beside the model may take; None: no limit."""
    return round(values["memory_limit"] * 1e6) or None


def to_config(values: Mapping[str, Any]) -> ActivationConfig:
    """Return the configuration these parameters stand for; raises ConfigError."""
    given = {"drop_frames": values["drop_frames"]} if values["drop_frames"] else {}
    return ActivationConfig(
        confidence_threshold=values["confidence_threshold"] if values["retention"] else None,
        trigger=TriggerConfig(
            min_active_seconds=values["trigger.min_active_seconds"],
            min_confidence=values["trigger.min_confidence"],
        ),
        **{
            name: values[name]
            for name in (
                "unmasking_steps",
                "selection",
                "seed",
                "span_mode",
                "max_gap",
                "margin_seconds",
                "multi_event",
                "max_triggers",
                "max_frames",
                "decide_every",
                "odd_frame",
                "position_scheme",
                "frame_max_tokens",
                "cuda_graphs",
            )
        },
        **given,
    )
