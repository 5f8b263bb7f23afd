"""`mfuser.MFuser`: the network, with the ways to load its weights, to prepare it for inference and to save it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mfuser import presets
from mfuser.config import STREAMS, Preset
from mfuser.encoders.base import freeze
from mfuser.model import MFuserNetwork
from mfuser.weights import official
from mfuser.weights.files import folder_of
from mfuser.weights.folder import load_encoder, load_folder
from mfuser.weights.tensors import fill, unwrap


class MFuser(MFuserNetwork):
    """The network with its weights. Build it with `from_preset` or `from_official`."""

    _counted: dict[str, int] | None = None  # parameters of each stream, once some are merged

    @classmethod
    def from_preset(
        cls, name: str | Preset, pretrained: bool | str = True, weights: str | Path | None = None
    ) -> MFuser:
        """Build a preset, with its weights or random ones.

        Streams whose weights lie in the folder besides the preset's own are loaded too.

        Args:
            name: of a preset, or the preset itself.
            pretrained: True loads all weights. "encoders" loads those of the frozen encoders only, as training needs
                them. False loads none.
            weights: folder of the weights; None for `folder_of(preset)`. Public encoders that it lacks come from the
                hub.

        Raises:
            ValueError: unknown name.
            WeightsError: weights that are missing or another model's. It is a ValueError.
        """
        preset = presets.get(name) if isinstance(name, str) else name
        folder = Path(weights) if weights else folder_of(preset)
        if pretrained == "encoders":
            model = cls(preset, bare_encoders=True)
            for encoder in ("vfm", "vlm"):
                load_encoder(model, encoder, folder)
        elif pretrained:
            preset = with_trained_streams(preset, folder)
            with torch.device("meta"):  # no memory, no time for random values; the weights take their place
                model = cls(preset)
            load_folder(model, folder)
        else:
            model = cls(preset)
        return model.eval()

    @classmethod
    def from_official(
        cls,
        source: str | Path | Mapping[str, Tensor],
        vlm: str | None = None,
        token_ids: Tensor | None = None,
        preset: Preset | None = None,
    ) -> MFuser:
        """Build a preset of the paper from a checkpoint of the authors.

        Args:
            source: their file, or its state dict. The tensors of a state dict are used as they are, without a copy.
            vlm: "eva02-clip-l", "clip-l" or "siglip-l"; None recognises it.
            token_ids: (K, 5) int64 of the class names, for SigLIP when its vocabulary is not at hand.
            preset: one of the same layout and other sizes.

        Raises:
            WeightsError: names every key that is missing, extra or of another shape.
        """
        state = official.read(source) if isinstance(source, (str, Path)) else unwrap(source)
        if preset is None:
            preset = presets.get(f"dinov2-l+{official.recognise(state, vlm)}")
        with torch.device("meta"):
            model = cls(preset, token_ids)
        model.vlm.text.shorten(preset.decoder.prompts + preset.decoder.class_tokens)
        model.load_state_dict(official.convert(state, model), assign=True)
        return model.eval()

    @property
    def class_ids(self) -> Tensor | None:
        """Token ids of the class names, (K, T) int64; None while they are unknown."""
        return self.class_texts.ids

    def set_class_ids(self, ids: Tensor) -> None:
        """Use these token ids for the class names.

        Args:
            ids: (K, T) int64, T = `DecoderConfig.class_tokens`.

        Raises:
            ValueError: another shape or dtype.
        """
        self.class_texts.set_ids(ids)

    def tokenize_classes(self) -> Tensor:
        """Token ids of the preset's class names, (K, T) int64.

        Raises:
            hub.MissingError: their vocabulary is not here and cannot be downloaded.
        """
        return self.class_texts.tokenize(self.vlm)

    def for_inference(self) -> MFuser:
        """Merge weights for speed, in place. The model can no longer be trained or saved. Safe to call again."""
        self._counted = self.count_parameters()
        for part in (self.vfm, self.vlm, *self.heads.values()):
            part.for_inference()
        return self

    @property
    def prepared(self) -> bool:
        """True once `for_inference` has merged weights."""
        return self._counted is not None

    def refuse_prepared(self) -> None:
        """Stop before training or saving a model that `for_inference` has changed.

        Raises:
            ValueError: the model was prepared for inference.
        """
        if self.prepared:
            raise ValueError(
                "This model was prepared for inference, which merges weights: to train or save one, make it by "
                "MFuser.from_preset or MFuser.from_official."
            )

    def count_parameters(self) -> dict[str, int]:
        """Number of parameters that each of the three streams needs, as trained and saved, its encoders included."""
        if self._counted is not None:
            return self._counted
        own = {s: sum(p.numel() for m in self.owners(s).values() for p in m.parameters()) for s in self.heads}
        vfm, vlm = (sum(p.numel() for p in m.parameters()) for m in (self.vfm, self.vlm))
        text = sum(p.numel() for p in self.vlm.text.parameters()) if "vfm" in own else 0  # a decoder's queries
        encoders = {"vfm": vfm + text, "vlm": vlm, "fused": vfm + vlm}
        return {stream: own.get(stream, 0) + count for stream, count in encoders.items()}

    # -- training -------------------------------------------------------------------------------------------------

    def owners(self, stream: str) -> dict[str, nn.Module]:
        """Modules that training a stream changes, by their prefix in the state dict."""
        owned: dict[str, nn.Module] = {f"heads.{stream}": self.heads[stream]}
        return {"fusion": self.fusion, **owned} if stream == "fused" else owned

    def trainable(self, stream: str) -> dict[str, nn.Parameter]:
        """Parameters that training a stream changes, by name."""
        return {f"{p}.{n}": w for p, m in self.owners(stream).items() for n, w in m.named_parameters()}

    def train_mode(self, stream: str) -> MFuser:
        """Set one stream's own modules to training mode, with gradients.

        Everything else stays frozen in evaluation mode.

        Args:
            stream: a stream with a decoder.

        Returns:
            The model itself.

        Raises:
            ValueError: the model was prepared for inference.
        """
        self.refuse_prepared()
        freeze(self)
        for module in self.owners(stream).values():
            module.train().requires_grad_(True)
        return self

    def state_for(self, stream: str) -> dict[str, Tensor]:
        """Trained parameters and buffers of a stream, by their names in the state dict."""
        return {f"{p}.{n}": t for p, m in self.owners(stream).items() for n, t in m.state_dict().items()}

    def load_state_for(self, stream: str, state: dict[str, Tensor]) -> None:
        """Load what `state_for` returned.

        Args:
            stream: a stream with a decoder.
            state: tensors by their names in the state dict.

        Raises:
            WeightsError: names every key that is missing, extra or of another shape.
        """
        fill(self.owners(stream), state, f"stream {stream!r}")
        self.class_texts.forget(stream)


def with_trained_streams(preset: Preset, folder: Path | None) -> Preset:
    """The same preset with further streams whose weights lie in a folder.

    Args:
        preset: to extend.
        folder: of weights, or None.
    """
    found = [] if folder is None else [s for s in STREAMS if (folder / f"stream-{s}.safetensors").is_file()]
    return presets.with_streams(preset, found)
