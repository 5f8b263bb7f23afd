"""Between a request and the page's functions: every value is checked first, and every fault leaves as one sentence."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import anyio.to_thread
import gradio as gr
from gradio import utils
from gradio.block_function import BlockFunction
from gradio.exceptions import ComponentProcessingError

from mfuser.demo import compute, wording
from mfuser.demo.refusals import Refusal
from mfuser.demo.uploads import Uploads, refuse_files

_FILE = {"_type": "gradio.FileData"}
_SHOWN = 60  # characters of a wrong value that its refusal repeats
_LONGEST = 600  # characters of a sentence: Gradio's own ones repeat a wrong value to its end


class Page(gr.Blocks):
    """`gr.Blocks` whose functions see checked values only.

    Every way to a function (the queue, its direct call, both REST calls, with a name or an index, public or private)
    goes through `process_api`. Gradio's own checks come after it and let a file object without "meta" pass.

    Args:
        uploads: which files a request may name; None for the upload folder alone.
        **options: of `gr.Blocks`.
    """

    def __init__(self, uploads: Uploads | None = None, **options: Any):
        super().__init__(**options)
        self.uploads = uploads or Uploads(utils.get_upload_folder())

    def queue(self, *args: Any, **options: Any) -> gr.Blocks:
        """As `gr.Blocks.queue`; a function that waits in the queue can be called in no other way."""
        return super().queue(*args, **{**options, "api_open": False})

    async def process_api(self, block_fn: BlockFunction | int, inputs: list[Any], *args: Any, **options: Any) -> dict:
        """As `gr.Blocks.process_api`. Raises gr.Error, and nothing else, with a sentence for the visitor."""
        event = options.get("event_id")
        compute.WATCH.set(compute.Watch(gone=lambda: self.left(event)))
        try:
            function = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
            _seal(options.get("event_data"))
            checked = await anyio.to_thread.run_sync(self.checked, function, inputs)
            return await super().process_api(block_fn, checked, *args, **options)
        except gr.Error as error:
            error.print_exception = False
            if isinstance(error.message, str) and len(error.message) > _LONGEST:
                error.message = error.message[:_LONGEST] + "…"
            raise
        except ComponentProcessingError as error:  # its text shows values and Python's own words
            raise gr.Error(wording.sentence(_component_fault(error)), print_exception=False) from error
        except Exception as error:
            raise gr.Error(wording.sentence(error), print_exception=False) from error

    def left(self, event_id: str | None) -> bool:
        """Did the client of an event in the queue leave, so that nobody waits for its answer?"""
        event = self._queue.event_ids_to_events.get(event_id)
        return event is not None and not event.alive

    def checked(self, function: BlockFunction, values: list[Any]) -> list[Any]:
        """The values of a request as the function may have them.

        Args:
            function: whose inputs they are for.
            values: as they came, in the order of its inputs. For a documented function the last ones may be missing,
                and any but the picture may be None: defaults stand for them.

        Returns:
            One value an input. Pictures are file objects inside the upload folder or None; State values are None, as
            the server has its own.

        Raises:
            Refusal: a picture that may not be read, a file where none belongs, or another number of values.
        """
        documented = function.api_visibility == "public"
        needed, values = len(function.inputs), list(values)
        if len(values) > needed or (len(values) < needed and not documented):
            raise Refusal(f"The function takes {needed} values, {len(values)} came: see its description.")
        values += [None] * (needed - len(values))
        return [self._checked(block, value, documented) for block, value in zip(function.inputs, values, strict=True)]

    def _checked(self, block: Any, value: Any, documented: bool) -> Any:
        if block.stateful:
            return None
        if isinstance(block, gr.Image):
            path = self.uploads.accept(value)
            return None if path is None else {"path": path, "meta": _FILE}
        if value is None and documented:
            return block.value
        refuse_files(value)
        if isinstance(block, (gr.Number, gr.Slider)) and not isinstance(value, (int, float, type(None))):
            raise Refusal(f"The value of {block.label!r} must be a number: see the description of this function.")
        return value


def _seal(event: gr.EventData | None) -> None:
    """Make what came with an event a mapping, and keep Gradio's check of its files away from it.

    That check asks the disk about any path first and repeats the path in its error. Whoever takes a path from an event
    asks `Uploads.accept`, as `StageView.path_of` does.
    """
    if event is not None:
        event._data = MappingProxyType(event._data if isinstance(event._data, dict) else {})


def _component_fault(error: ComponentProcessingError) -> Exception:
    """What to say for a value that a component cannot take; a result that it cannot take is a fault of ours."""
    cause, text = error.__cause__, str(error)
    if isinstance(cause, OSError) or not text.startswith("Could not preprocess"):
        return cause or error
    value = text.partition("passed to the event handler was: ")[2].partition("\n\nOriginal error")[0]
    value = value.rpartition(" (of type")[0] or value
    return Refusal(f"A value cannot be used: {value[:_SHOWN]}. See the description of this function.")


def photo_input(value: str | None = None, **options: Any) -> gr.Image:
    """An image input that hands over the path of the uploaded file, unread. It belongs on a `Page`, which checks it.

    Gradio's own preprocessing opens the file first, where a damaged one ends in an error of its own before any handler
    runs; `images.load` is the one decoder here.
    """
    return _Upload(value, type="filepath", image_mode=None, **options)


# Not a class statement: gradio's metaclass would write a stub file beside this one whenever it is imported.
_Upload = type.__new__(
    type(gr.Image),
    "_Upload",
    (gr.Image,),
    {
        "__module__": __name__,
        "preprocess": lambda self, payload: None if payload is None else payload.path,
        "get_block_name": lambda self: "image",
    },
)
