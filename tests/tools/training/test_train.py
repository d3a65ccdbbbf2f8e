"""The network in training and export."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from support.photos import draw_all, write_photo


@pytest.fixture(scope="module")
def person():
    """The person network with random norms, like a pretrained one's."""
    import model

    net, rng = model.build("person", design=model.SLIM), np.random.default_rng(7)
    for layer in net.layers:
        if layer.name.endswith("_BN"):
            gamma, beta, mean, variance = (w.shape for w in layer.weights)
            values = [rng.uniform(1, 3, gamma), rng.normal(0, 0.5, beta)]
            values += [rng.normal(0, 0.1, mean), rng.uniform(0.1, 1, variance)]
            layer.set_weights(values)
    return net


@pytest.fixture(scope="module")
def spare():
    """A person network to load things into; building one takes seconds."""
    import model

    return model.build("person", design=model.SLIM)


@pytest.fixture(scope="module")
def folded(person):
    from tools.training.fold import fold

    return fold(person)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(8)
    return rng.uniform(0, 255, (2, 32, 64, 3)).astype(np.float32)


def assert_same_function(net, other, images):
    expected = np.asarray(net(images))
    assert expected.std() > 1e-3
    np.testing.assert_allclose(np.asarray(other(images)), expected, atol=1e-3 * expected.std())


@pytest.mark.slow
def test_neither_folding_nor_unfolding_changes_the_function(person, folded, spare, images):
    import keras

    from tools.training.fold import unfold

    assert not any(isinstance(x, keras.layers.BatchNormalization) for x in folded.layers)
    assert_same_function(person, folded, images)
    unfold(folded, spare)
    assert_same_function(person, spare, images)


@pytest.fixture(scope="module")
def loss():
    from tools.training.train import loss

    return lambda targets, logits: float(loss(targets, logits))


def example_targets():
    """The truth of person and front, partly unknown, with an exact alpha along outlines."""
    rng = np.random.default_rng(9)
    shares = (rng.random((2, 12, 20, 2)) < 0.4).astype(np.float32)
    weights = rng.choice([0, 1, 5], shares.shape).astype(np.float32)
    exact = (weights[..., :1] == 5).astype(np.float32)
    return np.concatenate([shares, weights, exact], -1)


@pytest.mark.slow
def test_the_loss_prefers_what_is_right(loss):
    targets = example_targets()
    right = np.where(targets[..., :2] > 0.5, 20, -20).astype(np.float32)
    unsure = np.zeros_like(right)
    assert 0 <= loss(targets, right) < 0.01 < loss(targets, unsure) < loss(targets, -right)


@pytest.mark.slow
def test_cells_without_weight_do_not_count(loss):
    targets, rng = example_targets(), np.random.default_rng(10)
    logits = rng.normal(0, 3, (2, 12, 20, 2)).astype(np.float32)
    weightless = targets[..., 2:4] == 0
    other_logits = np.where(weightless, -5 * logits, logits)
    other_targets = targets.copy()
    other_targets[..., :2] = np.where(weightless, 1 - targets[..., :2], targets[..., :2])
    assert loss(other_targets, other_logits) == pytest.approx(loss(targets, logits), rel=1e-5)


