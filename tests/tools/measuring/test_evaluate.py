"""The section measures through the command, with a network that finds what is red."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from background_blur.matting.engines import DEFAULT_WEIGHTS
from background_blur.matting.segmenter import Masks
from support.networks import write_network
from tools.command import ToolError
from tools.measuring import clips, contenders, evaluate, metrics, people, scenes
from tools.photos import read_photos


def rectangle(shape, top, left, bottom, right, value=255) -> np.ndarray:
    picture = np.zeros(shape, np.uint8)
    picture[top:bottom, left:right] = value
    return picture


# People are red here, nothing else is: a segmenter that sees red is right.


def see_red(image) -> np.ndarray:
    red = image[..., 2].astype(np.float32) - image[..., 1]
    return np.clip((red - 20) / 40, 0, 1)


class Looks:
    """A segmenter whose looks are all the same function, for everybody and for those in front."""

    def __init__(self, look):
        self.look = look

    def segment(self, image, scale=1):
        return Masks(*[self.look(image)] * 2)


def write(folder: Path, name: str, truth=None, seed=0) -> None:
    rng = np.random.default_rng(seed)
    grey = cv2.GaussianBlur(rng.normal(120, 60, (90, 120)), (0, 0), 2)
    image = np.clip(np.dstack([grey] * 3), 0, 200).astype(np.uint8)
    if truth is not None:
        image[truth == 255] = 30, 30, 230
        cv2.imwrite(str(folder / f"{name}.png"), truth)
    cv2.imwrite(str(folder / f"{name}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 100])


@pytest.fixture
def data(tmp_path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(3):
        write(folder, f"selfie_{i}", rectangle((90, 120), 20, 40 + i, 90, 80 + i), seed=i)
        write(folder, f"room_{i}", seed=10 + i)
    seam = rectangle((90, 120), 28, 28, 72, 72, 128)
    seam[30:70, 30:70] = 255
    write(folder, "voc_0", seam)
    write(folder, "voc_1", np.full((90, 120), 128, np.uint8))
    return folder


@pytest.fixture
def small_scenes(monkeypatch):
    monkeypatch.setattr(scenes, "SIZE", (240, 136))


@pytest.fixture
def run(monkeypatch, small_scenes, data, tmp_path):
    """Runs the command with a segmenter that sees red; returns (exit code, report)."""
    monkeypatch.setattr(evaluate, "open_segmenter", lambda *_, **__: Looks(see_red))

    def run(*args):
        out = tmp_path / "report.json"
        code = evaluate.main(["--data", str(data), "--json", str(out), *args])
        return code, json.loads(out.read_text()) if out.exists() else None

    return run


def test_photographs_are_scored_by_prefix_and_all_together(run, capsys):
    code, report = run("--sections", "stills")
    assert code == 0
    stills = report["stills"]
    assert list(stills) == ["room", "selfie", "voc", "all"]
    assert {group: by["ours"]["pictures"] for group, by in stills.items()} == {
        "room": 3, "selfie": 3, "voc": 1, "all": 7
    }  # fmt: skip
    assert stills["room"]["ours"] == {"pictures": 3, "marked": 0, "over_1_percent": 0}
    selfies, voc, everything = (stills[name]["ours"] for name in ("selfie", "voc", "all"))
    assert selfies["iou"] > 0.9 and selfies["mae"] < 0.05 and selfies["leak"] < 0.05
    assert everything["iou"] == pytest.approx((3 * selfies["iou"] + voc["iou"]) / 4)
    assert everything["marked"] == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "stills" and " ".join(lines[1].split()) == "n IoU F MAE leak marked >1%"
    assert len({len(line) for line in lines[2:]}) == 1
    assert f"{selfies['iou']:.4f}" in next(line for line in lines if line.startswith("selfie"))


def test_a_segmenter_that_marks_everything_is_told_off(run, monkeypatch):
    everything = lambda image: np.ones(image.shape[:2], np.float32)  # noqa: E731
    monkeypatch.setattr(evaluate, "open_segmenter", lambda *_, **__: Looks(everything))
    stills = run("--sections", "stills")[1]["stills"]
    assert stills["room"]["ours unrefined"]["marked"] == 1
    assert stills["room"]["ours unrefined"]["over_1_percent"] == 1
    assert stills["selfie"]["ours unrefined"]["leak"] == 1
    assert stills["selfie"]["ours unrefined"]["iou"] == pytest.approx(40 * 70 / (90 * 120))


@pytest.mark.slow
def test_clips_of_a_right_segmenter_score_well(run):
    code, report = run("--sections", "clips", "--limit", "1")
    assert code == 0 and list(report) == ["clips"]
    moving = report["clips"]["moving"]["ours unrefined"]
    assert moving["lag"] == pytest.approx(0, abs=0.1)
    assert 0 < moving["dtssd"] < 15
    assert "lag" not in report["clips"]["static"]["ours"]
    assert report["clips"]["static"]["ours"]["flicker"] < 20


def test_dark_photographs_have_little_light_and_noise(run, monkeypatch):
    seen = []
    segmenter = lambda image: (seen.append(image), see_red(image))[1]  # noqa: E731
    monkeypatch.setattr(evaluate, "open_segmenter", lambda *_, **__: Looks(segmenter))
    code, report = run("--sections", "dark", "--limit", "1")
    assert code == 0 and list(report) == ["dark"]
    assert {group: by["ours"]["pictures"] for group, by in report["dark"].items()} == {
        "room": 1, "selfie": 1, "voc": 1, "all": 3
    }  # fmt: skip
    assert max(image.mean() for image in seen) < 60
    assert (seen[0] == seen[1]).all()  # the same picture for every method


def test_json_to_stdout_is_json_alone(run, data, capsys):
    assert evaluate.main(["--data", str(data), "--sections", "stills", "--json", "-"]) == 0
    captured = capsys.readouterr()
    assert "stills" in json.loads(captured.out)
    assert "IoU" in captured.err


def test_mattes_are_scored_as_alphas_too(run, data):
    truth = cv2.GaussianBlur(rectangle((90, 120), 20, 40, 90, 80), (0, 0), 1.5)
    write(data, "matte_0", np.where(truth > 127, 255, 0).astype(np.uint8))
    cv2.imwrite(str(data / "matte_0.png"), truth)
    ours = run("--sections", "stills")[1]["stills"]["matte"]["ours unrefined"]
    assert ours["iou"] > 0.9
    assert 0 < ours["mad"] < 40 and ours["rim"] > 0 and "grad" in ours and "mse" in ours


def test_photographs_are_scored_by_the_groups_of_a_file(run, tmp_path, capsys):
    path = tmp_path / "groups.json"
    path.write_text('{"one": ["selfie_0", "selfie_2", "absent"], "other": ["selfie_1"]}')
    report = run("--sections", "groups", "--groups", str(path))[1]["groups"]
    assert {group: by["ours"]["pictures"] for group, by in report.items()} == {"one": 2, "other": 1}
    path.write_text("[]")
    capsys.readouterr()
    assert run("--sections", "groups", "--groups", str(path))[0] == 1
    assert "groups.json" in one_line(capsys)


@pytest.mark.slow
def test_a_second_person_is_scored_by_who_stays_sharp(run):
    code, report = run("--sections", "people", "--limit", "1")
    assert code == 0
    assert list(report["people"]) == list(people.STORIES)
    for story, by in report["people"].items():
        assert list(by) == ["ours, front", "ours, main"]
        for row in by.values():
            assert row["leak"] <= row["most_leak"] and row["lost"] < 0.1
            assert ("touching" in row) == (story in people.RATIOS)
    alone = report["people"]["walks in"]["ours, main"]
    front, main = (report["people"]["beside"][f"ours, {who}"] for who in ("front", "main"))
    assert alone["most_leak"] < 0.01 and main["most_apart"] < 0.1
    assert front["apart"] > 0.8 and front["leak"] > main["leak"] > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("story, ratio", [("behind", 0.77), ("beside", 0.95)])
def test_the_second_person_comes_touches_and_goes(data, small_scenes, story, ratio):
    photos, rooms = scenes.people_and_rooms(read_photos(data))
    clip = list(people.meeting(story, photos[0], photos[1], rooms[0], seed=5))
    seen = [frame.second.sum() for frame in clip]
    assert seen[0] == seen[-1] == 0 and max(seen) > 100
    touching = ["touching" in people.score(frame.second > 0.5, frame) for frame in clip]
    assert any(touching) and not touching[10] and not touching[-3]
    tall = [max(np.ptp(np.nonzero(each > 0.5)[0]) for each in alphas if each.any())
            for alphas in ([f.first for f in clip], [f.second for f in clip])]  # fmt: skip
    assert tall[1] / tall[0] == pytest.approx(ratio, abs=0.03)


def test_the_colours_along_an_outline_are_compared_with_the_true_ones(run, data):
    truth = cv2.GaussianBlur(rectangle((90, 120), 20, 40, 90, 80), (0, 0), 1.5)
    write(data, "matte_0", np.where(truth > 127, 255, 0).astype(np.uint8))
    cv2.imwrite(str(data / "matte_0.png"), truth)
    report = run("--sections", "colours")[1]["colours"]
    for kind in ("cut-outs", "mattes"):
        assert report[kind]["true, true"]["error"] == 0
        assert report[kind]["true, ours"]["error"] < 0.7 * report[kind]["true, raw"]["error"]
        assert report[kind]["true, ours"]["bleed"] < report[kind]["true, raw"]["bleed"]
        assert report[kind]["ours, true"]["error"] > 0


def test_talkers_are_keyed_and_measured(run, tmp_path):
    folder = tmp_path / "keyed"
    folder.mkdir()
    video = cv2.VideoWriter(str(folder / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (180, 144))
    frame = np.full((144, 180, 3), (190, 150, 20), np.uint8)
    cv2.ellipse(frame, (90, 110), (50, 70), 0, 0, 360, (40, 40, 220), -1)
    for _ in range(4):
        video.write(frame)
    video.release()
    code, report = run("--sections", "talkers", "--keyed", str(folder))
    assert code == 0
    talkers = report["talkers"]["talkers"]["ours"]
    assert talkers["mad"] < 60 and talkers["worst_leak"] < 0.05
    assert {"mse", "grad", "rim", "dtssd", "flicker"} <= talkers.keys()


FAKE_RVM = """
import numpy as np
class RVM:
    def __init__(self, threads): self.looks = 0
    def reset(self): self.looks = 0
    def __call__(self, image, ratio):
        self.looks += 1
        return np.full(image.shape[:2], self.looks / 10, np.float32)
    def picture(self, image):
        self.reset()
        return [self(image, 1) for _ in range(4)][-1]
