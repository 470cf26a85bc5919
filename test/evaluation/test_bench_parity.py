"""Runners of benchmarks ask what the official code asks: the same order, clips and prompts, byte for byte.

The checkouts that `--official` reads are written here from the templates beside the benchmark data, and from
what official prompts have around them; sets without that say so and are skipped.
"""

import json
import re
from fractions import Fraction

import av
import numpy as np
import pytest

from stride_ros.errors import BackendError
from stride_ros.evaluation.runners.annotations import part_of
from stride_ros.evaluation.runners.asking import Reply, by_video
from stride_ros.evaluation.runners.clips import sample_indices
from stride_ros.evaluation.runners.et_bench import SEVERAL, EtBench, in_order, key_of
from stride_ros.evaluation.runners.options import Options
from stride_ros.evaluation.runners.ovo_bench import OvoBench
from stride_ros.evaluation.runners.prompts import ovo_wording, streaming_wording
from stride_ros.evaluation.runners.run import BenchmarkRun
from stride_ros.evaluation.runners.store import Entry
from stride_ros.evaluation.runners.streaming_bench import StreamingBench

KINDS = ("real", "omni", "sqa", "proactive")


def needed(folder, *names):
    for name in names:
        if not (folder / name).is_file():
            pytest.skip(f"{folder} has no {name}: give a whole set by STRIDE_BENCHMARKS_DIR")
    return [json.loads((folder / name).read_text()) for name in names]


def converse(item, length, reply):
    """Give an item its replies by `reply(ask)`; what was asked, and the result."""
    asked = []
    talk = item.talk(length)
    try:
        ask = next(talk)
        while True:
            asked.append(ask)
            text = reply(ask)
            ask = talk.send(Reply(text, "" if text is not None else "It failed."))
    except StopIteration as end:
        return asked, end.value


def module(constants, *functions):
    """Source code with these constants and functions; `repr` writes every text without its meaning."""
    lines = [f"{name} = {text!r}" for name, text in constants.items()]
    return "\n\n".join([*lines, *functions, "raise RuntimeError('it was run')"]) + "\n"


def fields(text, places):
    """An f-string whose text has the source code of these places where their values are now."""
    source = text.replace("\\", "\\\\").replace("{", "{{").replace("}", "}}")
    for place, value in places.items():
        assert value in text
        source = source.replace(value.replace("{", "{{").replace("}", "}}"), "{" + place + "}")
    return f'f"""{source}"""'


# ET-Bench


@pytest.fixture
def et_bench(benchmarks):
    return EtBench(benchmarks, benchmarks / "etbench" / "annotations.json")


@pytest.fixture
def expected(benchmarks):
    (runner,) = needed(benchmarks / "etbench", "runner.json")
    return runner


def test_samples_come_in_the_order_of_the_authors(et_bench, expected):
    found = [[sample["task"], sample["source"], sample["idx"]] for sample in et_bench.samples]
    assert found == expected["order (task, source, idx), one process"]


def test_parts_are_those_of_several_processes(et_bench, expected, benchmarks):
    wanted = expected["chunks of 3 processes (first and last position, count)"]
    samples = et_bench.samples
    for number, (first, last, count) in enumerate(wanted, 1):
        part = part_of(samples, (number, 3))
        assert (len(part), part[0], part[-1]) == (count, samples[first], samples[last])
        run = EtBench(benchmarks, et_bench.annotations, part=(number, 3))
        assert run.samples == samples[first : last + 1]
    assert in_order(samples) != samples[::-1]


def test_pictures_are_those_that_the_authors_take(expected):
    for case in expected["sampling_1_fps"]:
        indices, times = sample_indices(case["frames"], case["average_fps"])
        assert indices == case["indices"]
        assert np.allclose(times, case["timestamps"], rtol=0, atol=1e-9)


