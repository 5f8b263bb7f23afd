"""The families of open_clip taken apart: open_clip's own results, other grids, real layouts of public weights."""

from __future__ import annotations

from functools import partial

import open_clip
import pytest
import timm
import torch
import torch.nn.functional as F
from open_clip.model import CLIP as OpenCLIPModel
from open_clip.model import CustomTextCLIP
from torch import Tensor, nn

from mfuser import presets
from mfuser.encoders import vlm
from mfuser.encoders.base import normalise
from mfuser.encoders.vocabulary import SigLIPTokenizer
from mfuser.hub import MissingError
from mfuser.loading import MFuser

TEXT = {"width": 32, "heads": 2, "layers": 2, "vocab_size": 49408}
TIMM = {"depth": 2, "embed_dim": 64, "num_heads": 2}
CASES = {  # family: (class, open_clip's name, patch, changes of the vision tower, joint width)
    "eva02-clip": (vlm.EVA02CLIP, "EVA02-L-14-336", 14, TIMM, 48),
    "clip": (vlm.CLIP, "ViT-L-14-336-quickgelu", 14, {"width": 64, "layers": 2, "head_width": 32}, 48),
    "siglip": (vlm.SigLIP, "ViT-L-16-SigLIP-384", 16, TIMM, 64),
}


def make(name: str, patch: int | None = None, grid: int = 4) -> vlm.OpenCLIPEncoder:
    family, model, own, vision, embed_dim = CASES[name]
    torch.manual_seed(0)
    return family(model, patch or own, grid, vision=vision, text=TEXT, embed_dim=embed_dim).eval()


@pytest.fixture(scope="module", params=CASES)
def encoder(request, randomise) -> vlm.OpenCLIPEncoder:
    return randomise(make(request.param))


def run(encoder: vlm.OpenCLIPEncoder, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        tokens, grid = encoder.embed(pixels)
        for i in range(encoder.depth):
            tokens = encoder.block(i, tokens, grid)
        return encoder.dense(encoder.norm(tokens))


def public(name: str, image_size: int) -> nn.Module:
    """open_clip's own model of the same widths, whose state dict has the layout of the hub's file."""
    _, model, _, vision, embed_dim = CASES[name]
    config = open_clip.get_model_config(model)
    custom = config.pop("custom_text", False)
    config["text_cfg"] |= TEXT
    config["embed_dim"] = embed_dim
    if name == "clip":
        config["vision_cfg"] |= {**vision, "image_size": image_size}
        return OpenCLIPModel(**config)
    config["vision_cfg"]["timm_model_name"] = "tiny"
    original = open_clip.timm_model.timm.create_model

    def create(model_name: str, **options):
        timm_name = open_clip.get_model_config(model)["vision_cfg"]["timm_model_name"]
        return original(timm_name, img_size=image_size, **{**options, **TIMM})

    with pytest.MonkeyPatch.context() as patcher:
        patcher.setattr(open_clip.timm_model.timm, "create_model", create)
        return CustomTextCLIP(**config) if custom else OpenCLIPModel(**config)


@pytest.mark.parametrize("name", CASES)
def test_public_weights_give_open_clips_embeddings(name: str, randomise):
    """Both towers through the file's layout; what the released code changes is undone first."""
    encoder, patch = make(name), CASES[name][2]
    theirs = randomise(public(name, 4 * patch), 3).eval()
    own = encoder.from_public(theirs.state_dict())
    encoder.load_state_dict(own)
    pixels = torch.rand(2, 3, 4 * patch, 4 * patch) * 255
    if name == "clip":  # the class embedding counts twice
        with torch.no_grad():
            encoder.trunk.positional_embedding[0] -= encoder.trunk.class_embedding
    if name == "siglip":  # tanh GELU
        for module in theirs.modules():
            for child, layer in module.named_children():
                if isinstance(layer, nn.GELU):
                    setattr(module, child, nn.GELU(approximate="tanh"))
        assert encoder.temperature.item() == pytest.approx(1 / theirs.logit_scale.exp().item(), rel=1e-5)
    with torch.no_grad():
        expected = theirs.encode_image(normalise(pixels, encoder.mean, encoder.std))
        torch.testing.assert_close(run(encoder, pixels)[:, 0], expected, rtol=1e-3, atol=1e-4)
        length = encoder.text.positions
        ids = torch.zeros(2, length, dtype=torch.int64)
        ids[:, :4] = torch.tensor([[49406, 5, 6, 49407], [49406, 7, 8, 49407]])
        torch.testing.assert_close(encoder.text(ids), theirs.encode_text(ids), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "patch", "kernel", "kernel_mode", "positions", "position_mode"),
    [
        ("eva02-clip", 14, "visual.trunk.patch_embed.proj.weight", None, "visual.trunk.pos_embed", "bicubic"),
        ("clip", 16, "visual.conv1.weight", "bilinear", "visual.positional_embedding", "bilinear"),
        ("siglip", 16, "visual.trunk.patch_embed.proj.weight", None, "visual.trunk.pos_embed", "bilinear"),
    ],
)
def test_other_sizes_are_resampled_as_released(name, patch, kernel, kernel_mode, positions, position_mode):
    encoder, native = make(name, patch), CASES[name][2]
    state = {n: torch.randn_like(t) for n, t in public(name, 6 * native).state_dict().items()}
    own = encoder.from_public(state)
    assert {n: t.shape for n, t in own.items()} == {n: t.shape for n, t in encoder.state_dict().items()}
    expected = state[kernel]
    if kernel_mode:
        expected = F.interpolate(expected, size=(patch, patch), mode=kernel_mode, align_corners=False)
    assert torch.equal(own[encoder.kernel], expected)
    table, prefix = state[positions].reshape(-1, 64), encoder.prefix
    square = table[prefix:].T.reshape(1, 64, 6, 6)
    places = F.interpolate(square, size=(4, 4), mode=position_mode, align_corners=False)[0].flatten(1).T
    found = own[encoder.positions].reshape(-1, 64)
    torch.testing.assert_close(found[prefix:], places)
    assert torch.equal(found[:prefix], table[:prefix])


