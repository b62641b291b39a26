"""Serve a stub model that agents can talk to, and remember what they asked.

In a test: `with StubModel.start() as stub:` or `async with StubModel() as stub:`; the server has threads of its
own, so synchronous and asynchronous tests use it alike.
By hand: `python -m noval_d.canary.model.stub_model --port 18080 --log requests.jsonl`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from noval_d.canary.model import api_chat, api_gemini, api_responses, conversation
from noval_d.canary.model.conversation import Request
from noval_d.canary.model.server import HOST, Hearer, Server
from noval_d.canary.model.sse import PING, TOOL_COMMAND, Answer, Spoken

Mode = Literal["text", "tool"]
CHECK_EVERY_S = 0.02
PING_EVERY_S = 1.0
LIMITED = {
    "type": "error",
    "error": {
        "type": "rate_limit_error",
        "message": "This request would exceed your account's rate limit.",
    },
}


class StubModel:
    """The Messages, the Responses, the chat-completions and the generateContent API on a loopback port.

    `delay_s` is how long an answer of the main conversation takes; lowering it also ends the waits under way.
    `mode` "tool" makes a prompt that holds USETOOL end in a Bash call, and one with `RUN<<command>>` in that
    command (Messages API only). `limit` are the headers of a 429 that every request of the main conversation gets
    instead of an answer, `limit_body` is what it says (the Messages API has words of its own). All may be set at
    any time.
    """

    def __init__(
        self, *, port: int = 0, delay_s: float = 0.0, mode: Mode = "text", log: Path | None = None
    ) -> None:
        self.port = port
        self.delay_s = delay_s
        self.mode: Mode = mode
        self.limit: Mapping[str, str] | None = None
        self.limit_body: Mapping[str, Any] = {}
        self._log = log
        self.strays: list[str] = []
        """The paths of requests that are none of the APIs'."""
        self._requests: list[Request] = []
        self._lock = threading.RLock()  # one request is recorded after the other
        self._server: Server | None = None

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
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def __enter__(self) -> Self:
        if self._server is None:
            try:
                self._server = Server.start(self.port, self._answer)
            except OSError as error:
                raise RuntimeError(f"the stub model did not start on port {self.port}") from error
            self.port = self._server.port
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.stop)

    @property
    def url(self) -> str:
        """Where it serves, without a path."""
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

    def _answer(self, hearer: Hearer, path: str, body: dict[str, Any]) -> None:
        """Answer one request. Raises ConnectionError when the agent has hung up: its turn was interrupted."""
        if path == "/v1/messages":
            self._messages(hearer, path, body)
        elif path == "/v1/messages/count_tokens":
            hearer.whole({"input_tokens": 10})
        elif path == api_responses.PATH:
            self._responses(hearer, path, body)
        elif path == api_chat.PATH:
            self._chat(hearer, path, body)
        elif (call := api_gemini.call_of(path)) is not None:
            self._gemini(hearer, path, call, body)
        else:
            self.strays.append(path)
            error = {"type": "not_found_error", "message": f"{hearer.command} {path} is not served"}
            hearer.whole({"type": "error", "error": error}, status=404)

    def _messages(self, hearer: Hearer, path: str, body: dict[str, Any]) -> None:
        asked = conversation.parse(path, body)
        number = self._record(asked, body)
        if asked.main and self.limit is not None:
            hearer.whole(LIMITED, status=429, headers=self.limit)
            return
        ordered = conversation.order(asked) if self.mode == "tool" else None
        answer = Answer(
            number=number,
            model=str(body.get("model")),
            use_tool=self._wants_tool(asked) or ordered is not None,
            command=ordered or TOOL_COMMAND,
        )
        self._say(hearer, asked, answer, stream=bool(body.get("stream")))

    def _responses(self, hearer: Hearer, path: str, body: dict[str, Any]) -> None:
        asked = api_responses.parse(path, body)
        number = self._record(asked, body)
        if self._limited(hearer, asked):
            return
        use_tool = asked.main and self.mode == "tool" and "USETOOL" in api_responses.unanswered(body)
        answer = api_responses.Answer.to(body, number=number, use_tool=use_tool)
        self._say(hearer, asked, answer, stream=bool(body.get("stream")))

    def _chat(self, hearer: Hearer, path: str, body: dict[str, Any]) -> None:
        with self._lock:  # which conversation it belongs to depends on those before
            asked = api_chat.parse(path, body, self._requests)
            number = self._record(asked, body)
        if self._limited(hearer, asked):
            return
        answer = api_chat.Answer(
            number=number,
            model=str(body.get("model")),
            use_tool=self._wants_tool(asked),
            has_tools=bool(body.get("tools")),
        )
        self._say(hearer, asked, answer, stream=bool(body.get("stream")), ping=api_chat.PING)

    def _gemini(self, hearer: Hearer, path: str, call: str, body: dict[str, Any]) -> None:
        if call.endswith(":countTokens"):
            hearer.whole({"totalTokens": 10})
            return
        asked, stream = api_gemini.parse(path, body), "stream" in call
        self._record(asked, {"model": call.partition(":")[0], "stream": stream})
        if self._limited(hearer, asked):
            return
        answer = api_gemini.Answer.to(body, use_tool=self._wants_tool(asked))
        self._say(hearer, asked, answer, stream=stream, ping=b"")

    def _limited(self, hearer: Hearer, asked: Request) -> bool:
        """Refuse a request of the main conversation while a limit is set; tell whether it was refused."""
        if self.limit is None or not asked.main:
            return False
        hearer.whole(dict(self.limit_body), status=429, headers=self.limit)
        return True

    def _wants_tool(self, asked: Request) -> bool:
        """Tell whether the answer is to be a tool call."""
        return asked.main and self.mode == "tool" and "USETOOL" in asked.last_prompt

    def _say(
        self, hearer: Hearer, asked: Request, answer: Spoken, *, stream: bool, ping: bytes = PING
    ) -> None:
        """Give the answer after the delay, whole or as server-sent events; an empty `ping` is none."""
        if not stream:
            self._pause(hearer, asked, b"")
            hearer.whole(answer.message())
            return
        with hearer.stream():
            hearer.event(answer.opening())
            self._pause(hearer, asked, ping)
            for event in answer.rest():
                hearer.event(event)

    def _pause(self, hearer: Hearer, asked: Request, ping: bytes) -> None:
        """Wait `delay_s`, with pings; titles and other side requests are answered at once."""
        began = pinged = time.monotonic()
        while asked.main and (now := time.monotonic()) - began < self.delay_s:
            if hearer.stopping.wait(CHECK_EVERY_S):
                raise ConnectionAbortedError
            if ping and now - pinged >= PING_EVERY_S:
                pinged = now
                hearer.event(ping)

    def _record(self, asked: Request, body: dict[str, Any]) -> int:
        """Remember a request, and log it; return its number."""
        with self._lock:
            self._requests.append(asked)
            if self._log is not None:
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
            return len(self._requests)


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