def test_tasks_with_several_events_and_what_counts_as_done(et_bench, expected, benchmarks):
    assert sorted(SEVERAL) == expected["multi_event_tasks"]
    lines = (benchmarks / "etbench" / "stride_full.jsonl").read_text().splitlines()
    stored = [entry for entry in map(json.loads, lines) if "_key" in entry]
    done = {entry["_key"] for entry in stored if "error" not in entry["_value"]}
    assert len(done) == expected["resume: keys that count as done in stride_full.jsonl"]
    left = [key for job in et_bench.jobs(done) for key in job.keys]
    assert set(left) == set(et_bench.keys()) - done


def test_the_question_is_that_of_the_annotations_word_for_word(benchmarks):
    folder = benchmarks / "etbench"
    (prompts,) = needed(folder, "prompts.json")
    bench = EtBench(benchmarks, folder / "annotations.json")
    samples = {(sample["task"], sample["source"], sample["idx"]): sample for sample in bench.samples}
    for prompt in prompts:
        sample = samples.get((prompt["task"], prompt["source"], prompt["idx"]))
        if sample is None:
            continue
        text, video = prompt["messages"][0]["content"]
        assert (text["type"], video["type"]) == ("text", "video")
        queries = []

        class Stream:
            def watch(self, query, id=None, _queries=queries):
                _queries.append(query)

        (job,) = [job for job in bench.jobs(()) if key_of(sample) in job.keys]
        job.before(Stream(), 0.0)
        assert text["text"] in queries
        assert (sample["task"] in SEVERAL) is prompt["is_multi_event"]


# OVO-Bench


@pytest.fixture
def ovo_folder(benchmarks):
    needed(benchmarks / "ovobench", "windows.json", "durations.json", "script.json")
    return benchmarks / "ovobench"


@pytest.fixture
def ovo_checkout(ovo_folder, tmp_path):
    templates, prompts = needed(ovo_folder, "templates.json", "prompts.json")
    (annotations,) = needed(ovo_folder, "annotations.json")
    constants = templates["constant.py"]
    counted = next(prompt for prompt in prompts["prompts"] if prompt["task"] == "REC")
    before, after = constants["REC_PROMPT_TEMPLATE"].split("{}")
    question = counted["prompt"].removeprefix(before).removesuffix(after)
    number = counted["clip"].partition("_")[0]
    activity = next(item["activity"] for item in annotations if str(item["id"]) == number)
    start, end = question.split(activity)
    (tmp_path / "utils").mkdir()
    (tmp_path / "constant.py").write_text(module(constants))
    code = (
        f"def build(question, activity):\n    if activity:\n        question = {start!r} + activity + {end!r}"
    )
    (tmp_path / "utils" / "OVOBench.py").write_text(module({}, code))
    return tmp_path


@pytest.fixture
def ovo_bench(ovo_folder):
    def make(checkout=None):
        return OvoBench(ovo_folder, ovo_folder / "annotations.json", ovo_wording(checkout))

    return make


def ask_ovo(bench, folder):
    """Every question with the script's reply: (clip, ask, key, result)."""
    script, durations = needed(folder, "script.json", "durations.json")
    lengths = {str(bench.root / name): seconds for name, seconds in durations.items()}
    for item in bench.items():
        asked, result = converse(item, lengths[str(item.video)], lambda ask: script[ask.clip])
        (ask,) = asked
        assert item.windows(lengths[str(item.video)]) == [ask.window]
        yield ask, item.key, result


def test_ovo_clips_are_the_official_ones(ovo_bench, ovo_folder):
    (windows,) = needed(ovo_folder, "windows.json")
    found = {ask.clip: [ask.window.start, ask.window.end] for ask, *_ in ask_ovo(ovo_bench(), ovo_folder)}
    assert found == windows["clips"]
    assert len(found) == windows["queries"]


def test_ovo_prompts_are_the_official_ones(ovo_bench, ovo_folder, ovo_checkout):
    (prompts,) = needed(ovo_folder, "prompts.json")
    bench = ovo_bench(ovo_checkout)
    assert bench.wording.label == "official"
    found = {ask.clip: ask.prompt for ask, *_ in ask_ovo(bench, ovo_folder)}
    assert list(found) == prompts["calls_in_order"]
    for prompt in prompts["prompts"]:
        assert found[prompt["clip"]].encode() == prompt["prompt"].encode()


