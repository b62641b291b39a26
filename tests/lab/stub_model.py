"""Serve a stub model that agents can talk to, and remember what they asked.

In a test: `with StubModel.start() as stub:` or `async with StubModel() as stub:`; the server has a thread and
an event loop of its own, so synchronous and asynchronous tests use it alike.
By hand: `python -m tests.lab.stub_model --port 18080 --log requests.jsonl`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, Self, cast

from aiohttp import web

from tests.lab import api_chat, api_gemini, api_responses, conversation
from tests.lab.conversation import Request
from tests.lab.sse import PING, TOOL_COMMAND, Answer

Mode = Literal["text", "tool"]
HOST = "127.0.0.1"
START_LIMIT_S = 10.0
CHECK_EVERY_S = 0.02
PING_EVERY_S = 1.0
BODY_LIMIT_BYTES = 1 << 28


class Spoken(Protocol):
    """An answer of one of the APIs, whole and as server-sent events."""

    def message(self) -> dict[str, Any]:
        """The whole answer as one JSON object."""

    def opening(self) -> bytes:
        """The first event; a client that has it waits patiently for the rest."""

    def rest(self) -> Iterator[bytes]:
        """Every event after the opening."""


class StubModel:
    """The Messages, the Responses, the chat-completions and the generateContent API on a loopback port.

    `delay_s` is how long an answer of the main conversation takes; lowering it also ends the waits under way.
    `mode` "tool" makes a prompt that holds USETOOL end in a Bash call, and one with `RUN<<command>>` in that
    command (Messages API only). `limit` are the headers of a 429 that every request of the main conversation gets
    instead of an answer. All may be set at any time.
    """

    def __init__(
        self, *, port: int = 0, delay_s: float = 0.0, mode: Mode = "text", log: Path | None = None
    ) -> None:
        self.port = port
        self.delay_s = delay_s
        self.mode: Mode = mode
        self.limit: Mapping[str, str] | None = None
        self._log = log
        self._requests: list[Request] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Event | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return (
            f"<StubModel {self.url} mode={self.mode} delay_s={self.delay_s} requests={len(self._requests)}>"
        )

    @classmethod
    def start(
        cls, *, port: int = 0, delay_s: float = 0.0, mode: Mode = "text", log: Path | None = None
    ) -> Self:
        """Start on `port` (0: a free one); the caller stops it, or uses it in a `with`."""
        return cls(port=port, delay_s=delay_s, mode=mode, log=log).__enter__()

    def stop(self) -> None:
        """Stop serving; what was recorded stays readable. Stopping twice is harmless."""
        thread, loop, done = self._thread, self._loop, self._done
        if thread is None or loop is None or done is None:
            return
        self._thread = None
        loop.call_soon_threadsafe(done.set)
        thread.join(START_LIMIT_S)

    def __enter__(self) -> Self:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="stub-model", daemon=True)
            self._thread.start()
            if not self._ready.wait(START_LIMIT_S) or self._failure is not None:
                raise RuntimeError(f"the stub model did not start on port {self.port}") from self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def requests(self) -> list[Request]:
        """Every message request so far, oldest first."""
        return list(self._requests)

    def received(self, marker: str) -> int:
        """How often `marker` reached the model: over all prompts, each counted once."""
        return conversation.count(self.requests, marker)

    def prompts(self) -> list[str]:
        """The prompts of the conversation that spoke last, in order."""
        return conversation.prompts(self.requests)

    def wait_received(self, marker: str, *, times: int = 1, timeout_s: float = 15.0) -> int:
        """Wait until `marker` was received `times` times; gives the count reached, also a smaller one."""
        until = time.monotonic() + timeout_s
        while (seen := self.received(marker)) < times and time.monotonic() < until:
            time.sleep(CHECK_EVERY_S)
        return seen

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=BODY_LIMIT_BYTES)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1/messages/count_tokens", self._count_tokens)
        app.router.add_post(api_responses.PATH, self._responses)
        app.router.add_post(api_gemini.ROUTE, partial(api_gemini.serve, self))
        app.router.add_post(api_chat.PATH, self._chat)
        app.router.add_route("*", "/{path:.*}", self._unknown)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, HOST, self.port)
            await site.start()
            self.port = cast("int", runner.addresses[0][1])
            self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
            self._ready.set()
            await self._done.wait()
        finally:
            await runner.cleanup()

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        body: dict[str, Any] = await request.json()
        asked = conversation.parse(request.path, body)
        use_tool = self._take(asked, body)
        if asked.main and self.limit is not None:
            error = {
                "type": "rate_limit_error",
                "message": "This request would exceed your account's rate limit.",
            }
            return web.json_response({"type": "error", "error": error}, status=429, headers=self.limit)
        ordered = conversation.order(asked) if self.mode == "tool" else None
        answer = Answer(
            number=len(self._requests),
            model=str(body.get("model")),
            use_tool=use_tool or ordered is not None,
            command=ordered or TOOL_COMMAND,
        )
        return await self._say(request, asked, answer, stream=bool(body.get("stream")))

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        body: dict[str, Any] = await request.json()
        asked = api_responses.parse(request.path, body)
        self._record(asked, body)
        use_tool = asked.main and self.mode == "tool" and "USETOOL" in api_responses.unanswered(body)
        answer = api_responses.Answer.to(body, number=len(self._requests), use_tool=use_tool)
        return await self._say(request, asked, answer, stream=bool(body.get("stream")))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body: dict[str, Any] = await request.json()
        asked = api_chat.parse(request.path, body, self._requests)
        use_tool = self._take(asked, body)
        number, model = len(self._requests), str(body.get("model"))
        answer = api_chat.Answer(number=number, model=model, use_tool=use_tool)
        return await self._say(request, asked, answer, stream=bool(body.get("stream")))

    def _take(self, asked: Request, body: dict[str, Any]) -> bool:
        """Record a request; tell whether its answer is to be a tool call."""
        self._record(asked, body)
        return asked.main and self.mode == "tool" and "USETOOL" in asked.last_prompt

    async def _say(
        self, request: web.Request, asked: Request, answer: Spoken, *, stream: bool
    ) -> web.StreamResponse:
        """Give the answer after the delay, whole or as server-sent events."""
        if not stream:
            await self._pause(asked, None)
            return web.json_response(answer.message())
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            await response.write(answer.opening())
            await self._pause(asked, response)
            for event in answer.rest():
                await response.write(event)
            await response.write_eof()
        except ConnectionResetError:
            pass  # the agent hung up: its turn was interrupted
        return response

    async def _pause(self, asked: Request, response: web.StreamResponse | None) -> None:
        """Wait `delay_s`, with pings; titles and other side requests are answered at once."""
        began = pinged = time.monotonic()
        while asked.main and (now := time.monotonic()) - began < self.delay_s:
            await asyncio.sleep(CHECK_EVERY_S)
            if response is not None and now - pinged >= PING_EVERY_S:
                pinged = now
                await response.write(api_chat.PING if asked.path == api_chat.PATH else PING)

    async def _count_tokens(self, request: web.Request) -> web.Response:
        await request.read()
        return web.json_response({"input_tokens": 10})

    async def _unknown(self, request: web.Request) -> web.Response:
        await request.read()
        error = {"type": "not_found_error", "message": f"{request.method} {request.path} is not served"}
        return web.json_response({"type": "error", "error": error}, status=404)

    def _record(self, asked: Request, body: dict[str, Any]) -> None:
        self._requests.append(asked)
        if self._log is None:
            return
        line = {
            "t": asked.at_s,
            "path": asked.path,
            "conversation": asked.conversation,
            "main": asked.main,
            "model": body.get("model"),
            "stream": bool(body.get("stream")),
            "user_texts": asked.user_texts,
        }
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A stub model for agents.")
    parser.add_argument("--port", type=int, required=True, help="loopback port; 0 takes a free one")
    parser.add_argument("--log", type=Path, help="append one JSON line a request to this file")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds an answer takes")
    parser.add_argument(
        "--mode", choices=("text", "tool"), default="text", help="tool: USETOOL asks for a tool"
    )
    options = parser.parse_args()
    with StubModel.start(
        port=options.port, delay_s=options.delay, mode=options.mode, log=options.log
    ) as stub:
        print(stub.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
