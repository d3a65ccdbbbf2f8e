"""The bench: what it prints and writes; no time is asserted."""

import json
import multiprocessing

import cv2
import numpy as np
import pytest

from background_blur.matting.engines import DEFAULT_WEIGHTS
from background_blur.settings import Settings
from support.segmenters import FakeBlur
from tools.measuring import bench, figures, live, recipes

FIGURES = {"median_ms", "p95_ms", "fps", "cpu_ms", "frames"}


@pytest.mark.slow
@pytest.mark.skipif(not DEFAULT_WEIGHTS["litert"].exists(), reason="no weights yet")
def test_it_measures_a_tiny_clip(tmp_path, capsys):
    path = tmp_path / "figures.json"
    assert bench.main(["--sizes", "128x72", "--frames", "3", "--json", str(path)]) == 0
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


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--rvm", "--peer"])
def test_a_peer_that_is_none_is_refused_in_one_line(option, capsys):
    assert bench.main([option, __file__, "--sizes", "64x36", "--frames", "1"]) == 1
    message = capsys.readouterr().err
    assert message.startswith("tools.measuring.bench: ") and message.count("\n") == 1


def test_a_line_whose_network_fails_is_not_passed_off_as_a_fast_one():
    def broken(frame):
        raise RuntimeError("no network")

    contender = bench.Contender(FakeBlur(broken, Settings()))
    contender.measure(np.zeros((36, 64, 3), np.uint8), True)
    assert figures.figures(contender.times)["fully_blurred"] == 1


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
