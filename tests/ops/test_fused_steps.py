"""Steps that have a kernel of their own on CUDA: when it runs, and, where Triton's interpreter is there, what it gives.

TRITON_INTERPRET=1 python -m pytest tests/test_kernels.py
"""

from __future__ import annotations

import importlib.util
import logging
import os

import pytest
import torch
import torch.nn.functional as F
from timm.layers.pos_embed_sincos import apply_rot_embed_cat

from mfuser.decoder import deformable_attention  # noqa: F401  has a kernel of its own
from mfuser.inference.streamline import streamline
from mfuser.ops import fused_steps
from mfuser.ops.fused_steps import KERNELS, Kernel

CPU = torch.device("cpu")


OFF = 1 + 1 / 128  # the last place of bfloat16, and within the mark


def stub_kernel(factor: float = 2 * OFF, fails: bool = False) -> Kernel:
    """A kernel whose second version can be told from its first, 2 x: it multiplies by `factor`."""

    class Stub(Kernel):
        def fused(self, x: torch.Tensor, *arguments) -> torch.Tensor:
            if fails:
                raise RuntimeError("no compiler")
            return x * factor

    return Stub("stub", lambda x: x * 2, lambda device: [tuple(fused_steps.example_values(CPU, (30, 40)))])


def test_a_kernel_runs_where_it_is_trusted_in_half_precision_without_gradients():
    kernel, x = stub_kernel(), torch.ones(2, dtype=torch.bfloat16)
    assert not torch.equal(x * 2, x * 2 * OFF), "or the two could not be told apart"
    assert 0 < kernel.error(CPU) <= fused_steps.MARK
    with torch.no_grad():
        assert torch.equal(kernel(x), x * 2)
        kernel.trusted[CPU] = True
        assert torch.equal(kernel(x), x * 2 * OFF)
        assert torch.equal(kernel(x.float()), x.float() * 2)
    assert torch.equal(kernel(x), x * 2), "a kernel has no gradient"


def test_nothing_is_trusted_on_a_cpu():
    fused_steps.trust(CPU)
    assert not any(kernel.trusted.get(CPU) for kernel in KERNELS)


@pytest.mark.parametrize(
    ("kernel", "right", "level", "message"),
    [
        (stub_kernel(), True, None, ""),
        (stub_kernel(fails=True), False, logging.INFO, "stub runs in plain torch on cuda:0: no compiler"),
        (stub_kernel(7), False, logging.WARNING, "stub computes something else on cuda:0 (relative error 2.5e+00"),
        (
            stub_kernel(float("nan")),
            False,
            logging.WARNING,
            "stub computes something else on cuda:0 (relative error inf",
        ),
    ],
    ids=["right", "fails", "differs", "not a number"],
)
def test_what_fails_or_differs_is_not_trusted_and_reported(
    monkeypatch, caplog, kernel, right: bool, level, message: str
):
    monkeypatch.setattr(fused_steps, "KERNELS", [kernel])
    monkeypatch.setattr(fused_steps.importlib.util, "find_spec", lambda name: True)
    caplog.set_level(logging.INFO, "mfuser.ops.fused_steps")
    for _ in range(2):  # compared once
        fused_steps.trust(torch.device("cuda", 0))
    assert kernel.trusted == {torch.device("cuda", 0): right}
    assert [record.levelno for record in caplog.records] == ([] if right else [level]) and message in caplog.text


def test_the_error_is_that_of_the_worst_example():
    kernel = stub_kernel()
    right = kernel.examples(CPU)
    for bad in (float("nan"), 1e3):

        class Sees(Kernel):
            """Differs where channels come first."""

            def fused(self, x: torch.Tensor) -> torch.Tensor:
                return x * (2 if x.stride(-1) == 1 else bad)  # noqa: B023

        for cases in (lambda device: [*right, (right[0][0].T,)], lambda device: [(right[0][0].T,), *right]):
            assert Sees("sees", kernel.plain, cases).error(CPU) > 100
    assert Sees("sees", kernel.plain, lambda device: right).error(CPU) == 0


def test_examples_have_both_layouts_of_a_convolution_and_more_than_a_tile():
    first, second = (x for x, _ in fused_steps.conv_silu.examples(CPU))
    assert first.stride(1) == 1 and second.stride(2) == 1 and first.shape == second.shape
    assert first.shape[1] > 128 and first.shape[2] > 128  # tiles are 32 by 128, along what lies side by side
    y = fused_steps.gated_rms.examples(CPU)[0][0]
    assert y.shape[1] >= 512 and y.shape[2] > 2 * 16  # a ViT-L adapter's channels, tiles of 16 tokens


@pytest.mark.parametrize("kernel", KERNELS, ids=[k.name for k in KERNELS])
def test_triton_computes_the_plain_version(kernel: Kernel):
    if importlib.util.find_spec("triton") is None or os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("needs Triton and TRITON_INTERPRET=1")
    assert kernel.error(CPU) <= fused_steps.MARK


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotation_is_timms(dtype: torch.dtype):
    g = torch.Generator().manual_seed(0)
    x, angle = torch.randn(2, 7, 3, 8, generator=g).to(dtype), torch.randn(7, 4, generator=g)
    angle = angle.repeat_interleave(2, dim=-1)
    table = torch.cat([angle.sin(), angle.cos()], dim=-1)
    expected = apply_rot_embed_cat(x.transpose(1, 2), table).transpose(1, 2)
    assert torch.equal(fused_steps.rotate(x, table), expected)


def test_a_gated_norm_looks_at_real_channels_alone():
    x = torch.randn(3, 2 * 16)
    noisy = x.clone()
    noisy.view(3, 2, 16)[..., 13:] = 1e6  # the padding
    weight, bias = torch.randn(16), torch.randn(16)
    gate, value = x.view(3, 2, 16)[..., :13].unbind(1)
    expected = F.layer_norm(F.silu(gate) * value, (13,), weight[:13], bias[:13], 1e-6)
    found = fused_steps.gated_norm(noisy, weight, bias, 13, 1e-6)
    assert found.shape == (3, 16) and not found[:, 13:].any()
    torch.testing.assert_close(found[:, :13], expected)


def test_gated_rms_is_a_norm_over_channels_times_a_gate():
    y, z = torch.randn(2, 6, 5), torch.randn(2, 5, 6)
    rows = y.transpose(1, 2)
    expected = F.rms_norm(rows, (6,), eps=1e-5) * F.silu(z)
    for first in (0, 2, 5):
        found = fused_steps.gated_rms(y, z, 1e-5, first).split([2 * first, 2 * (5 - first)])
        torch.testing.assert_close(found[0].view(2, first, 6), expected[:, :first])
        torch.testing.assert_close(found[1].view(2, 5 - first, 6), expected[:, first:])


def test_streamlined_modules_can_be_compiled_into_one_graph():
    """With a compiler the plain versions run, which it fuses by itself."""
    module = torch.nn.Sequential(torch.nn.LayerNorm(8), torch.nn.Linear(8, 8))
    streamline(module, torch.float32)
    x = torch.randn(2, 8)
    with torch.no_grad():
        compiled = torch.compile(module, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), module(x))
