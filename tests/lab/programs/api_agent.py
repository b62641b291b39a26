"""An agent with opencode's HTTP API and an input line, whose answers can be spoiled.

`api_agent.py DIRECTORY [--port N]`: keeps its messages in DIRECTORY/messages.json, also across restarts; how it
answers the next prompt is in DIRECTORY/fault; what is put into DIRECTORY/event it tells as an event. Which
prompts came by the API is in DIRECTORY/posts. It answers none: each waits until the next one comes.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
import tty
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOME = Path(sys.argv[1])
PORT = int(sys.argv[sys.argv.index("--port") + 1]) if "--port" in sys.argv else 0
TITLE = os.environ.get("FAKE_TITLE", "A talk")
SESSION = {
    "id": "ses_one",
    "title": TITLE,
    "agent": "build",
    "model": {"id": "m", "providerID": "p", "variant": "default"},
}
LOCK = threading.Lock()
LISTENERS: list[queue.Queue[bytes]] = []


def messages() -> list[dict[str, Any]]:
    file = HOME / "messages.json"
    return json.loads(file.read_text()) if file.exists() else []


def take(message_id: str, part_id: str, text: str) -> None:
    """Keep a message as opencode does: the same part of the same message takes its own place."""
    with LOCK:
        kept = messages()
        message = next((one for one in kept if one["info"]["id"] == message_id), None)
        if message is None:
            message = {"info": {"id": message_id, "role": "user", "sessionID": "ses_one"}, "parts": []}
            kept.append(message)
        message["parts"] = [part for part in message["parts"] if part["id"] != part_id]
        message["parts"].append({"id": part_id, "type": "text", "text": text, "messageID": message_id})
        (HOME / "messages.new").write_text(json.dumps(kept))
        (HOME / "messages.new").replace(HOME / "messages.json")
    tell("message.updated", info=message["info"])
    tell("message.part.updated", part={**message["parts"][-1], "sessionID": "ses_one"})


def tell(kind: str, **properties: Any) -> None:
    event = f"data: {json.dumps({'type': kind, 'properties': properties})}\n\n".encode()
    for listener in LISTENERS:
        listener.put(event)


class Api(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def say(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def answer(self, value: Any, status: int = 200) -> None:
        self.say(status, json.dumps(value).encode())

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/event":
            return self.events()
        if path == "/session":
            return self.answer([SESSION] * (2 if fault() == "two" else 1))
        if path == "/session/ses_one":
            return self.answer(SESSION)
        if path == "/session/status":
            return self.say(200, b"<html>") if fault() == "nonsense" else self.answer({})
        if path in ("/permission", "/question"):
            return self.answer([])
        if path == "/session/ses_one/message":
            return self.answer(messages()[-1:])
        if path.startswith("/session/ses_one/message/"):
            found = [one for one in messages() if one["info"]["id"] == path.rpartition("/")[2]]
            return self.answer(found[0]) if found else self.answer({"name": "NotFoundError"}, 404)
        return self.answer([])

    def events(self) -> None:
        own: queue.Queue[bytes] = queue.Queue()
        LISTENERS.append(own)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        event = b'data: {"type":"server.connected","properties":{}}\n\n'
        try:
            while True:
                self.wfile.write(event)
                self.wfile.flush()
                try:
                    event = own.get(timeout=5)
                except queue.Empty:
                    event = b'data: {"type":"server.heartbeat","properties":{}}\n\n'
        except OSError:
            LISTENERS.remove(own)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        (part,) = body["parts"]
        with LOCK, (HOME / "posts").open("a") as posts:
            posts.write(f"{body['messageID']}\n")
        mode = fault(clear=True)
        if mode == "error":
            return self.say(500, b"no")
        if mode == "lose":
            return self.say(204)
        if mode == "slow":
            time.sleep(12)
        if mode == "late":  # taken a while after the caller has heard that it was
            self.say(204)
            time.sleep(1.2)
        take(body["messageID"], part["id"], part["text"])
        return None if mode == "late" else self.spoil(mode)

    def spoil(self, mode: str) -> None:
        """Answer in the way of a fault: the message was taken."""
        match mode:
            case "cut":
                self.connection.close()
            case "hang":
                time.sleep(3600)
            case "garbage":
                self.wfile.write(b"\x00\xff garbage\r\n\r\n")
                self.wfile.flush()
                self.connection.close()
            case "huge":
                self.send_response(200)
                self.end_headers()
                while True:
                    self.wfile.write(b"x" * 65536)
            case "error after":
                self.say(500, b"no")
            case "die":
                os.kill(os.getpid(), 9)
            case _:
                self.say(204)


def fault(*, clear: bool = False) -> str:
    file = HOME / "fault"
    mode = file.read_text() if file.exists() else ""
    if clear and mode not in {"two", "nonsense"}:
        file.unlink(missing_ok=True)
    return mode


def pass_on() -> None:
    """Tell what a test puts into the file of events."""
    while True:
        time.sleep(0.02)
        try:
            (HOME / "event").rename(HOME / "event.taken")
        except OSError:
            continue
        event = json.loads((HOME / "event.taken").read_text())
        tell(event["type"], **event["properties"])


def draw(text: str) -> None:
    if text.startswith("\x02"):
        sys.stdout.write("\x1b[2J\x1b[HMay I? (y/n)")
        sys.stdout.flush()
        return
    shown = text.replace("\r", "\n").split("\n")[-1][-60:]
    sys.stdout.write(f"\x1b]2;OC | {TITLE}\x07\x1b[2J\x1b[H  ┃  Build · Fake\r\n\r\n> {shown}")
    sys.stdout.flush()


def main() -> None:
    tty.setraw(0)
    sys.stdout.write("\x1b[?2004h")
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Api)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Thread(target=pass_on, daemon=True).start()
    typed, pasting, count = "", False, 0
    while True:
        draw(typed)
        data = os.read(0, 65536).decode("utf-8", "replace")
        if "\x1b[200~" in data:
            pasting = True
        if data == "\x03":
            return
        if data == "\x02":
            typed = "" if typed else data
            continue
        typed += data.replace("\x1b[200~", "").replace("\x1b[201~", "") if pasting or data != "\r" else ""
        if "\x1b[201~" in data:
            pasting = False
        if data == "\r" and typed:
            count += 1
            take(f"msg_typed{count}", f"prt_typed{time.time_ns()}", typed)
            typed = ""


if __name__ == "__main__":
    main()
