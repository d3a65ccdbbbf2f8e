"""The networks: what they compute, and which weights they take. Needs Keras."""

from pathlib import Path

import h5py
import numpy as np
import pytest

pytestmark = pytest.mark.slow

WEIGHTS = Path(__file__).parent.parent / "weights"


@pytest.fixture(scope="module")
def model():
    from background_blur import network as model

    return model


@pytest.fixture(scope="module")
def voc(model):
    return model.build("voc")


@pytest.fixture(scope="module")
def person(model):
    """A person network of the full design, with weights as a trained one's: no layer is silent."""
    return with_random_norms(model.build("person"))


@pytest.fixture(scope="module")
def shipped(model):
    return model.load_person(WEIGHTS / "person.weights.h5")


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


# The layers of the well-known port with their weights, written out anew from its table of blocks.


def port_layers() -> dict[str, list[tuple]]:
    found = {}

    def conv(name, *shape):
        found[name] = [shape]
        channels = shape[2] if name.endswith("depthwise") else shape[3]
        found[name + "_BN"] = [(channels,)] * 4

    conv("Conv", 3, 3, 3, 32)
    channels = [32, 16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320]
    for i, (before, after) in enumerate(zip(channels, channels[1:], strict=False)):
        prefix, wide = ("expanded_conv_", before) if i == 0 else (f"expanded_conv_{i}_", 6 * before)
        if i > 0:
            conv(prefix + "expand", 1, 1, before, wide)
        conv(prefix + "depthwise", 3, 3, wide, 1)
        conv(prefix + "project", 1, 1, wide, after)
    conv("image_pooling", 1, 1, 320, 256)
    conv("aspp0", 1, 1, 320, 256)
    conv("concat_projection", 1, 1, 512, 256)
    found["logits_semantic"] = [(1, 1, 256, 21), (21,)]
    return found


def test_voc_has_the_layers_of_the_port(voc):
    assert weight_shapes(voc) == port_layers()
    assert len(port_layers()) == 109
    assert voc.count_params() == 2_146_645


def test_concat_projection_is_concatenation_and_convolution(model):
    from keras import layers

    rng = np.random.default_rng(2)
    pooled = rng.normal(size=(2, 1, 1, 4)).astype(np.float32)
    x = rng.normal(size=(2, 5, 7, 6)).astype(np.float32)
    projection = model.ConcatProjection(8)
    fast = np.asarray(projection([pooled, x]))
    conv = layers.Conv2D(8, 1, use_bias=False)
    conv.build((None, None, None, 10))
    conv.set_weights(projection.get_weights())
    spread = np.broadcast_to(pooled, (2, 5, 7, 4))
    np.testing.assert_allclose(fast, np.asarray(conv(np.concatenate([spread, x], -1))), atol=1e-5)


def test_output_strides_share_weights_and_differ_in_density_alone(model, shipped):
    """Dilation samples what a smaller stride made denser: every second feature is the same.

    That is exact where 'same' padding is symmetric, which it is for 65 -> 33 -> 17 -> 9 -> 5 -> 3.
    """
    import keras

    features, (trained, design) = {}, shipped
    for stride in (8, 16, 32):
        net = model.build("person", stride, design=design)
        net.set_weights(trained.get_weights())
        logits = np.asarray(net(picture((96, 32))))
        assert logits.shape[1:3] == (32 // design.mask_stride, 96 // design.mask_stride)
        end = net.get_layer("expanded_conv_16_project_BN").output
        features[stride] = np.asarray(keras.Model(net.input, end)(picture((65, 65))))[0]
    assert features[8].shape == (9, 9, 320 * design.width)
    for stride in (8, 16):
        dense, sparse = features[stride], features[2 * stride]
        np.testing.assert_allclose(dense[::2, ::2], sparse, atol=1e-3 * sparse.std())
        assert np.abs(dense[1::2, ::2] - sparse[:-1]).mean() > 0.1 * sparse.std()


@pytest.mark.parametrize("size", [(16, 16), (176, 32), (48, 112)])
def test_logits_have_the_promised_shapes(person, voc, size):
    width, height = size
    logits = np.asarray(person(picture(size)))
    assert logits.shape == (1, height // 2, width // 2, 2) and logits.dtype == np.float32
    assert np.asarray(voc(picture(size))).shape == (1, height, width, 21)


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


def test_an_unknown_network_is_refused(model):
    with pytest.raises(ValueError, match="'person' or 'voc'"):
        model.build("cat")


@pytest.mark.parametrize("name, shape", [("SLIM", (16, 24, 2)), ("COARSE", (8, 12, 1))])
def test_other_designs_have_their_shapes(model, name, shape):
    net = model.build("person", design=getattr(model, name))
    assert net(np.zeros((1, 32, 48, 3), np.float32)).shape == (1, *shape)


def test_a_slim_network_is_a_third_as_large(model):
    slim = model.build("person", design=model.SLIM)
    assert slim.count_params() < 0.4 * model.build("person").count_params()


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


@pytest.mark.parametrize("design", ['{"width": 0.5}', '{"colour": 1}', "no json"])
def test_weights_of_another_design_than_they_say_are_refused(model, person, tmp_path, design):

    path = tmp_path / "wrong.weights.h5"
    person.save_weights(path)
    with h5py.File(path, "r+") as file:
        file.attrs["design"] = design
    with pytest.raises(model.WeightsError, match="wrong.weights.h5"):
        model.load_person(path)
