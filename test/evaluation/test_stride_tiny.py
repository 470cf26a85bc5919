"""The embedded checkpoint knows when to speak, and what to say, on clips it has never seen."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from stride_ros.activation.model import ActivationModel  # noqa: E402
from stride_ros.evaluation.detectors import Session  # noqa: E402
from stride_ros.evaluation.sentences import SentenceScorer  # noqa: E402
from stride_ros.evaluation.world import clips, score  # noqa: E402

pytestmark = pytest.mark.slow

torch.set_num_threads(1)


def test_stride_tiny_finds_the_events_of_held_out_clips_and_names_them():
    model = ActivationModel.load("stride-tiny", device="cpu")
    scorer = SentenceScorer("stride-tiny", device="cpu")
    tally = score(Session(model), clips(seed=4, count=4, queries=4), scorer)
    metrics = tally.metrics()
    assert tally.events >= 20
    assert metrics["span_f1_50"] >= 0.85
    assert metrics["onset_recall"] >= 0.9
    assert metrics["false_alarms_per_minute"] <= 0.6  # 16 query minutes: a few at most
    assert metrics["text_accuracy"] >= 0.85
    assert metrics["onset_delay_s"] <= 1.5