"""


def test_rvm_remembers_within_a_clip_and_forgets_between(tmp_path):
    (tmp_path / "rvm.py").write_text(FAKE_RVM)
    methods = contenders.rvm(tmp_path)
    image = np.zeros((20, 30, 3), np.uint8)
    clip = methods["RVM"]()
    assert [clip(image)[0, 0] for _ in range(2)] == pytest.approx([0.1, 0.2])
    assert methods["RVM"]()(image)[0, 0] == pytest.approx(0.1)
    assert methods["RVM, pictures"]()(image)[0, 0] == pytest.approx(0.4)


@pytest.mark.parametrize("code", [None, "raise OSError('no numbers')", "nothing = 0"])
def test_an_rvm_that_does_not_run_is_one_line(tmp_path, code):
    if code:
        (tmp_path / "rvm.py").write_text(code)
    with pytest.raises(ToolError, match="rvm.py"):
        contenders.rvm(tmp_path)


@pytest.mark.slow
def test_real_clips_are_measured_for_flicker(run, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    size = (160, 96)
    video = cv2.VideoWriter(str(folder / "wall.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 30, size)
    for _ in range(4):
        video.write(np.full((96, 160, 3), 90, np.uint8))
    video.release()
    code, report = run("--sections", "clips", "--limit", "1", "--clips", str(folder))
    assert code == 0
    assert report["clips"]["wall"]["ours"] == {"pictures": 1, "flicker": 0}
    (folder / "broken.mp4").write_bytes(b"no video")
    code, _ = run("--sections", "clips", "--limit", "1", "--clips", str(folder))
    assert code == 1


def test_clips_move_and_stand_still_as_said(data, small_scenes):
    photos, rooms = scenes.people_and_rooms(read_photos(data))
    moving = list(scenes.moving_clip(photos[0], rooms[0], seed=5))
    centres = [metrics.centre(frame.truth) for frame in moving]
    ways = [240 * (scenes.path(t) - scenes.path(0)) for t in range(len(moving))]
    assert np.allclose(np.subtract(centres, centres[0]), ways, atol=0.5)
    assert moving[0].still is None
    moved = moving[30]
    assert not moved.still[moved.truth > 0.01].all()
    assert moved.still[(moved.truth == 0) & (moving[29].truth == 0)].all()
    first, second, *_ = scenes.static_clip(photos[0], rooms[0], seed=5)
    assert second.still.all() and (first.truth == second.truth).all()
    assert 0 < np.abs(first.image.astype(float) - second.image).mean() < 2 * scenes.NOISE


@pytest.mark.parametrize("late", [0, 1])
def test_an_alpha_that_comes_late_has_its_lag_measured(data, small_scenes, late):
    photos, rooms = scenes.people_and_rooms(read_photos(data))
    clip = list(scenes.moving_clip(photos[0], rooms[0], seed=5))
    truths = [clip[0].truth] * late + [frame.truth for frame in clip]
    coming = iter(truths)
    figures = clips.score_clip(lambda image: next(coming), clip)
    assert figures["lag"] == pytest.approx(late, abs=0.1)
    if late:
        assert figures["mad"] > 0 and figures["dtssd"] > 0
    else:
        assert figures["mad"] == figures["dtssd"] == 0
        assert figures["flicker"] < 1e-6


def one_line(capsys) -> str:
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("tools.measuring.evaluate: ")
    return line


def test_mistakes_end_in_one_line(run, data, tmp_path, capsys, monkeypatch):
    (tmp_path / "empty").mkdir()
    assert evaluate.main(["--data", str(tmp_path / "empty")]) == 1
    assert "no photographs" in one_line(capsys)
    for path in data.glob("room_*"):
        path.unlink()
    assert run("--sections", "clips") == (1, None)
    assert "room_" in one_line(capsys)
    assert run("--model", str(tmp_path / "none.tflite")) == (1, None)
    assert "none.tflite" in one_line(capsys)
    assert run("--model", str(DEFAULT_WEIGHTS["litert"])) == (1, None)
    assert "not a picture and a mask" in one_line(capsys)
    monkeypatch.undo()
    assert evaluate.main(["--data", str(data), "--weights", str(tmp_path / "no.tflite")]) == 1
    assert "no.tflite" in one_line(capsys)


@pytest.mark.parametrize(
    "args", [["--sections", "stills,nonsense"], ["--limit", "0"], ["--clips", "nowhere"],
             ["--model", "a/x.tflite", "b/x.tflite"], []]
)  # fmt: skip
def test_wrong_usage_exits_with_2(args):
    data = ["--data", "somewhere"] if args else []
    with pytest.raises(SystemExit) as stop:
        evaluate.main([*data, *args])
    assert stop.value.code == 2


@pytest.mark.slow
def test_a_peer_is_given_rgb_from_0_to_1_and_its_mask_is_enlarged(tmp_path):
    write_network(tmp_path / "red.tflite", lambda image: {"mask": image[..., :1]}, (1, 24, 32, 3))
    picture = rectangle((96, 128, 3), 0, 64, 96, 128, value=(10, 20, 255))  # BGR
    alpha = contenders.peer(tmp_path / "red.tflite")()(picture)
    assert alpha.shape == (96, 128) and alpha.dtype == np.float32
    np.testing.assert_allclose(alpha[:, :56], 0, atol=1e-6)
    np.testing.assert_allclose(alpha[:, 72:], 1, atol=1e-6)
