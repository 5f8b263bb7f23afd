"""Backbone, text tower and visual embedding of every family, against the released code's steps written out.

`Released` knows nothing of our modules: it reads a checkpoint by the authors' names and calls functions. Decoder and
enhancer have stored values of their own (tests/decoder, tests/fusion).
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
DEPTH, HEADS, WIDTH = 4, 2, 64


def constant(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(3, 1, 1) * 255


class Released:
    """Steps of the released code for a tiny checkpoint. All token sequences are (B, L, C)."""

    def __init__(self, family: str, state: dict[str, Tensor]):
        self.family, self.state = family, state

    def w(self, name: str) -> Tensor:
        return self.state[name]

    def linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.w(f"{name}.weight"), self.state.get(f"{name}.bias"))

    def norm(self, x: Tensor, name: str, eps: float) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.w(f"{name}.weight"), self.w(f"{name}.bias"), eps)

    def attention(self, q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
        q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        scores = scores if mask is None else scores + mask
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)

    def packed(self, x: Tensor, name: str, heads: int, mask: Tensor | None = None) -> Tensor:
        """torch's MultiheadAttention."""
        q, k, v = F.linear(x, self.w(f"{name}.in_proj_weight"), self.w(f"{name}.in_proj_bias")).chunk(3, -1)
        return self.linear(self.attention(q, k, v, heads, mask), f"{name}.out_proj")

    # -- encoders

    def dino_tokens(self, raw: Tensor) -> Tensor:
        x = (raw - constant((0.485, 0.456, 0.406))) / constant((0.229, 0.224, 0.225))
        p = "backbone.dinov2."
        x = F.conv2d(x, self.w(p + "patch_embed.proj.weight"), self.w(p + "patch_embed.proj.bias"), stride=8)
        x = x.flatten(2).transpose(1, 2)
        return torch.cat([self.w(p + "cls_token").expand(len(x), -1, -1), x], 1) + self.w(p + "pos_embed")

    def dino_block(self, i: int, x: Tensor) -> Tensor:
        p = f"backbone.dinov2.blocks.{i}."
        q, k, v = self.linear(self.norm(x, p + "norm1", 1e-6), p + "attn.qkv").chunk(3, -1)
        x = x + self.w(p + "ls1.gamma") * self.linear(self.attention(q, k, v, HEADS), p + "attn.proj")
        y = self.linear(F.gelu(self.linear(self.norm(x, p + "norm2", 1e-6), p + "mlp.fc1")), p + "mlp.fc2")
        return x + self.w(p + "ls2.gamma") * y

    def vlm_tokens(self, raw: Tensor) -> Tensor:
        x = (raw - constant(MEAN)) / constant(STD)
        if self.family == "siglip":
            x, p = (raw - 127.5) / 127.5, "backbone.embeddings."
            x = F.conv2d(x, self.w(p + "patch_embedding.weight"), self.w(p + "patch_embedding.bias"), stride=8)
            return x.flatten(2).transpose(1, 2) + self.w(p + "position_embedding.weight")
        if self.family == "clip":
            x = F.conv2d(x, self.w("backbone.conv1.weight"), stride=8).flatten(2).transpose(1, 2)
            cls = self.w("backbone.class_embedding")
            places = self.w("backbone.positional_embedding").clone()
            places[0] += cls
            x = torch.cat([cls.expand(len(x), 1, -1), x], 1) + places
            return self.norm(x, "backbone.ln_pre", 1e-5)
        p = "backbone.patch_embed.proj."
        x = F.conv2d(x, self.w(p + "weight"), self.w(p + "bias"), stride=8).flatten(2).transpose(1, 2)
        return torch.cat([self.w("backbone.cls_token").expand(len(x), -1, -1), x], 1) + self.w("backbone.pos_embed")

    def vlm_block(self, i: int, x: Tensor) -> Tensor:
        if self.family == "clip":
            return self.clip_block(f"backbone.transformer.resblocks.{i}.", x, HEADS, quick=True)
        if self.family == "siglip":
            return self.siglip_block(f"backbone.encoder.layers.{i}.", x, HEADS)
        p = f"backbone.blocks.{i}."
        y = self.norm(x, p + "norm1", 1e-6)
        q = F.linear(y, self.w(p + "attn.q_proj.weight"), self.w(p + "attn.q_bias"))
        k = F.linear(y, self.w(p + "attn.k_proj.weight"))
        v = F.linear(y, self.w(p + "attn.v_proj.weight"), self.w(p + "attn.v_bias"))
        y = self.attention(self.rotate(q), self.rotate(k), v, HEADS)
        x = x + self.linear(self.norm(y, p + "attn.inner_attn_ln", 1e-6), p + "attn.proj")
        y = self.norm(x, p + "norm2", 1e-6)
        y = F.silu(self.linear(y, p + "mlp.w1")) * self.linear(y, p + "mlp.w2")
        return x + self.linear(self.norm(y, p + "mlp.ffn_ln", 1e-6), p + "mlp.w3")

    def rotate(self, x: Tensor) -> Tensor:
        """Rotary positions of the patches: channel pairs (2j, 2j + 1), first half by row, second by column."""
        out, head = x.clone(), WIDTH // HEADS
        quarter = head // 4
        for token in range(16):
            for axis, place in enumerate((token // 4, token % 4)):
                for j in range(quarter):
                    angle = torch.tensor(place / 4 * 16 * 10000 ** (-2 * j / (head // 2)))
                    for h in range(HEADS):
                        a = h * head + axis * head // 2 + 2 * j
                        x0, x1 = x[:, 1 + token, a], x[:, 1 + token, a + 1]
                        out[:, 1 + token, a] = x0 * angle.cos() - x1 * angle.sin()
                        out[:, 1 + token, a + 1] = x1 * angle.cos() + x0 * angle.sin()
        return out

    def clip_block(self, p: str, x: Tensor, heads: int, quick: bool, mask: Tensor | None = None) -> Tensor:
        x = x + self.packed(self.norm(x, p + "ln_1", 1e-5), p + "attn", heads, mask)
        y = self.linear(self.norm(x, p + "ln_2", 1e-5), p + "mlp.c_fc")
        return x + self.linear(y * torch.sigmoid(1.702 * y) if quick else F.gelu(y), p + "mlp.c_proj")

    def siglip_block(self, p: str, x: Tensor, heads: int) -> Tensor:
        y = self.norm(x, p + "layer_norm1", 1e-6)
        q, k, v = (self.linear(y, f"{p}self_attn.{name}_proj") for name in "qkv")
        x = x + self.linear(self.attention(q, k, v, heads), p + "self_attn.out_proj")
        y = F.gelu(self.linear(self.norm(x, p + "layer_norm2", 1e-6), p + "mlp.fc1"), approximate="tanh")
        return x + self.linear(y, p + "mlp.fc2")

    # -- fusion

    def mvfuser(self, i: int, h: Tensor) -> Tensor:
        p = f"backbone.adapter.{i}."
        x, z = self.linear(h, p + "in_proj").transpose(1, 2).chunk(2, dim=1)
        half = x.shape[1]
        x = F.silu(F.conv1d(x, self.w(p + "conv1d_x.weight"), padding=1, groups=half))
        z = F.silu(F.conv1d(z, self.w(p + "conv1d_z.weight"), padding=1, groups=half))
        rank = -(-h.shape[-1] // 16)
        dt, b, c = self.linear(x.transpose(1, 2), p + "x_proj").split([rank, 16, 16], -1)
        delta = F.softplus(self.linear(dt, p + "dt_proj") + self.w(p + "dt_proj.bias"))  # the bias twice
        a, state, ys = -torch.exp(self.w(p + "A_log")), x.new_zeros(len(h), half, 16), []
        for t in range(h.shape[1]):
            d, u = delta[:, t, :, None], x[:, :, t, None]
            state = torch.exp(d * a) * state + d * b[:, t, None] * u
            ys.append((state * c[:, t, None]).sum(-1) + self.w(p + "D") * x[:, :, t])
        y = torch.stack(ys, 1)
        y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() * self.w(p + "norm.weight")
        return self.w(p + "scale") * self.linear(y * F.silu(z.transpose(1, 2)), p + "out_proj")

    def backbone(self, raw: Tensor) -> tuple[list[Tensor], Tensor]:
        """The pyramid, and the visual embedding with the global one first."""
        d, v, maps = self.dino_tokens(raw), self.vlm_tokens(raw), []
        for i in range(DEPTH):
            v, d = self.vlm_block(i, v), self.dino_block(i, d)
            into = self.linear(d, f"backbone.adapter_proj1.{i}") if self.family == "clip" else d
            a = self.mvfuser(i, torch.cat([into, v], 1))
            to_d = a[:, : d.shape[1]]
            d = d + (self.linear(to_d, f"backbone.adapter_proj2.{i}") if self.family == "clip" else to_d)
            v = v + a[:, d.shape[1] :]
            patches = torch.cat([d[:, 1:], v[:, v.shape[1] - 16 :]], -1)
            maps.append(patches.transpose(1, 2).unflatten(-1, (4, 4)))
        return self.pyramid(maps), self.visual(d, v)

    def pyramid(self, maps: list[Tensor]) -> list[Tensor]:
        p = "backbone.fpn"
        x = F.conv_transpose2d(maps[0], self.w(p + "1.0.weight"), self.w(p + "1.0.bias"), stride=2)
        x = F.batch_norm(x, self.w(p + "1.1.running_mean"), self.w(p + "1.1.running_var"),
                         self.w(p + "1.1.weight"), self.w(p + "1.1.bias"))  # fmt: skip
        x = F.conv_transpose2d(F.gelu(x), self.w(p + "1.3.weight"), self.w(p + "1.3.bias"), stride=2)
        y = F.conv_transpose2d(maps[1], self.w(p + "2.0.weight"), self.w(p + "2.0.bias"), stride=2)
        return [x, y, maps[2], F.max_pool2d(maps[3], 2, 2)]

    def visual(self, d: Tensor, v: Tensor) -> Tensor:
        normed = self.norm(d, "backbone.dinov2.norm", 1e-6)
        if self.family == "eva02-clip":
            return self.linear(self.norm(v, "backbone.norm", 1e-6) + normed, "backbone.head")
        if self.family == "clip":
            joint = v + self.linear(d, "backbone.adapter_proj3")
            return self.norm(joint, "backbone.ln_post", 1e-5) @ self.w("backbone.proj")
        s = self.norm(v, "backbone.post_layernorm", 1e-6) + normed[:, 1:]
        p = "backbone.head."
        wq, wk, wv = self.w(p + "attention.in_proj_weight").chunk(3)
        bq, bk, bv = self.w(p + "attention.in_proj_bias").chunk(3)
        out = []
        for query in (self.w(p + "probe").expand(len(s), -1, -1), s):
            t = self.attention(F.linear(query, wq, bq), F.linear(s, wk, bk), F.linear(s, wv, bv), HEADS)
            t = self.linear(t, p + "attention.out_proj")
            y = F.gelu(self.linear(self.norm(t, p + "layernorm", 1e-6), p + "mlp.fc1"), approximate="tanh")
            out.append(t + self.linear(y, p + "mlp.fc2"))
        return torch.cat(out, 1)

    def text(self, ids: Tensor) -> Tensor:
        siglip, p = self.family == "siglip", "text_encoder."
        x = self.w(p + ("embeddings." if siglip else "") + "token_embedding.weight")[ids]
        prompts = self.w("contexts")
        x = torch.cat([x[:, :1], prompts.expand(len(x), -1, -1), x[:, 1:]], 1)
        if siglip:
            x = x + self.w(p + "embeddings.position_embedding.weight")
            for i in range(2):
                x = self.siglip_block(f"{p}encoder.layers.{i}.", x, 2)
            return self.linear(self.norm(x, p + "final_layer_norm", 1e-6)[:, -1], p + "head")
        x = x + self.w(p + "positional_embedding")
        mask = torch.full((x.shape[1],) * 2, -torch.inf).triu(1)
        for i in range(2):
            x = self.clip_block(f"{p}transformer.resblocks.{i}.", x, 2, self.family == "clip", mask)
        x = self.norm(x, p + "ln_final", 1e-5)
        end = ids.argmax(-1) + prompts.shape[1]
        return x[torch.arange(len(x)), end] @ self.w(p + "text_projection")


@pytest.fixture(scope="module")
def both(pair_preset, official_state):
    from mfuser.loading import MFuser

    ids = torch.randint(2, 32000, (19, 5), generator=torch.Generator().manual_seed(5))
    model = MFuser.from_official(official_state, token_ids=ids, preset=pair_preset)
    raw = torch.rand(2, 3, 35, 38, generator=torch.Generator().manual_seed(0)) * 255  # a rest that no patch sees
    with torch.no_grad():
        output = model(raw)
        pyramid, visual = Released(pair_preset.vlm.family, official_state).backbone(raw)
        text = Released(pair_preset.vlm.family, official_state).text(ids)
        return model, output, pyramid, visual, text


def test_the_pyramid_is_the_released_one(both):
    _, output, pyramid, _, _ = both
    for ours, theirs in zip(output.pyramid, pyramid, strict=True):
        assert (ours - theirs).abs().max() < 1e-4 * theirs.std()


def test_the_visual_embedding_is_the_released_one(both):
    _, output, _, visual, _ = both
    assert output.visual.shape == visual.shape
    assert (output.visual - visual).abs().max() < 1e-4 * visual.std()


def test_the_class_texts_are_the_released_ones(both):
    model, output, _, visual, text = both
    with torch.no_grad():
        assert (model.class_text("fused") - text).abs().max() < 1e-4 * text.std()
    cosine = F.cosine_similarity(visual[:, None, 1:], output.text[:, :, None], dim=-1)
    assert (output.score_map.flatten(2) - cosine).abs().max() < 1e-4


def test_the_checkpoints_tensors_are_not_copied(both, official_state):
    model = both[0]
    assert (
        model.fusion.adapters[0].in_proj.weight.data_ptr()
        == official_state["backbone.adapter.0.in_proj.weight"].data_ptr()
    )
