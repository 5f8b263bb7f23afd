"""Matrices in few bits: how near they come back, how small they are, and that nothing changes a second time."""

from __future__ import annotations

import pytest
import torch

from mfuser.weights import compact
from mfuser.weights import tensors as tensors_module


@pytest.mark.parametrize(("bits", "bytes_each"), [(8, 1.0), (4, 0.5)])
def test_every_value_is_the_nearest_step_of_its_row(bits, bytes_each):
    matrix = torch.randn(50, 12) * torch.logspace(-3, 3, 50)[:, None]
    matrix[7] = 0
    packed = compact.pack("m", matrix, bits)
    integers = next(t for name, t in packed.items() if not name.endswith(compact.SCALE))
    assert integers.element_size() == 1 and integers.numel() == bytes_each * matrix.numel()
    found = compact.unpack(packed)["m"]
    step = matrix.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 1)
    # Half a step, and what the scale loses as float16 (a part in 2048) at the far end of the row.
    assert ((found - matrix).abs() <= step / 2 + matrix.abs().amax(1, keepdim=True) / 1500 + 1e-7).all()
    assert found[7].abs().max() == 0 and found.dtype == torch.float32 and found.shape == matrix.shape


def test_a_kernel_comes_back_in_its_own_shape():
    kernel = torch.randn(6, 4, 3, 3) * torch.logspace(-2, 2, 6)[:, None, None, None]
    packed = compact.pack("k", kernel, 8)
    assert packed["k@int8"].shape == kernel.shape and packed["k@scale"].shape == (6, 1, 1, 1)
    found = compact.unpack(packed)["k"]
    assert found.shape == kernel.shape
    assert torch.equal(found.flatten(1), compact.rounded({"m": kernel.flatten(1)}, {"m": 8})["m"])


@pytest.mark.parametrize("bits", [8, 4])
def test_a_second_time_changes_nothing(bits):
    once = compact.rounded({"m": torch.randn(300, 64)}, {"m": bits})
    assert torch.equal(compact.rounded(once, {"m": bits})["m"], once["m"])


def test_files_hold_the_integers_and_load_the_matrix(tmp_path):
    tensors = {"a.weight": torch.randn(8, 6), "b": torch.randn(8, 6), "c": torch.arange(3)}
    path = tmp_path / "x.safetensors"
    tensors_module.save(path, tensors, {"note": "n"}, half=True, bits={"a.weight": 4})
    found, metadata = tensors_module.load(path)
    assert list(sorted(found)) == ["a.weight", "b", "c"] and metadata == {"note": "n"}
    assert torch.equal(found["a.weight"], compact.rounded(tensors, {"a.weight": 4})["a.weight"])
    assert torch.equal(found["b"], tensors["b"].half().float()) and torch.equal(found["c"], tensors["c"])
    tensors_module.add_metadata(path, {"more": "m"})
    again, metadata = tensors_module.load(path)
    assert metadata == {"note": "n", "more": "m"} and all(torch.equal(again[n], t) for n, t in found.items())


def test_what_is_no_pair_of_integers_and_scale_is_left_alone():
    """A foreign or damaged file is then refused by its names, as any that does not fit."""
    tensors = {"mail@home": torch.ones(2), "a@int8": torch.ones(2, 2, dtype=torch.int8), "b@scale": torch.ones(2, 1)}
    found = compact.unpack(tensors)
    assert found.keys() == tensors.keys() and all(found[n] is t for n, t in tensors.items())


def test_a_built_in_encoder_names_what_it_has(tiny_model):
    """Blocks and the trunk's last stages in 8 bits, the table of word pieces in 4; nothing of the first stages, whose
    filters subtract what is nearly equal, and no projection."""
    for encoder, reads in ((tiny_model.vfm, 5), (tiny_model.vlm, 7)):
        state, bits = encoder.state_dict(), encoder.stored_bits()
        late = {n for n in state if n.startswith(("trunk.stages.5.", "trunk.stages.6.")) and state[n].ndim == 4}
        blocks = {n for n in state if n.startswith("blocks.") and state[n].ndim == 2}
        assert blocks and bool(late) == (reads == 7) and late | blocks == {n for n in bits if "text" not in n}
        assert len(encoder.trunk.stages) == reads and all(bits[n] == 8 for n in late | blocks)
    texts = {n: b for n, b in bits.items() if n.startswith("text.")}
    assert texts.pop("text.table.weight") == 4 and set(texts.values()) == {8} and "text.projection" not in texts