def test_every_grid_works_and_a_rest_is_not_seen(encoder):
    for h, w in ((3, 5), (6, 2)):
        pixels = torch.rand(1, 3, encoder.patch * h + 5, encoder.patch * w + 9) * 255
        dense = run(encoder, pixels)
        assert dense.shape == (1, 1 + h * w, encoder.embed_dim) and dense.isfinite().all()
        torch.testing.assert_close(dense, run(encoder, pixels[..., : encoder.patch * h, : encoder.patch * w]))


def test_rotary_positions_follow_the_grid():
    square, wide = (vlm.rotary_table(g, 8, 16, torch.device("cpu")) for g in ((4, 4), (4, 8)))
    assert square.shape == (16, 16) and wide.shape == (32, 16)
    sine = square[:, :8]
    rows, columns = torch.arange(16) // 4 / 4 * 16, torch.arange(16) % 4 / 4 * 16
    torch.testing.assert_close(sine[:, 0], rows.sin())
    torch.testing.assert_close(sine[:, 4], columns.sin())
    torch.testing.assert_close(sine[:, 2], (rows / 100).sin())
    assert torch.equal(sine[:, ::2], sine[:, 1::2]), "neighbouring channels form a pair"
    torch.testing.assert_close(wide.view(4, 8, 16)[:, ::2], square.view(4, 4, 16))


