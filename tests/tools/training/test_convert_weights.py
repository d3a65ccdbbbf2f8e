"""A file that is not a network does not become Keras weights."""

import pytest


@pytest.mark.slow
def test_a_file_that_is_no_network_is_not_converted(tmp_path, capsys):
    from tools.training import convert_weights

    (tmp_path / "text.tflite").write_text("not a network\n")
    out = tmp_path / "out.weights.h5"
    assert convert_weights.main([str(tmp_path / "text.tflite"), str(out)]) == 1
    assert "text.tflite" in capsys.readouterr().err and not out.exists()
