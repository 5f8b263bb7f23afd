"""The plan of `reproduce-nano`: the recipe as options of each command, what teaches what, what follows what."""

from __future__ import annotations

import json
from typing import get_args, get_type_hints

import pytest
import tyro

from train.adapt.blend import BlendConfig
from train.adapt.pseudo_labels import PseudoConfig
from train.adapt.settle import SettleConfig
from train.fit.command import parse_arguments
from train.pretrain.command import PretrainConfig
from train.reproduce.command import STAGES, ReproduceConfig
from train.reproduce.plan import plan
from train.reproduce.recipe import PROTOCOLS, PSEUDO, RECIPE
from train.score.calibration import CalibrateConfig
from train.words.teach import TeachConfig


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_recipe_is_understood_by_every_command(protocol, data_root, tmp_path):
    config = ReproduceConfig(data_root, tmp_path / "out", protocol, device="cpu")
    commands = {"pretrain": PretrainConfig, "settle": SettleConfig, "calibrate": CalibrateConfig, "teach": TeachConfig}
    commands |= {"pseudo": PseudoConfig, "blend": BlendConfig}
    stages = plan(config)
    for name, stage in stages.items():
        if name.startswith("further-"):
            run = parse_arguments(stage.arguments()[1:])
            assert run.stream_names == (name.removeprefix("further-"),) and run.resume and run.half
            assert all(getattr(run, key) == value for key, value in RECIPE[name].items()) and run.crop == 384
            assert run.start == run.encoders == tmp_path / "out/calibrated" and run.out == tmp_path / "out/further"
        elif stage.command == "fit":
            run = parse_arguments(stage.arguments()[1:])
            assert (
                run.stream_names == (name.removeprefix("fit-"),) and run.resume and run.out == tmp_path / "out/trained"
            )
            assert run.iterations == PROTOCOLS[protocol].settings["iterations"] and run.lr == RECIPE[name]["lr"]
            assert run.half
        elif stage.command:
            parsed = tyro.cli(commands[stage.command], args=stage.arguments()[1:])
            assert all(getattr(parsed, key) == value for key, value in RECIPE[name].items())
    more = [s for s in STAGES if s.startswith(("pseudo-", "further-", "blend", "calibrate-blend", "teach-every"))]
    assert list(stages) == [s for s in STAGES if protocol == "shipped" or s not in more] and len(more) == 15


def test_every_stage_can_be_asked_for_in_its_order():
    (allowed, _) = get_args(get_type_hints(ReproduceConfig)["stages"])
    assert get_args(allowed) == ("all", *STAGES)


def test_protocols_teach_what_they_say(data_root, rendered, tmp_path):
    def sets(protocol: str, name: str, **more) -> list[str]:
        stage = plan(ReproduceConfig(data_root, tmp_path, protocol, **more))[name]
        return [
            spec.removeprefix(f"camvid:{data_root}/").removeprefix(f"idd_lite:{data_root}/")
            for spec in stage.places["data"]
        ]

    assert sets("dgss", "fit-fused") == ["camvid/train"] and sets("dgss", "pretrain-vlm")[0] == "camvid/train"
    labelled = ["camvid/train", "camvid/val", "idd_lite/train", "idd_lite/val"]
    assert sets("shipped", "fit-vfm") == labelled
    assert sets("shipped", "fit-vfm", rendered=rendered) == [*labelled, f"folder:{rendered}"]
    mix = plan(ReproduceConfig(data_root, tmp_path, rendered=rendered))["fit-vlm"].settings["mix"]
    assert len(mix) == 5 and plan(ReproduceConfig(data_root, tmp_path))["fit-vlm"].settings["mix"] == mix[:4]
    photographs = ["camvid/train", "idd_lite/train", f"dawn:{data_root}/dawn_fog"]
    assert sets("shipped", "pretrain-vlm") == sets("dgss", "pretrain-vfm") == photographs
    with pytest.raises(ValueError, match="--rendered teaches nothing in the protocol 'dgss'"):
        plan(ReproduceConfig(data_root, tmp_path, "dgss", rendered))


