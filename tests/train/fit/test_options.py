"""Empty and impossible options end with one sentence and exit code 2, before anything is trained or measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfuser.fusion.alternatives import ADAPTERS
from train.__main__ import COMMANDS, main

ROOT = Path(__file__).resolve().parents[3]

FIT = ["fit", "--preset", "tiny", "--data", "DATA", "--encoders", "RUN", "--out", "OUT", "--device", "cpu"]
EVALUATE = ["evaluate", "--preset", "tiny", "--data", "DATA", "--weights", "RUN", "--device", "cpu"]
CARD = ["card", "--preset", "tiny", "--data", "DATA", "--weights", "RUN", "--out", "OUT"]
CALIBRATE = ["calibrate", "--preset", "tiny", "--data", "DATA", "--weights", "RUN"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ablate", "--data", "DATA", "--rows"], ("--rows", "table4")),
        (["ablate", "--data", "DATA", "--lrs", "nan"], ("--lrs", "nan")),
        ([*FIT, "--streams"], ("--streams", "fused", "vfm", "vlm")),
        ([*FIT, "--weather", ".5", "--conditions"], ("--conditions", "--weather 0.5")),
        ([*FIT[:-1], "mps"], ("'mps'", "--device cpu")),
        ([*FIT[:-1], "meta"], ("'meta'", "--device cpu")),
        ([*FIT, "--lr", "1e-4", "--min-lr", "1e-3"], ("--min-lr 0.001", "--lr 0.0001")),
        ([*FIT, "--iterations", "10", "--warmup", "10"], ("--warmup 10", "--iterations 10")),
        ([*FIT, "--lr", "nan"], ("--lr", "nan")),
        ([*FIT, "--mix", "nan"], ("--mix", "nan")),
        ([*CALIBRATE, "--seed", "-1"], ("--seed", "-1")),
        ([*EVALUATE, "--json", "OUT/nodir/x.json"], ("nodir/x.json",)),
        ([*EVALUATE, "--out", "FILE/x"], ("--out",)),
        (["words", "--preset", "tiny", "--data", "DATA", "--out", "FILE/x"], ("--out",)),
        (["reproduce-nano", "--data-root", "DATA", "--preset", "dinov2-l+clip-l", "--dry-run"], ("dinov2-l+clip-l",)),
        ([*CARD, "--parts"], ("--parts", "scores", "retention")),
        ([*CARD, "--conditions"], ("--conditions", "fog")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_impossible_options_are_named(arguments, said, streets, tiny_run, tmp_path, monkeypatch, capsys):
    """The message has the option, its value, and what may be chosen instead."""
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    (tmp_path / "file").write_text("")
    places = {"DATA": f"camvid:{streets}", "RUN": tiny_run, "OUT": tmp_path / "out", "FILE": tmp_path / "file"}
    for name, place in places.items():
        arguments = [word.replace(name, str(place)) for word in arguments]
    try:
        code = main(arguments)
    except SystemExit as error:  # an option by itself is refused with a pointer to --help, in a frame
        code = error.code
    err = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert code == 2 and all(word in err for word in said) and "Traceback" not in err
    assert not list(tmp_path.glob("out/stream-*"))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_no_place_of_this_machine(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert not [word for word in capsys.readouterr().out.split() if str(ROOT) in word]


@pytest.mark.parametrize("command", ["fit", "evaluate"])
def test_help_names_every_fusion(command, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    assert all(f'"{name}"' in text for name in ADAPTERS)
