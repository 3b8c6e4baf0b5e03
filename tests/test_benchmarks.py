"""The benchmarks run, and say what they measured: not how fast this machine is today."""

import itertools
import json
import math
import os
import statistics
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import common, report
from benchmarks.__main__ import main
from benchmarks.accuracy import compare
from benchmarks.growth import growth_exponent
from detector.base.errors import ExpectedError
from tests.helpers import ROOT

# Two commands at once: most of their time, one core starts TensorFlow.
FEW = (("step",), ("growth",))
OTHERS = (("preprocess", "execution", "predict"), ("accuracy", "input_path", "throughput"))


def measured(folder, halves):
    """Run parts with --quick on the sample."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    command = [sys.executable, "-m", "benchmarks", "--quick", "--repeats", "1", "--out", "results"]
    command += [
        "--archive",
        str(ROOT / "data/sample/sample.zip"),
        "--cnn32-epochs",
        "0.1",
        "0.2",
        "0.1",
    ]
    running = [
        subprocess.Popen(
            [*command, *parts],
            cwd=folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for parts in halves
    ]
    for process in running:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    report.write_report(folder / "results")
    return folder / "results"


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    return measured(tmp_path_factory.mktemp("few"), FEW)


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    return measured(tmp_path_factory.mktemp("others"), OTHERS)


def parts_of(halves):
    return [part for half in halves for part in half]


def load(results, part):
    return json.loads((results / f"{part}.json").read_text())


def test_every_part_is_measured():
    assert sorted(parts_of(FEW) + parts_of(OTHERS)) == sorted(common.PARTS)


@pytest.mark.parametrize(
    ("fixture", "part"),
    [
        *(pytest.param("few", part, marks=pytest.mark.slow) for part in parts_of(FEW)),
        *(pytest.param("others", part, marks=pytest.mark.soak) for part in parts_of(OTHERS)),
    ],
)
def test_each_part_says_what_it_measured_and_on_what(request, fixture, part):
    result = load(request.getfixturevalue(fixture), part)
    assert result["part"] == part and result["quick"] is True and result["repeats"] == 1
    assert set(result["machine"]) == {
        "cpu", "cores", "memory_gib", "gpu", "system", "python", "keras_backend", "versions",
    }  # fmt: skip
    assert result["machine"]["versions"]["numpy"] == np.__version__
    assert str(ROOT) not in json.dumps(result) and os.uname().nodename not in json.dumps(result)
    assert any("met" in row for row in result["rows"]) or part == "execution"
    for row in result["rows"]:
        if "at_most" in row:
            assert row["met"] == (row["value"] is not None and row["value"] <= row["at_most"])
        if "at_least" in row:
            assert row["met"] == (row["value"] is not None and row["value"] >= row["at_least"])


@pytest.mark.slow
def test_ratios_are_those_of_the_raw_values(few):
    step = load(few, "step")
    for found in step["figures"].values():
        with_input = found["seconds_per_step_with_input_path"]
        resident = found["seconds_per_step_on_resident_batch"]
        around = [(a + b) / 2 for a, b in itertools.pairwise(resident)]
        ratios = [a / b for a, b in zip(with_input, around, strict=True)]
        assert found["ratios"] == pytest.approx(ratios, rel=1e-3)
        assert found["steps_a_lap"] % found["steps_per_execution"] == 0
        assert found["median_ratio"] == pytest.approx(statistics.median(ratios), rel=1e-3)
    assert step["rows"][0]["value"] == step["figures"]["cnn32"]["median_ratio"]

    growth = load(few, "growth")["figures"]
    seconds = [run["epoch_seconds"] for (run,) in growth["runs"]]
    slope = math.log(seconds[1] / seconds[0]) / math.log(2)
    assert growth["images"] == [320, 640]
    assert growth["exponent"] == pytest.approx(slope, rel=1e-2, abs=1e-2)


@pytest.mark.soak
def test_ratios_of_others_are_those_of_the_raw_values(others):
    delivered = load(others, "input_path")
    raw = delivered["figures"]["images_per_second"]
    for name, found in delivered["figures"]["ours_over"].items():
        assert found["ratios"] == pytest.approx([raw["ours"][0] / raw[name][0]], rel=1e-3)

    throughput = load(others, "throughput")["figures"]
    for found in throughput["networks"].values():
        work = found["prediction_images_per_second"] * found["flops_per_image"]
        share = work / throughput["matmul_peak_flops_per_second"]
        assert found["prediction_share_of_peak"] == pytest.approx(share, rel=1e-3)


@pytest.mark.soak
def test_accuracy_has_a_curve_for_each_network(others):
    runs = load(others, "accuracy")["figures"]["runs"]
    parameters = {run["name"].split(" in ")[0]: run["trainable_parameters"] for run in runs}
    assert parameters["reference"] == 287_714 and parameters["bird_lotfi"] == 84_001
    assert len(runs) == 5
    for run in runs:
        seconds = [point["seconds"] for point in run["curve"]]
        assert seconds == sorted(seconds) and seconds[0] > 0 and run["compile_seconds"] > 0
        assert all(0 <= point["accuracy"] <= 1 for point in run["curve"])
    (bird,) = (run for run in runs if run["name"] == "bird_lotfi")
    assert bird["curve"][-1]["images"] == 2560  # an epoch of the sample


def check_report(results, halves, pictures):
    table = (results / "table.md").read_text()
    for part in parts_of(halves):
        for row in load(results, part)["rows"]:
            assert f"| {part}" in table and row["what"] in table
    assert "only a trial" in table
    for name in pictures:
        assert (results / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_table_lists_every_row_of_every_part(few):
    check_report(few, FEW, ["growth"])


@pytest.mark.soak
def test_the_table_lists_every_row_of_the_others(others):
    check_report(others, OTHERS, ["accuracy", "throughput"])


def test_verdicts_follow_from_values():
    assert common.row("x", 1.05, "", at_most=1.05)["met"]
    assert not common.row("x", 1.051, "", at_most=1.05)["met"]
    assert common.row("x", 20, "", at_least=20)["met"]
    assert not common.row("x", 19.9, "", at_least=20)["met"]
    assert not common.row("x", None, "s", at_most=1)["met"]
    assert "met" not in common.row("x", 1, "")


def test_medians_count_a_time_that_never_came_as_the_longest():
    assert common.median([3.0, None, 1.0]) == 3.0
    assert common.median([None, None, 1.0]) is None


def test_growth_exponent():
    sizes = np.array([100, 200, 400, 800])
    assert growth_exponent(sizes, 0.1 * sizes) == pytest.approx(1)
    assert growth_exponent(sizes, 3.0 * sizes**1.5) == pytest.approx(1.5)


def run(name, *curve, seed=1):
    points = [{"seconds": s, "images": 1, "accuracy": a} for s, a in curve]
    return {"name": name, "seed": seed, "curve": points}


def test_time_to_accuracy_is_that_of_the_fastest_run_that_gets_there():
    runs = [
        run("bird_lotfi", (50, 0.80), (100, 0.90)),
        run("cnn32 in 1/5 of bird_lotfi's time", (10, 0.85), (18, 0.91)),
        run("cnn32 in the given minutes", (15, 0.90), (170, 0.955)),
        run("cnn32 in bird_lotfi's time", (95, 0.93)),
        run("reference", (600, 0.97), (900, 0.95)),
    ]
    (found,), rows = compare(runs, minutes=3)
    assert found["cnn32_seconds_to_bird_lotfi"] == 15
    assert found["ratio_to_bird_lotfi"] == pytest.approx(0.15)
    assert found["cnn32_seconds_to_reference"] == 170
    assert found["points_over_bird_lotfi"] == pytest.approx(3)
    assert [row["met"] for row in rows if "met" in row] == [True, True, True]

    runs[2] = run("cnn32 in the given minutes", (30, 0.90), (170, 0.94))
    runs[1] = run("cnn32 in 1/5 of bird_lotfi's time", (21, 0.90))
    (found,), rows = compare(runs, minutes=3)
    assert found["cnn32_seconds_to_reference"] is None
    assert [row["met"] for row in rows if "met" in row] == [False, False, True]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["step"], "--archive my.zip is needed"),
        (["step", "--archive", "missing.zip"], "missing.zip: no such file"),
        (["preprocess", "--arrays", "."], "--archive my.zip is needed"),
        (["step", "--arrays", ".", "--repeats", "0"], "--repeats must be 1 or more"),
    ],
)
def test_wrong_use_is_refused(monkeypatch, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    with pytest.raises(ExpectedError, match=words):
        main()
    assert not list(tmp_path.iterdir())


def test_wrong_use_is_told_in_one_sentence(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks", "nonsense", "--archive", "my.zip"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: nonsense: no such part; step, preprocess, ")
    assert len(done.stderr.splitlines()) == 1
