"""Coral's quantised network into Keras weights: with Coral's own file, and with a drawn one."""

import cv2
import numpy as np
import pytest

from background_blur.errors import WeightsError
from support import SHARED

CORAL = {
    1.0: SHARED / "weights" / "deeplabv3_mnv2_pascal_quant.tflite",
    0.5: SHARED / "weights" / "deeplabv3_mnv2_dm05_pascal_quant.tflite",
}
WEIGHTS = "{0}/Conv2D_Fold;{0}/weights_quant/FakeQuantWithMinMaxVars"
BIAS = "{0}/add_fold;{0}/Conv2D_Fold;{0}/BatchNorm_Fold/bias"


def coral_name(layer: str) -> str:
    """The name that Coral's file has for a layer of ours, such as MobilenetV2/Conv."""
    if layer.startswith("expanded_conv"):
        block, _, part = layer.rpartition("_")
        return f"MobilenetV2/{block}/{part}"
    return {"Conv": "MobilenetV2/Conv", "logits_semantic": "logits/semantic"}.get(layer, layer)


class QuantisedFile:
    """A network as a quantised `.tflite` holds it, each norm folded into a bias: an Interpreter."""

    def __init__(self, net):
        self.tensors = []
        for layer in net.layers:
            if not layer.weights or layer.name.endswith("_BN"):
                continue
            kernel, *bias = layer.get_weights()
            if not bias:
                _, bias, *_ = net.get_layer(layer.name + "_BN").get_weights()
            name, kernel = coral_name(layer.name), kernel.transpose(3, 0, 1, 2)
            low, scale = kernel.min(), np.ptp(kernel) / 255
            zero = round(-low / scale)
            self._add(WEIGHTS.format(name), kernel, scale, zero, np.uint8)
            self._add(BIAS.format(name), np.ravel(bias), 1e-6, 0, np.int32)
        self._add("MobilenetV2/input", np.zeros((1, 9, 9, 3)), 1, 128, np.uint8)

    def _add(self, name, values, scale, zero, kind):
        stored = np.clip(np.round(values / scale) + zero, *limits(kind)).astype(kind)
        about = {"name": name, "shape": stored.shape, "dtype": kind, "quantization": (scale, zero)}
        self.tensors.append((about, stored))

    def allocate_tensors(self):
        pass

    def get_tensor_details(self):
        return [{**about, "index": i} for i, (about, _) in enumerate(self.tensors)]

    def get_tensor(self, index):
        return self.tensors[index][1]


def limits(kind) -> tuple[int, int]:
    return np.iinfo(kind).min, np.iinfo(kind).max


def make_folded_network(width: float):
    """A voc network of random weights, its norms adding a bias and nothing else."""
    import model
    from tools.training.convert_weights import identity_norm

    net, rng = model.build("voc", design=model.Design(width=width)), np.random.default_rng(1)
    for layer in net.layers:
        if layer.name.endswith("_BN"):
            beta = rng.normal(0, 0.3, layer.weights[0].shape).astype(np.float32)
            layer.set_weights(identity_norm(beta, layer.epsilon))
    return net


@pytest.mark.slow
def test_a_quantised_file_makes_the_network_that_was_quantised(monkeypatch):
    """The twin, without Coral's file, of the test below."""
    import model
    from tools.training import convert_weights

    original = make_folded_network(width=0.25)
    file = QuantisedFile(original)
    monkeypatch.setattr(convert_weights, "Interpreter", lambda path: file)
    net = model.build("voc", design=model.Design(width=0.25))
    done = convert_weights.load_coral(net, "drawn.tflite")
    assert sorted(done) == sorted(layer.name for layer in model.layers_with_weights(net))
    assert len(done) == 109
    for layer in model.layers_with_weights(original):
        for theirs, ours in zip(
            layer.get_weights(), net.get_layer(layer.name).get_weights(), strict=True
        ):
            step = np.ptp(theirs) / 255
            np.testing.assert_allclose(ours, theirs, atol=0.51 * step + 1e-6, err_msg=layer.name)
    with pytest.raises(WeightsError, match="drawn.tflite: .* is "):
        convert_weights.load_coral(model.build("voc", design=model.Design()), "drawn.tflite")
    image = np.random.default_rng(2).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    theirs, ours = (np.asarray(each(image)) for each in (original, net))
    assert np.corrcoef(theirs.ravel(), ours.ravel())[0, 1] > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("width", [1.0, 0.5])
def test_the_coral_numbers_make_the_original_network(width):
    """Compared where both end in logits, at a 16th of the input, then enlarged as Coral does it."""
    if not CORAL[width].exists():
        pytest.skip(f"{CORAL[width]} is not there")
    import keras
    from ai_edge_litert.interpreter import Interpreter

    import model
    from tools.training.convert_weights import load_coral

    net = model.build("voc", design=model.Design(width=width))
    done = load_coral(net, CORAL[width])
    assert sorted(done) == sorted(layer.name for layer in model.layers_with_weights(net))
    assert len(done) == 109
    to_logits = keras.Model(net.input, net.get_layer("logits_semantic").output)
    original = Interpreter(str(CORAL[width]), num_threads=2)
    original.allocate_tensors()
    corners_aligned = np.stack(
        [np.interp(np.arange(513) / 16, np.arange(33), row) for row in np.eye(33)], 1
    )
    agreements = []
    for path in sorted((SHARED / "data" / "val").glob("voc_*.jpg"))[::20]:
        image = cv2.cvtColor(cv2.resize(cv2.imread(str(path)), (513, 513)), cv2.COLOR_BGR2RGB)
        original.set_tensor(original.get_input_details()[0]["index"], image[None])
        original.invoke()
        theirs = original.get_tensor(original.get_output_details()[0]["index"])[0]
        logits = np.asarray(to_logits(image[None].astype(np.float32)))[0]  # [33,33,21]
        ours = np.einsum(
            "yi,xj,ijc->yxc", corners_aligned, corners_aligned, logits, optimize=True
        ).argmax(-1)
        assert (theirs == model.VOC_PERSON).any()
        agreements.append((ours == theirs).mean())
    assert len(agreements) == 6
    assert np.mean(agreements) >= 0.97
    assert min(agreements) >= 0.95


@pytest.mark.slow
def test_a_file_that_is_no_network_is_not_converted(tmp_path, capsys):
    from tools.training import convert_weights

    (tmp_path / "text.tflite").write_text("not a network\n")
    out = tmp_path / "out.weights.h5"
    assert convert_weights.main([str(tmp_path / "text.tflite"), str(out)]) == 1
    assert "text.tflite" in capsys.readouterr().err and not out.exists()