def test_a_scripted_run_writes_what_the_official_inference_writes(ovo_bench, ovo_folder, tmp_path, score):
    bench = ovo_bench()
    bench._folder = "data/src_videos"  # where official checkouts have the videos, which nobody has made
    entries = [Entry(key, result) for _, key, result in ask_ovo(_at(bench, ovo_folder), ovo_folder)]
    path = bench.write(entries, {}, tmp_path)
    (official,) = (ovo_folder / "results" / "scripted").iterdir()
    assert json.loads(path.read_text()) == json.loads(official.read_text())
    ours, *_ = score("ovo-bench", path)
    theirs, *_ = score("ovo-bench", official)
    assert ours["printed"] == theirs["printed"]


def _at(bench, folder):
    bench.root = folder
    return _Rooted(bench)


class _Rooted:
    """The items of a benchmark, whose `root` is that of the videos."""

    def __init__(self, bench):
        self.root, self.items = bench.root / bench._folder, bench.items


class Scripted:
    """A backend that gives these replies in turn; None: it fails."""

    name, remote, last_tokens = "scripted", False, 1

    def __init__(self, replies):
        self._replies = iter(replies)
        self.prompts = []

    def warm_up(self):
        pass

    def stream(self, request, cancelled):
        self.prompts.append(request.query)
        reply = next(self._replies)
        if reply is None:
            raise BackendError("The script says that it fails.")
        yield reply

    def close(self):
        pass


