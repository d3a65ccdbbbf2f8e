"""The bench: what it prints and writes, and the arithmetic behind it; no time is asserted."""

import json
import multiprocessing
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from background_blur.capture.camera import Camera
from background_blur.matting.engines import DEFAULT_WEIGHTS
from background_blur.settings import Settings
from support.segmenters import FakeBlur
from tools.measuring import bench, figures, live, recipes

FIGURES = {"median_ms", "p95_ms", "fps", "cpu_ms", "frames"}


@pytest.mark.slow
@pytest.mark.skipif(not DEFAULT_WEIGHTS["litert"].exists(), reason="no weights yet")
def test_it_measures_a_tiny_clip_at_two_sizes(tmp_path, capsys):
    path = tmp_path / "figures.json"
    assert bench.main(["--sizes", "64x36,128x72", "--frames", "3", "--json", str(path)]) == 0
    report = json.loads(path.read_text())
    assert set(report) == {"machine", "settings", "sizes"}
    for at in report["sizes"].values():
        assert set(at) == {"decode", "ours", "network"}
        assert all(set(got) >= FIGURES and got["frames"] == 3 for got in at.values())
        assert set(at["ours"]["stages"]) == {"downscale", "segment", "refine", "blur", "compose"}
        assert at["ours"]["peak_mb"] > 20 and at["ours"]["first_frame_s"] > 0
    printed = capsys.readouterr().out
    assert "128x72" in printed and "first s" in printed
    assert str(tmp_path) not in printed + path.read_text()


@pytest.mark.slow
@pytest.mark.skipif(not DEFAULT_WEIGHTS["litert"].exists(), reason="no weights yet")
def test_it_measures_how_fresh_a_live_picture_is(capsys, monkeypatch):
    monkeypatch.setattr(live, "WARM_UP", 0.1)
    monkeypatch.setattr(live, "PICTURES", 4)
    monkeypatch.setattr(bench, "in_child", lambda call, *args: call(*args))
    monkeypatch.setattr(recipes, "mediapipe", lambda path, threads: lambda image: image)
    command = ["--live", "1", "--load", "1", "--sizes", "128x72", "--peer", __file__, "--json", "-"]
    before = cv2.getNumThreads()
    try:
        assert bench.main(command) == 0
    finally:
        cv2.setNumThreads(before)
    got = json.loads(capsys.readouterr().out)["live"]["128x72"]
    assert 0 < got["age"]["median_ms"] <= got["age"]["p95_ms"]
    assert got["shown"] > 0 and got["fully_blurred"] == 0 and got["cpu_ms"] > 0
    assert sum(got["quality"].values()) == got["shown"]
    assert got["mediapipe"]["shown"] > 0
    assert got["cpu_over_mediapipe"] == round(got["cpu_ms"] / got["mediapipe"]["cpu_ms"], 2)
    assert not multiprocessing.active_children()


class FakeRvm:
    """A network of RVM's inputs and outputs; its alpha is its first state, which grows by 1."""

    def __init__(self, path, threads):
        self.values = {}

    def get_input_details(self):
        shapes = {"src": (1, 6, 8, 3), **{f"r{i}i": (1, 1, 1, 1) for i in (4, 2, 1, 3)}}
        return [{"name": n, "index": n, "shape": np.array(s)} for n, s in shapes.items()]

    def get_output_details(self):
        return [{"name": f"Identity_{i}", "index": i} for i in (3, 1, 2, 5, 4)]

    def set_tensor(self, index, value):
        self.values[index] = value

    def invoke(self):
        assert self.values["src"].max() <= 1

    def get_tensor(self, index):
        if index == 1:
            return np.full((1, 6, 8, 1), self.values["r1i"][0, 0, 0, 0], np.float32)
        return self.values[f"r{index - 1}i"] + (index == 2) - 10 * (index > 2)