def test_activations_are_the_released_ones():
    eva, clip, siglip = (make(name) for name in CASES)
    tanh = partial(F.gelu, approximate="tanh")
    x = torch.linspace(-4, 4, 99)
    for block, layer, expected in (
        (siglip.trunk.blocks[0], siglip.trunk.blocks[0].mlp.act, tanh(x)),
        (siglip.trunk.attn_pool, siglip.trunk.attn_pool.mlp.act, tanh(x)),
        (siglip.text, siglip.text.tower.transformer.resblocks[0].mlp.gelu, tanh(x)),
        (clip.trunk, clip.trunk.transformer.resblocks[0].mlp.gelu, x * torch.sigmoid(1.702 * x)),
        (clip.text, clip.text.tower.transformer.resblocks[0].mlp.gelu, x * torch.sigmoid(1.702 * x)),
        (eva.text, eva.text.tower.transformer.resblocks[0].mlp.gelu, F.gelu(x)),
    ):
        torch.testing.assert_close(layer(x), expected, msg=str(type(block)))


@pytest.mark.parametrize("name", ["eva02-clip", "clip"])
def test_texts_become_clips_ids(name: str):
    encoder = make(name)
    assert encoder.tokenize(["traffic light"], 5).tolist() == [[49406, 3399, 1395, 49407, 0]]
    assert encoder.fits("traffic light", 4) and not encoder.fits("traffic light", 3)


# -- SigLIP's vocabulary -----------------------------------------------------------------------------------------------


@pytest.fixture
def vocabulary(tmp_path, monkeypatch):
    """A vocabulary file of a few words, where the user's folder has it."""
    tokenizers = pytest.importorskip("tokenizers")
    words = {"<unk>": 0, "</s>": 1, "traffic": 2, "light": 3, "road": 4}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    model.post_processor = tokenizers.processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    monkeypatch.setenv("MFUSER_WEIGHTS", str(tmp_path))
    (tmp_path / "ViT-B-16-SigLIP").mkdir()
    model.save(str(tmp_path / "ViT-B-16-SigLIP" / "tokenizer.json"))


def test_texts_become_siglips_ids(vocabulary):
    tokenizer = SigLIPTokenizer("timm/ViT-B-16-SigLIP", 8)
    assert tokenizer.here()
    assert tokenizer(["Traffic  light!", "road"], 5).tolist() == [[2, 3, 1, 1, 1], [4, 1, 1, 1, 1]]
    assert tokenizer(["road road traffic light"], 3).tolist() == [[4, 4, 1]], "cut, with its end token"
    assert tokenizer.count("traffic light") == 3
    encoder = make("siglip")
    assert encoder.vocabulary_is_here() and encoder.fits("traffic light", 3) and not encoder.fits("traffic light", 2)


def test_a_missing_vocabulary_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("MFUSER_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    tokenizer = SigLIPTokenizer("nobody/nothing", 8)
    assert not tokenizer.here()
    with pytest.raises(MissingError, match="run `(hf download nobody/nothing tokenizer.json|pip install tokenizers)`"):
        tokenizer(["road"])


# -- the real sizes, without memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n, p in presets.PRESETS.items() if p.vlm.source is not None])
def test_every_presets_public_weights_fit(name: str):
    """Names and shapes of timm's and open_clip's own models at full size, through each preset's encoders."""
    preset = presets.get(name)
    config = open_clip.get_model_config(preset.vlm.options["model"])
    with torch.device("meta"):
        theirs = (CustomTextCLIP if config.pop("custom_text", False) else OpenCLIPModel)(**config)
        dino = timm.create_model(preset.vfm.options["model"], pretrained=False, num_classes=0, img_size=518)
        model = MFuser(preset, bare_encoders=True)
    for encoder, public_model in ((model.vlm, theirs), (model.vfm, dino)):
        own = encoder.from_public(public_model.state_dict())
        assert {n: t.shape for n, t in own.items()} == {n: t.shape for n, t in encoder.state_dict().items()}
    assert model.vfm.depth == model.vlm.depth == preset.taps[-1] + 1 == len(model.fusion.pairs)
    tokens = {encoder: encoder.embed(torch.zeros(1, 3, 512, 512, device="meta")) for encoder in (model.vfm, model.vlm)}
    assert tokens[model.vfm][1] == tokens[model.vlm][1] == (512 // preset.vfm.options["patch"],) * 2
