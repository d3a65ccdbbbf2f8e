"""The Keras network: frozen norms, and weights that carry their design. Needs Keras."""

import h5py
import numpy as np
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model():
    from background_blur import network as model

    return model


@pytest.fixture(scope="module")
def voc(model):
    return model.build("voc")


@pytest.fixture(scope="module")
def person(model):
    """A person network of the full design, weighted like a trained one: no layer is silent."""
    return with_random_norms(model.build("person"))


def with_random_norms(net):
    rng = np.random.default_rng(2)
    for layer in net.layers:
        if layer.name.endswith("_BN"):
            shapes = [w.shape for w in layer.weights]
            low, high = (0.8, -0.2, -0.1, 0.5), (1.2, 0.2, 0.1, 1.5)
            layer.set_weights([rng.uniform(*x) for x in zip(low, high, shapes, strict=True)])
    return net


def weight_shapes(net) -> dict[str, list[tuple]]:
    return {x.name: [tuple(w.shape) for w in x.weights] for x in net.layers if x.weights}


def picture(size: tuple[int, int]) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.uniform(0, 255, (1, size[1], size[0], 3)).astype(np.float32)


def test_person_keeps_backbone_and_head_of_voc(voc, person):
    mine, theirs = weight_shapes(person), weight_shapes(voc)
    del theirs["logits_semantic"]
    assert {name: mine.get(name) for name in theirs} == theirs
    assert all("decoder" in name or name == "logits" for name in mine.keys() - theirs.keys())


def test_norms_keep_their_statistics_in_training(person):
    image, before = picture((32, 16)), person.get_weights()
    at_rest, training = person(image, training=False), person(image, training=True)
    np.testing.assert_allclose(np.asarray(at_rest), np.asarray(training), atol=1e-6)
    for weight, value in zip(person.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_weights_keep_their_design(model, tmp_path):
    design = model.Design(width=0.5, mask_stride=2)
    net, path = model.build("person", design=design), tmp_path / "some.weights.h5"
    model.save_person(net, design, path)
    loaded, its_design = model.load_person(path)
    assert its_design == design
    for value, same in zip(loaded.get_weights(), net.get_weights(), strict=True):
        np.testing.assert_array_equal(value, same)


def test_weights_that_say_nothing_of_a_design_are_of_the_coarse_one(model, tmp_path):
    path = tmp_path / "old.weights.h5"
    model.build("person", design=model.COARSE).save_weights(path)
    assert model.read_design(path) == model.COARSE
    assert model.load_person(path)[0].output_shape[-1] == 1


@pytest.mark.parametrize("design", ['{"width": 0.5}', "no json"])
def test_weights_of_another_design_than_they_say_are_refused(model, person, tmp_path, design):

    path = tmp_path / "wrong.weights.h5"
    person.save_weights(path)
    with h5py.File(path, "r+") as file:
        file.attrs["design"] = design
    with pytest.raises(model.WeightsError, match="wrong.weights.h5"):
        model.load_person(path)
