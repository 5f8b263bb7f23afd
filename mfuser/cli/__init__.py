"""The command line, one file a command. A command module has `add_parser(commands)` and `run(args) -> exit code`.

Nothing heavy is imported before a command runs, so that `--help` and mistakes answer at once. Exit codes: 0 all done,
2 bad input (one sentence on stderr), 130 interrupted.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from mfuser.cli import bench, features, gallery, info, official, segment, weather

COMMANDS = (segment, features, weather, gallery, official, bench, info)
BAD_INPUT, INTERRUPTED = 2, 130

EXAMPLES = """examples:
  python -m mfuser segment street.jpg --out results
  python -m mfuser segment photos/ "night/*.png" --query "car, bus" --windows sliding --out results
  python -m mfuser features street.jpg --layers 0,5 --out features
  python -m mfuser weather street.jpg --condition fog+night --severity 4 --out foggy.png
  python -m mfuser import-official iter_20000.pth --vlm eva02-clip-l --out weights
  python -m mfuser bench --preset nano
  python -m mfuser info

`python -m mfuser COMMAND --help` explains a command.
"""


class Parser(argparse.ArgumentParser):
    """One sentence per mistake instead of the whole usage; no abbreviated options, which break when options come."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and one sentence on stderr."""
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def build_parser() -> Parser:
    """The parser of all commands with their options."""
    parser = Parser(
        prog="python -m mfuser",
        description="MFuser: features, text similarity and masks of street scenes from two fused encoders.",
        epilog=EXAMPLES,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: of the command line; None for the process's own.

    Returns:
        The exit code: 0 all done, 2 bad input, 130 interrupted. Mistakes in options exit with 2.
    """
    args = build_parser().parse_args(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be text
    log_to_stderr(getattr(args, "verbose", False))
    try:
        return args.run(args)
    except BrokenPipeError:  # the reader of a pipe, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor may the flush at exit complain
        return 0
    except (ValueError, OSError) as error:
        print(f"mfuser {args.command}: {one_line(error)}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print(f"mfuser {args.command}: interrupted; what is written so far is complete.", file=sys.stderr)
        return INTERRUPTED


def log_to_stderr(verbose: bool) -> None:
    """Send the library's log lines to stderr.

    Args:
        verbose: also the choice of kernel and the like; else warnings only.
    """
    logger = logging.getLogger("mfuser")
    for handler in [h for h in logger.handlers if h.get_name() == "cli"]:  # of a call before, in the same process
        logger.removeHandler(handler)
    handler = logging.StreamHandler()
    handler.set_name("cli")
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if verbose else logging.WARNING)


def one_line(error: BaseException) -> str:
    """The message of an exception without line breaks."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}."
    return " ".join(str(error).split()) or type(error).__name__
