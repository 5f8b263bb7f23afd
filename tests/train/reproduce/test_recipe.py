"""The table of `reproduce-nano`: every row parses with its own command, and nothing held back enters one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import tyro

from train.adapt.blend import BlendConfig
from train.adapt.pseudo_labels import PseudoConfig
from train.adapt.settle import SettleConfig
from train.data.held_back import held_back
from train.data.registry import parse
from train.fit.command import parse_arguments
from train.pretrain.command import PretrainConfig
from train.reproduce.command import ReproduceConfig
from train.reproduce.plan import arguments, plan
from train.reproduce.recipe import PROTOCOLS, table
from train.score.calibration import CalibrateConfig
from train.words.teach import TeachConfig

CONFIGS = {"pretrain": PretrainConfig, "settle": SettleConfig, "calibrate": CalibrateConfig, "teach": TeachConfig}
CONFIGS |= {"pseudo": PseudoConfig, "blend": BlendConfig}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_stage_parses_with_its_own_command(protocol, data_root, tmp_path):
    config = ReproduceConfig(data_root, tmp_path / "out", protocol, device="cpu", parallel=2)
    for row in plan(config).rows.values():
        if row.command == "collect":
            continue
        _, *given = arguments(config, row)
        parsed = parse_arguments(given) if row.command == "fit" else tyro.cli(CONFIGS[row.command], args=given)
        same = row.options.keys() - {"data", "photographs", "val", "out", "weights", "encoders", "start", "before"}
        assert all(getattr(parsed, key) == row.options[key] for key in same - {"after"}), row.name
        folder = config.out / row.writes[0].partition("/")[0]
        assert folder == (parsed.weights if row.copies else parsed.out)


def test_stages_can_be_asked_for_by_name():
    (allowed, _) = get_args(get_type_hints(ReproduceConfig)["stages"])
    shipped, dgss = ([row.name for row in table(PROTOCOLS[name])] for name in ("shipped", "dgss"))
    assert get_args(allowed) == ("all", *shipped)
    assert dgss == [name for name in shipped if name in dgss] and len(shipped) - len(dgss) == 15


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_stage_reads_what_earlier_ones_write(protocol):
    written: set[str] = set()
    for row in table(PROTOCOLS[protocol]):
        assert set(row.reads) <= written and not written & set(row.writes), row.name
        assert all(any(Path(path).match(pattern) for pattern in row.owns) for path in row.writes), row.name
        written |= set(row.writes)


def test_what_is_held_back_enters_no_stage(data_root, tmp_path):
    folder = data_root / "dawn_fog/images"
    for name in sorted(held_back())[:3]:
        (folder / f"{Path(name).stem}.png").write_bytes((folder / "0.png").read_bytes())
    for protocol in PROTOCOLS:
        config = ReproduceConfig(data_root, tmp_path, protocol)
        stages = plan(config)
        words = [word for row in list(stages.rows.values())[:-1] for word in arguments(config, row)]
        taught = {word for before, word in zip(words, words[1:], strict=False) if before in ("--data", "--photographs")}
        seen = set()
        for kind, root in (parse(spec) for spec in taught if not spec.startswith(f"folder:{tmp_path}/pseudo")):
            seen |= {pair.image.relative_to(data_root) for pair in kind.pairs(root, "train", False)}
        assert not {path.stem for path in seen} & {Path(name).stem for name in held_back()}
        assert "dawn_fog" in {path.parts[0] for path in seen}
        assert protocol == "shipped" or not any(path.match("*/val/*/*") for path in seen), "val scores dgss"
        assert "dawn:dawn_fog (3 images)" in stages.settings["pretrain-vlm"]["data"]


def test_rendered_scenes_teach_the_shipped_weights_alone(data_root, rendered, tmp_path):
    mix = [plan(ReproduceConfig(data_root, tmp_path, rendered=r)).settings["fit-vlm"]["mix"] for r in (rendered, None)]
    assert len(mix[0]) == 5 and mix[1] == mix[0][:4]
    with pytest.raises(ValueError, match="--rendered teaches nothing in the protocol 'dgss'"):
        plan(ReproduceConfig(data_root, tmp_path, "dgss", rendered))


@pytest.mark.parametrize("kind", ["fit-", "further-"])
def test_streams_are_trained_alike(data_root, tmp_path, kind):
    own = {name: given for name, given in plan(ReproduceConfig(data_root, tmp_path)).settings.items() if kind in name}
    said = {json.dumps(given).replace(name.removeprefix(kind), "STREAM") for name, given in own.items()}
    assert len(own) == 3 and len(said) == 1


def test_every_stream_learns_from_labels_of_its_own():
    rows = {row.name: row for row in table(PROTOCOLS["shipped"])}
    for stream in ("fused", "vfm", "vlm"):
        labels = rows[f"further-{stream}"].options["data"]
        assert [rows[name].options["stream"] for name in labels] == [stream] * 3


def test_fits_beside_each_other_share_the_cores(data_root, tmp_path, monkeypatch):
    for cores, parallel, workers in ((64, 1, None), (64, 2, 16), (24, 2, 12), (24, 12, 8), (2, 12, 1)):
        monkeypatch.setattr("train.reproduce.plan.usable_cores", lambda cores=cores: cores)
        config = ReproduceConfig(data_root, tmp_path, parallel=parallel)
        given = arguments(config, plan(config).rows["fit-vlm"])
        assert (int(given[given.index("--workers") + 1]) if "--workers" in given else None) == workers


def test_scale_and_precision(data_root, tmp_path):
    own = plan(ReproduceConfig(data_root, tmp_path, scale=0.001, precision="float32")).settings
    assert own["pretrain-text"]["iterations"] == 4 and own["fit-vlm"]["warmup"] == 1
    assert {given.get("precision", "float32") for given in own.values()} == {"float32"}
    assert (
        plan(ReproduceConfig(data_root, tmp_path, precision="bf16")).settings["pretrain-text"]["precision"] == "float32"
    )
