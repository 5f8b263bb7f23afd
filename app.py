"""MFuser in the browser: `python app.py`, then open the address that it prints."""

from __future__ import annotations

import argparse
import os
import threading

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

# Not yet gradio, which makes folders when it is imported. A lent GPU wants its package before torch uses CUDA.
from mfuser.demo import compute, stopping, storage  # noqa: E402


class Parser(argparse.ArgumentParser):
    """One sentence for a wrong flag, exit status 2."""

    def error(self, message: str) -> None:
        self.exit(2, f"app.py: {message}\n")


def arguments() -> Parser:
    parser = Parser(description=__doc__)
    parser.add_argument("--preset", default="nano", help="model that the page opens with (default: nano, built in)")
    parser.add_argument("--weights", help="folder of weights for that model (default: its own)")
    parser.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"), help="address to serve on")
    parser.add_argument("--port", type=int, default=os.environ.get("GRADIO_SERVER_PORT", "7860"), help="port")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    parser.add_argument("--precision", choices=["float32", "bf16"], help="default: bf16 where the device has it")
    parser.add_argument("--random-weights", action="store_true", help="untrained model, for development of the page")
    return parser


def main() -> None:
    parser = arguments()
    options = parser.parse_args()
    if not 0 < options.port < 65536:
        parser.error(f"port {options.port} is out of range: choose 1 to 65535")
    os.environ.pop("GRADIO_SERVER_NAME", None)  # with an IPv6 address there, Gradio finds no free port
    try:
        with stopping.Stop() as stop:
            stop.folder = storage.Folder.create()  # before gradio is imported, which makes folders of its own
            run(options, stop)
            stop.leave(0)
    except ValueError as error:
        parser.error(str(error))


def run(options: argparse.Namespace, stop: stopping.Stop) -> None:
    """Load the model, build the page and serve it until a signal comes. Raises ValueError, with the way out."""
    from mfuser.demo import examples, models, session

    load = models.loader(options.preset, options.device, options.precision, options.weights, options.random_weights)
    running = session.Session(load, options.preset, examples.find())
    running.segmenter(options.preset)
    if running.examples and not compute.LENT:  # the opening example, while gradio is imported
        opening = (running.examples[0].path, session.Settings(options.preset))
        threading.Thread(target=running.result, args=opening, daemon=True).start()
    from mfuser.demo import layout, serve

    serve.serve(layout.build(running, opened=not compute.LENT), running, options.host, options.port, stop)


if __name__ == "__main__":
    main()
