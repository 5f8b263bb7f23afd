"""The page as a running server: started, kept tidy, stopped."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from gradio.server_messages import ProcessCompletedMessage
from starlette.middleware import Middleware

from mfuser.demo import address, compute, tools, wording
from mfuser.demo.doors import STOPPING, Doors
from mfuser.demo.guard import Page
from mfuser.demo.preview import Preview
from mfuser.demo.session import Session
from mfuser.demo.stopping import Stop
from mfuser.demo.storage import Folder
from mfuser.demo.theme import CSS, DESCRIPTION, HEAD, TITLE, theme
from mfuser.demo.uploads import MAX_BYTES

LAST_WORD = 1.5  # seconds: the most that clients have to take the last word
# Options of `launch` that the page relies on: nothing leaves the machine, nothing is stored in the browser.
LAUNCH: dict[str, Any] = {
    "share": False,
    "ssr_mode": False,
    "prevent_thread_lock": True,
    "run_history": False,
    "max_file_size": MAX_BYTES,
    "footer_links": ["api", "settings"],
    "enable_monitoring": False,
    "mcp_server": tools.AVAILABLE,
    "num_workers": 0,  # other processes would not have our doors
    "quiet": True,
    "_frontend": False,  # no request for the page by itself: a busy machine answers too late, and would not start
}


def start(page: Page, session: Session, host: str, port: int, stop: Stop | None = None) -> str:
    """Serve in threads of this process.

    Args:
        page: checked values for its functions.
        session: its examples are the only files outside the upload folder that the server hands out.
        host, port: where to serve; an IPv6 address with or without brackets.
        stop: once it was asked to stop, no request is taken any more; its folder, where uploads go, is kept tidy.

    Returns:
        The address that opens the page.

    Raises:
        ValueError: the address cannot be used.
    """
    stop = stop or Stop()
    files = [path for example in session.examples for path in example.files]
    doors = Middleware(Doors, uploads=page.uploads, folder=stop.folder, stopping=lambda: stop.asked)
    picture = "/stage/example/0/picture" if session.examples else ""
    preview = Middleware(Preview, title=TITLE, description=DESCRIPTION, head=HEAD, picture=picture)
    address.without_proxy(host)
    try:
        page.launch(
            server_name=address.bracketed(host),
            server_port=port,
            theme=theme(),
            css=CSS,
            allowed_paths=[str(path.resolve()) for path in files],
            app_kwargs={"middleware": [doors, preview], "routes": [page.stage_routes]},
            **LAUNCH,
        )
    except OSError as error:
        raise ValueError(f"cannot serve on {host}:{port}: choose another --port, or another --host") from error
    if stop.folder is not None:
        threading.Thread(target=_tidy, args=(page, stop.folder), daemon=True).start()
    if not compute.LENT:
        threading.Thread(target=session.warm, daemon=True).start()
    return address.to_open(host, port)


def serve(page: Page, session: Session, host: str, port: int, stop: Stop) -> None:
    """`start`, say where, and serve until a signal comes; visitors who wait then get a last word.

    Raises ValueError when the address cannot be used.
    """
    url = start(page, session, host, port, stop)
    print(f"* Running on local URL:  {url}", flush=True)
    stop.serving = True
    stop.wait()
    print("Stopping: uploads are deleted.", file=sys.stderr)
    farewell(page)


def kept(page: Page) -> Sequence[str]:
    """Files of the page itself in Gradio's cache, which are not a visitor's."""
    return [str(path) for block in page.blocks.values() for path in getattr(block, "keep_in_cache", ())]


def _tidy(page: Page, folder: Folder) -> None:
    while True:
        time.sleep(wording.FILE_CHECK_SECONDS)
        folder.delete_old(wording.FILE_SECONDS, kept(page))


def farewell(page: Page, seconds: float = LAST_WORD) -> None:
    """Tell everyone who waits for an answer that none will come.

    Args:
        page: launched.
        seconds: how long to wait until they have read it, at most.
    """
    queue, servers = page._queue, getattr(page.server, "servers", [])
    if not servers:
        return

    async def tell() -> None:
        for waiting in queue.event_queue_per_concurrency_id.values():
            waiting.queue.clear()  # or the next one would begin now
        output = {"error": STOPPING, "visible": True, "duration": 10, "title": "Error"}
        for session, events in list(queue.pending_event_ids_session.items()):
            for event in list(events):
                message = ProcessCompletedMessage(output=output, success=False, title="Error", event_id=event)
                queue.pending_messages_per_session[session].put_nowait(message)

    deadline = time.monotonic() + seconds
    try:
        asyncio.run_coroutine_threadsafe(tell(), servers[0].get_loop()).result(seconds)
    except Exception:  # the loop is busy or gone: leaving in time matters more
        return
    while any(queue.pending_event_ids_session.values()) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.1)  # from the server's buffer into the network