def test_robust_video_matting_gets_its_states_back(monkeypatch):
    monkeypatch.setattr(recipes, "load", FakeRvm)
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    blurred = cv2.GaussianBlur(image, (55, 55), 0)
    run = recipes.rvm(Path("rvm.tflite"), 1)
    np.testing.assert_array_equal(run(image), blurred)  # of alpha 0
    np.testing.assert_array_equal(run(image), image)  # of alpha 1
    assert recipes.rvm_size(Path("rvm.tflite")) == (8, 6)


def test_robust_video_matting_takes_part_at_its_own_size_alone(monkeypatch):
    monkeypatch.setattr(recipes, "rvm_size", lambda path: (640, 360))
    monkeypatch.setattr(bench, "in_child", lambda call, *args: call(*args))
    args = bench.parse(["--rvm", __file__])
    assert bench.chosen((640, 360), args) == ["rvm", "ours", "network"]
    assert bench.chosen((1280, 720), args) == ["ours", "network"]


def test_a_real_camera_is_read_as_the_program_reads_it(monkeypatch):
    opened = []

    def open_fake(number):
        opened.append(number)
        return live.FakeCamera((128, 72), still=False)

    monkeypatch.setattr(live, "Camera", partial(Camera, open=open_fake))
    monkeypatch.setattr(recipes, "mediapipe", lambda path, threads: lambda image: image)
    monkeypatch.setattr(live, "WARM_UP", 0.1)
    scene = live.Scene((128, 72), 0.5, camera=3)
    before = cv2.getNumThreads()
    try:
        assert live.measure(scene, 1)["shown"] > 0
        assert live.measure_recipe(scene, Path("any.tflite"), 1)["shown"] > 0
    finally:
        cv2.setNumThreads(before)
    assert opened == [3, 3]


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--rvm", "--peer"])
def test_a_peer_that_is_none_is_refused_in_one_line(option, capsys):
    assert bench.main([option, __file__, "--sizes", "64x36", "--frames", "1"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("tools.measuring.bench: ") and message.count("\n") == 1


def test_ours_is_compared_with_each_other_line():
    at = {name: {"fps": 10, "cpu_ms": 5} for name in ("decode", "ours", "network", "mediapipe")}
    at["ours"] = {"fps": 40, "cpu_ms": 15}
    figures.compare(at)
    assert at["mediapipe"] == {"fps": 10, "cpu_ms": 5, "ours_fps": 4, "ours_cpu": 3}
    assert at["network"] == {"fps": 10, "cpu_ms": 5}


def test_each_frame_pays_for_its_own_decoding():
    decode = figures.Times(wall=[1, 2, 3, 4], cpu=[1, 1, 1, 1])
    rare = figures.Times(every=2, wall=[10, 20], cpu=[5, 5])
    result = figures.figures(rare, decode)
    assert result["median_ms"] == (11 + 23) / 2
    assert result["cpu_ms"] == 6 and result["frames"] == 2


def test_a_line_whose_network_fails_is_not_passed_off_as_a_fast_one():
    def broken(frame):
        raise RuntimeError("no network")

    contender = bench.Contender(FakeBlur(broken, Settings()))
    contender.measure(np.zeros((36, 64, 3), np.uint8), True)
    assert figures.figures(contender.times)["fully_blurred"] == 1


def test_a_frame_that_failed_lacks_stages():
    stages = [{"blur": 1.0}, {"segment": 3.0, "blur": 1.0}]
    result = figures.figures(figures.Times(wall=[2, 4], cpu=[2, 4], stages=stages, failed=1))
    assert result["stages"]["segment"]["median_ms"] == 3


@pytest.mark.parametrize(
    "wrong",
    [["--sizes", "641x360"], ["--sizes", "big"], ["--frames", "0"], ["--peer", "missing.tflite"]]
    + [
        ["--camera", "0"],
        ["--live", "1", "--original"],
        ["--live", "1", "--camera", "0", "--still"],
    ],
)
def test_wrong_usage_is_refused_in_one_line(wrong, capsys):
    with pytest.raises(SystemExit) as stop:
        bench.main(wrong)
    assert stop.value.code == 2
    assert "error: " in capsys.readouterr().err.splitlines()[-1]
