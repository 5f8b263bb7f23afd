"""The page's own title, description, picture and style sheet in its HTML, where link previews look for them.

Gradio adds what `launch(head=...)` gives in the browser only, and its template calls every page "Gradio".
"""

from __future__ import annotations

import re
from html import escape

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_GRADIOS = re.compile(rb'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>\s*')


class Preview:
    """ASGI middleware that rewrites the head of the page at "/".

    Args:
        app: what answers.
        title, description: plain text.
        head: HTML that goes into the head as it is.
        picture: path of a picture on this server, such as "/stage/example/0/picture"; empty for none.
    """

    def __init__(self, app: ASGIApp, title: str, description: str, head: str, picture: str = ""):
        self.app, self.head, self.picture = app, head, picture
        self.names = {"og:title": title, "og:description": description, "og:type": "website"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        if scope["type"] != "http" or scope["method"] != "GET" or path not in ("", "/"):
            return await self.app(scope, receive, send)
        first: Message = {}
        body = bytearray()

        async def whole(message: Message) -> None:
            nonlocal first
            if message["type"] == "http.response.start":
                first = message
                return
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            headers = dict(first["headers"])
            plain = b"content-encoding" not in headers and headers.get(b"content-type", b"").startswith(b"text/html")
            data = self._rewritten(bytes(body), scope) if plain else bytes(body)
            kept = [(name, value) for name, value in first["headers"] if name != b"content-length"]
            await send({**first, "headers": [*kept, (b"content-length", str(len(data)).encode())]})
            await send({"type": "http.response.body", "body": data})

        await self.app(scope, receive, whole)

    def _rewritten(self, html: bytes, scope: Scope) -> bytes:
        names = dict(self.names)
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        if self.picture and host:
            names["og:image"] = f"{scope['scheme']}://{host}{scope.get('root_path', '')}{self.picture}"
        tags = "".join(f'<meta property="{name}" content="{escape(text)}">' for name, text in names.items())
        return _GRADIOS.sub(b"", html).replace(b"</head>", f"{tags}{self.head}</head>".encode(), 1)