@pytest.fixture
def short_training(monkeypatch):
    """One small input size instead of five, and no graphs, each of which would be compiled anew."""
    import tensorflow as tf

    from background_blur.matting import segmenter
    from tools.training import train

    for module in (segmenter, train):
        monkeypatch.setattr(module, "INPUT_SIZES", ((48, 32),))
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.slow
def test_training_resumes_as_if_never_interrupted(
    person, spare, tmp_path, monkeypatch, capsys, short_training
):
    import model
    from tools.training import train

    data, start = tmp_path / "data", tmp_path / "start.weights.h5"
    for part in ("train", "val"):
        (data / part).mkdir(parents=True)
        for photo in draw_all(each=1):
            if part == "train" or photo.prefix in ("selfie", "room"):
                write_photo(data / part, photo)
    model.save_person(person, model.SLIM, start)

    def run(work):
        command = ["--data", data, "--start", start, "--design", "slim"]
        command += ["--work", work, "--images", 8, "--batch", 4, "--every", 1]
        assert train.main(list(map(str, command))) == 0
        with np.load(work / "state.npz") as state:
            return dict(state)

    def save_and_copy(self, path):
        save(self, path)
        if self.step == 1:  # after the first of two steps, from which the other run will resume
            (tmp_path / "resumed").mkdir()
            shutil.copy(path, tmp_path / "resumed")

    save = train.Run.save
    monkeypatch.setattr(train.Run, "save", save_and_copy)
    through = run(tmp_path / "through")
    monkeypatch.setattr(train.Run, "save", save)
    resumed = run(tmp_path / "resumed")

    assert through["step"] == resumed["step"] == 2
    assert through.keys() == resumed.keys()
    for name, value in through.items():
        np.testing.assert_allclose(resumed[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
        assert np.all(np.isfinite(value)), name
    assert any(np.any(through[f"w{i}"] != through[f"e{i}"]) for i in range(10))  # it learns
    printed = capsys.readouterr().out
    assert "selfie" in printed and "best" in printed
    for name in ("person.weights.h5", "last.weights.h5"):
        spare.load_weights(tmp_path / "through" / name)
    assert sorted(p.name for p in (tmp_path / "through").iterdir()) == [
        "last.weights.h5",
        "person.weights.h5",
        "state.npz",
    ]


@pytest.mark.slow
def test_a_batch_that_cannot_be_made_ends_training():
    from tools.training.train import Plan, ahead

    class Broken:
        def batch(self, step, size):
            raise KeyError(step)

    with pytest.raises(KeyError):
        list(ahead(Broken(), 0, Plan(2)))


def exported(monkeypatch, spare, images, tmp_path) -> Path:
    """Exports the weighted mean of two networks, which equals `spare`."""
    import model
    from tools.training import export

    kernel, bias = spare.get_layer("logits").get_weights()
    runs = {"a.weights.h5:0.75": 1.125, "b.weights.h5:0.25": 0.625}
    for run, share in runs.items():
        spare.get_layer("logits").set_weights([share * kernel, share * bias])
        model.save_person(spare, model.SLIM, tmp_path / run.partition(":")[0])
    spare.get_layer("logits").set_weights([kernel, bias])
    compile_network = export.compile_network
    monkeypatch.setattr(
        export, "compile_network", lambda net, batches: compile_network(net, batches, [(64, 32)])
    )
    monkeypatch.setattr(export, "pictures", lambda data: [images])
    out = tmp_path / "out" / "person.tflite"
    command = [*(str(tmp_path / run) for run in runs), str(out), "--data", str(tmp_path)]
    assert export.main(command) == 0
    return out


@pytest.mark.slow
def test_export_writes_one_network_twice(folded, spare, images, tmp_path, monkeypatch):
    from ai_edge_litert.interpreter import Interpreter

    from background_blur.matting.engines import read_weights
    from tools.training.fold import unfold

    unfold(folded, spare)
    kernel, bias = spare.get_layer("logits").get_weights()
    deviation = np.asarray(spare(images)).std()
    spare.get_layer("logits").set_weights([2 / deviation * kernel, bias])  # as logits are
    expected = np.asarray(spare(images))
    compiled = exported(monkeypatch, spare, images, tmp_path)

    spare.load_weights(compiled.with_suffix(".weights.h5"))
    np.testing.assert_allclose(np.asarray(spare(images)), expected, atol=1e-4)
    runner = Interpreter(str(compiled)).get_signature_runner("64x32")
    exact = np.asarray(spare(images[:1]))
    assert np.abs(runner(image=images[:1])["logits"] - exact).mean() < 0.1 * exact.std()
    sums = (compiled.parent / "SHA256SUMS").read_text().splitlines()
    assert [line.split()[1] for line in sums] == ["person.tflite", "person.weights.h5"]
    read_weights(compiled)


@pytest.mark.slow
def test_an_export_without_pictures_changes_no_file(tmp_path, capsys):
    from background_blur.matting.engines import WEIGHTS
    from tools.training import export

    (tmp_path / "train").mkdir()
    given = tmp_path / "person.weights.h5"
    shutil.copy(WEIGHTS / "person.weights.h5", given)
    before = given.read_bytes()
    command = [str(given), str(tmp_path / "person.tflite"), "--data", str(tmp_path)]
    assert export.main(command) == 1
    assert str(tmp_path / "train") in capsys.readouterr().err
    assert given.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["person.weights.h5", "train"]
