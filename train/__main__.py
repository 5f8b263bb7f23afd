"""Command line: `python -m train COMMAND`; without one it lists them, and each shows its options with --help."""

from __future__ import annotations

import importlib
import re
import sys

COMMANDS = {
    "fit": ("train.fit.command", "train the adapters and decoders of a preset's streams"),
    "evaluate": ("train.score.command", "mean IoU of trained streams on labelled sets"),
    "ablate": ("train.ablate.command", "train the fusion choices of the paper's Table 4 alike"),
    "words": ("train.words.command", "how well free texts find things in labelled pictures"),
    "teach": ("train.words.teach", "teach a trained model's text tower more words"),
    "pseudo": ("train.adapt.pseudo_labels", "label photographs with a trained model, to train on"),
    "spots": ("train.score.point_labels", "accuracy at hand-labelled points of photographs in bad weather"),
    "blend": ("train.adapt.blend", "weights between those before and after further training"),
    "settle": ("train.adapt.settle", "name the members of label groups that labels cannot tell apart"),
    "calibrate": ("train.score.calibration", "fit the temperature of each stream's confidence"),
    "similarity-scale": ("train.score.similarity_scale", "from which similarity on the page paints anything"),
    "efficiency": ("train.measure.efficiency", "parameters, arithmetic, time and memory of every adapter"),
    "pretrain": ("train.pretrain", "train the built-in encoders"),
    "probe": ("train.measure.probe.command", "what frozen encoders know: linear probes, contours, texts, likeness"),
    "gpu": ("train.measure.gpu.command", "check, time and profile the paper's models on a GPU"),
    "reproduce-nano": (
        "train.reproduce.command",
        "go from packages and photographs to the built-in weights, stage by stage",
    ),
    "card": ("train.score.card", "what the model card says: scores in weather, retention, calibration, worst frames"),
    "render": ("train.scenes.command", "render street scenes with exact labels and weather"),
}


def main(argv: list[str] | None = None) -> int:
    """Run a command. Bad input ends with one sentence and exit code 2, Ctrl-C with 130."""
    arguments = sys.argv[1:] if argv is None else argv
    usage = "usage: python -m train {" + ",".join(COMMANDS) + "} ...\n"
    if arguments and arguments[0] in ("-h", "--help"):
        print(usage + "".join(f"\n  {name:16} {text}" for name, (_, text) in COMMANDS.items()))
        return 0
    if not arguments or arguments[0] not in COMMANDS:
        wrong = f"unknown command {arguments[0]!r}" if arguments else "no command"
        print(f"{usage}train: {wrong}; choose one of {', '.join(COMMANDS)}.", file=sys.stderr)
        return 2
    name, rest = arguments[0], arguments[1:]
    try:
        importlib.import_module(COMMANDS[name][0]).main(rest)
    except (ValueError, OSError) as error:
        print(f"{name}: {own_words(error)}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        # Asked of the module that is loaded already: where `render` runs, torch need not be installed.
        if not isinstance(error, getattr(sys.modules.get("torch"), "OutOfMemoryError", ())):
            raise
        print(f"{name}: The device has too little memory for this: lower --batch or --crop.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # what a command does not handle itself, or a second one
        print(f"{name}: stopped.", file=sys.stderr)
        return 130
    return 0


def own_words(error: Exception) -> str:
    """What an error says, without the traceback that a loader's process sends along with it."""
    told = str(error)
    if told.startswith("Caught ") and " in DataLoader worker " in told:
        return re.sub(r"^[\w.]+: ", "", told.rstrip().splitlines()[-1])
    return told


if __name__ == "__main__":
    sys.exit(main())