def write_video(path, seconds):
    """A video of that length to 0.01 s, with a picture every 10 s and one at its very end."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=100)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        end = round(100 * seconds)
        packets = []
        for time in (*range(0, end - 1, 1000), end - 1):
            frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), time % 255, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 100)
            packets += stream.encode(frame)
        for packet in (*packets, *stream.encode()):
            container.mux(packet)


def test_a_run_on_videos_of_the_official_lengths_equals_the_official_one(ovo_folder, tmp_path, agree):
    script, durations, windows = needed(ovo_folder, "script.json", "durations.json", "windows.json")
    root = tmp_path / "root"
    for name, seconds in durations.items():
        path = root / "data" / "src_videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, seconds)
    options = Options("ovo-bench", root, tmp_path / "run", ovo_folder / "annotations.json")
    in_turn = [item for group in by_video(BenchmarkRun(options).bench.items()) for item in group]
    clips = [
        converse(item, durations[item.video.relative_to(root / "data/src_videos").as_posix()], str)
        for item in in_turn
    ]
    backend = Scripted([script[asked[0].clip] for asked, _ in clips])
    outcome = BenchmarkRun(options, [backend]).run()
    entries = [json.loads(line) for line in (tmp_path / "run" / "run.jsonl").read_text().splitlines()[1:]]
    asked = [entry["asked"][0] for entry in entries]
    assert {one["clip"]: [one["start"], one["end"]] for one in asked} == windows["clips"]
    assert [one["prompt"] for one in asked] == backend.prompts
    (official,) = (ovo_folder / "results" / "scripted").iterdir()
    ours = json.loads((tmp_path / "run" / "predictions.json").read_text())
    assert ours == json.loads(official.read_text())
    (expected,) = needed(ovo_folder, "expected.json")
    for key in ("printed", "tasks", "exact"):
        agree(outcome.score.result[key], expected["scripted"][key])
    failed = sum(reply is None for reply in script.values())
    assert len(outcome.errors) == failed > 0


# StreamingBench


@pytest.fixture
def streaming_folder(benchmarks):
    folder = benchmarks / "streamingbench"
    needed(folder, "script.json", "windows.json", "prompts.json", "templates.json")
    return folder


@pytest.fixture
def streaming_checkout(streaming_folder, tmp_path):
    (prompts, templates) = needed(streaming_folder, "prompts.json", "templates.json")
    (real, sqa, polled) = needed(
        streaming_folder, "questions_real.json", "questions_sqa.json", "questions_proactive.json"
    )
    files = {path.rpartition("/")[2]: constants for path, constants in templates.items()}
    place = tmp_path / "checkout" / "src" / "benchmark"
    place.mkdir(parents=True)

    question = real[0]["questions"][0]
    formatted = files["StreamingBench.py"]["PROMPT_TEMPLATE"].format(
        question["question"], *question["options"]
    )
    ending = prompts["real"][0]["prompt"].removeprefix(formatted)
    code = (
        "def evaluate(question):\n    if 'options' in question:\n"
        "        inp = PROMPT_TEMPLATE.format(ques, *options)\n"
        f"        inp += {ending!r}\n"
        "    else:\n        inp = PROMPT_TEMPLATE_WITHOUT_OPTIONS.format(ques)\n        inp += ' The end.'"
    )
    (place / "StreamingBench.py").write_text(module(files["StreamingBench.py"], code))

    _, second, third = (entry["questions"][0] for entry in sqa[0][:3])
    told = [
        _context(files["StreamingBenchSQA.py"]["PROMPT_TEMPLATE"], prompts["sqa"][i]["prompt"])
        for i in (1, 2)
    ]
    last = told[1].removeprefix(told[0])
    opening = told[0].partition(last[:10])[0]
    places = {
        "question['time_stamp']": second["time_stamp"],
        "ques": second["question"],
        **{f"options[{i}]": second["options"][i] for i in range(4)},
    }
    entry = re.sub(rf"\b{second['answer']}(\W*)$", r"{question['answer']}\1", fields(last, places))
    code = (
        "def evaluate():\n    context = ''\n    for question in data:\n        if not context:\n"
        f"            context += {opening!r}\n        context += {entry}"
    )
    (place / "StreamingBenchSQA.py").write_text(module(files["StreamingBenchSQA.py"], code))
    assert third["question"] in prompts["sqa"][2]["prompt"]

    template = files["StreamingBenchProactive.py"]["PROMPT_TEMPLATE_PROACTIVE"]
    before, after = template.split("{}")
    poll = prompts["proactive"][0]["prompt"].removeprefix(before).removesuffix(after)
    asked = polled[0]["questions"][0]
    rest = poll.removeprefix(asked["question"])
    start, end = rest.split(asked["ground_truth_output"])
    code = (
        "def evaluate(question):\n"
        f"    query = f\"{{question['question']}}\" + {start!r} + question['ground_truth_output'] + {end!r}"
    )
    (place / "StreamingBenchProactive.py").write_text(module(files["StreamingBenchProactive.py"], code))
    return tmp_path / "checkout"


def _context(template, prompt):
    before, after = template.split("{}")[:2]
    return prompt.removeprefix(before).partition(after)[0]


@pytest.fixture
def streaming(streaming_folder, streaming_checkout):
    def make(context=-1, kinds=KINDS):
        wording = streaming_wording(streaming_checkout)
        return StreamingBench(streaming_folder, streaming_folder, wording, context=context, kinds=kinds)

    return make


def ask_streaming(bench, folder):
    """Every call in the official order with the script's reply: (kind, asks, key, result)."""
    (script,) = needed(folder, "script.json")
    coming = {kind: iter(script[kind]) for kind in KINDS}
    for item in bench.items():
        kind = item.key.partition("/")[0]
        asked, result = converse(item, 1e9, lambda ask, kind=kind: next(coming[kind]))
        assert {ask.window for ask in asked} <= set(item.windows(1e9))
        yield kind, asked, item.key, result
    assert not [kind for kind in KINDS if next(coming[kind], None) is not None]


@pytest.mark.parametrize("context", [-1, 60])
def test_streaming_clips_are_the_official_ones(context, streaming, streaming_folder):
    (windows,) = needed(streaming_folder, "windows.json")
    found = {kind: [] for kind in KINDS}
    for kind, asked, *_ in ask_streaming(streaming(context), streaming_folder):
        clips = [[ask.clip, ask.window.start, ask.window.end] for ask in asked]
        found[kind] += [clip for i, clip in enumerate(clips) if clip not in clips[:i]]
    assert found == windows[f"context_time {context}"]