@pytest.mark.parametrize("kind", ["fit-", "further-"])
def test_streams_are_trained_alike(data_root, tmp_path, kind):
    fits = [s for s in plan(ReproduceConfig(data_root, tmp_path)).values() if s.name.startswith(kind)]
    by_stream = {s.settings["streams"][0]: json.dumps(dict(s.settings), sort_keys=True) for s in fits}
    assert len(by_stream) == 3 and len({said.replace(s, "STREAM") for s, said in by_stream.items()}) == 1


def test_shipped_weights_are_trained_on_with_labels_of_each_streams_own(data_root, tmp_path):
    stages = plan(ReproduceConfig(data_root, tmp_path))
    assert list(stages)[6:] == list(STAGES)[6:] and list(stages)[6:8] == ["settle", "calibrate"]
    idd = [f"idd_lite:{data_root}/idd_lite/{split}" for split in ("train", "val")]
    assert stages["pseudo-idd-vfm"].places["data"] == idd
    own = {name: stage.settings["stream"] for name, stage in stages.items() if name.startswith("pseudo-")}
    assert len(own) == 9 and all(name.endswith(f"-{stream}") for name, stream in own.items())
    assert all(set(protocol.pseudo) <= set(PSEUDO) for protocol in PROTOCOLS.values())
    dawn = stages["pseudo-dawn-vlm"]
    assert dawn.settings["stream"] == "vlm" and dawn.settings["resolutions"] == (0, 512)
    assert dawn.places["photographs"] == [f"dawn:{data_root}/dawn_fog"] and "data" not in dawn.places
    assert dawn.places["weights"] == tmp_path / "calibrated" and dawn.follows == ("calibrate",)
    labels = ["pseudo-camvid-vlm", "pseudo-idd-vlm", "pseudo-dawn-vlm"]
    assert [stages[name].makes for name in labels] == [(f"{name}/pseudo.json",) for name in labels]
    further = stages["further-vlm"]
    assert further.places["data"] == [f"folder:{tmp_path / name}" for name in labels]
    assert further.follows == (*labels, "calibrate") and "further/encoder-vlm.safetensors" in further.leaves
    blend = stages["blend"]
    assert (blend.places["before"], blend.places["after"]) == (tmp_path / "calibrated", tmp_path / "further")
    assert blend.follows == ("calibrate", "further-fused", "further-vfm", "further-vlm")
    assert stages["calibrate-blend"].copies == ("blended", "recalibrated"), "its confidence is another one"
    assert stages["teach"].places["weights"] == tmp_path / "recalibrated"
    assert stages["teach-every-word"].places["weights"] == tmp_path / "taught"
    assert stages["teach-every-word"].follows == ("teach",) and stages["collect"].copies == ("every-word", "nano")


def test_fits_beside_each_other_share_the_cores(data_root, tmp_path, monkeypatch):
    for cores, parallel, workers in ((64, 1, None), (64, 2, 16), (24, 2, 12), (24, 12, 8), (2, 12, 1)):
        monkeypatch.setattr("train.reproduce.plan.usable_cores", lambda cores=cores: cores)
        stages = plan(ReproduceConfig(data_root, tmp_path, parallel=parallel))
        assert {stages[name].places.get("workers") for name in ("fit-vlm", "further-fused")} == {workers}
        assert "workers" not in stages["fit-vlm"].settings


def test_scale_and_precision(data_root, tmp_path):
    stages = plan(ReproduceConfig(data_root, tmp_path, scale=0.001, precision="float32"))
    assert stages["pretrain-text"].settings["iterations"] == 4 and stages["fit-vlm"].settings["warmup"] == 1
    assert {s.settings.get("precision", "float32") for s in stages.values()} == {"float32"}
    assert (
        plan(ReproduceConfig(data_root, tmp_path, precision="bf16"))["pretrain-text"].settings["precision"] == "float32"
    )