def test_streaming_prompts_are_the_official_ones(streaming, streaming_folder):
    (prompts,) = needed(streaming_folder, "prompts.json")
    bench = streaming()
    assert bench.wording.label == "official"
    calls = {kind: [] for kind in KINDS}
    for kind, asked, *_ in ask_streaming(bench, streaming_folder):
        calls[kind] += asked
    for kind in KINDS:
        for prompt in prompts[kind]:
            ask = calls[kind][prompt["call"]]
            assert (ask.clip, ask.prompt.encode()) == (prompt["clip"], prompt["prompt"].encode())


def test_a_scripted_run_writes_what_the_official_runs_write(streaming, streaming_folder, tmp_path, score):
    bench = streaming()
    entries = [Entry(key, result) for _, _, key, result in ask_streaming(bench, streaming_folder)]
    place = bench.write(entries, {"responder": "Scripted"}, tmp_path)
    for kind in KINDS:
        ours = json.loads((place / f"{kind}.json").read_text())
        official = json.loads((streaming_folder / "outputs" / f"scripted_{kind}.json").read_text())
        assert ours == official, kind
    (expected,) = needed(streaming_folder, "expected.json")
    found, *_ = score("streaming-bench", place)
    assert found["real"]["stats"] == expected["scripted"]["real"]["stats"]


def test_a_sequence_that_is_gone_on_with_is_told_all_that_came_before(streaming, streaming_folder):
    """The official code forgets what an earlier process has asked."""
    bench = streaming(kinds=("sqa",))
    prompts = [asked[0].prompt for _, asked, _, _ in ask_streaming_of(bench, streaming_folder, "sqa")]
    third = next(item for item in bench.items() if item.key == "sqa/0/2/0")
    asked, _ = converse(third, 1e9, lambda ask: "A")
    assert asked[0].prompt == prompts[2]


def ask_streaming_of(bench, folder, kind):
    (script,) = needed(folder, "script.json")
    replies = iter(script[kind])
    for item in bench.items():
        asked, result = converse(item, 1e9, lambda ask: next(replies))
        yield kind, asked, item.key, result


def test_polling_ends_as_in_the_official_code(benchmarks, tmp_path):
    (cases,) = needed(benchmarks / "streamingbench", "cases.json")
    question = {
        "task_type": "Proactive Output",
        "question": "When it rains, say so.",
        "time_stamp": "00:00:10",
        "ground_truth_time_stamp": "00:00:11",
        "ground_truth_output": "rain",
    }
    (tmp_path / "questions_proactive.json").write_text(
        json.dumps([{"video_path": "v.mp4", "questions": [question]}])
    )
    (item,) = StreamingBench(tmp_path, tmp_path, streaming_wording(None), kinds=("proactive",)).items()
    for case in cases["proactive_polling"]:
        if "official" in case or not isinstance(case.get("first_reply"), str):
            continue
        replies = iter([case["first_reply"], *["no"] * 20])
        _, result = converse(item, 100.0, lambda ask, replies=replies: next(replies))
        assert result["answered"] == case["answered"], case
        assert len(result["dialog_history"]) == case["entries"], case


def test_a_question_after_its_answer_is_never_polled(benchmarks, tmp_path):
    (cases,) = needed(benchmarks / "streamingbench", "cases.json")
    case = cases["proactive_truth_before_question"]
    stamps = {
        name: f"00:00:{case[key]}" for name, key in (("time_stamp", "question_at"), ("truth", "truth_at"))
    }
    question = {
        "task_type": "Proactive Output",
        "question": "?",
        "time_stamp": stamps["time_stamp"],
        "ground_truth_time_stamp": stamps["truth"],
        "ground_truth_output": "rain",
    }
    (tmp_path / "questions_proactive.json").write_text(
        json.dumps([{"video_path": "v.mp4", "questions": [question]}])
    )
    bench = StreamingBench(tmp_path, tmp_path / "questions_proactive.json", streaming_wording(None))
    (item,) = bench.items()
    asked, result = converse(item, 100.0, lambda ask: "yes")
    assert (asked, result) == ([], case["stored"])
