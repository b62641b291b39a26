"""What a script is: a Lua text with its keys; and the words and pieces that several share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

NOT_OWNER = b"NOTOWNER"
"""Another node, or a later epoch, owns this. The second word is the owner."""
LOST = b"LOST"
"""The mailbox is not there: never claimed, or the broker lost its data. Claim it again."""
OK = b"OK"


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua text, the names of its keys in order, and its SHA1 for EVALSHA."""

    name: str
    keys: tuple[str, ...]
    body: str
    text: str = field(init=False)
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        names = "".join(f"local {key} = KEYS[{n}]\n" for n, key in enumerate(self.keys, start=1))
        object.__setattr__(self, "text", names + self.body)
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())

    def __repr__(self) -> str:
        return f"<Script {self.name} {', '.join(self.keys)}>"


FENCE = """
local owner = redis.call('GET', own)
if not owner then return {'LOST'} end
if owner ~= ARGV[1] then return {'NOTOWNER', owner} end
"""

NOW = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
"""

# What is no epoch (somebody else wrote it) is as if nothing was there. A number of 15 digits is exact everywhere.
EPOCH = """
local function epoch_of(text)
  if text and #text < 16 and string.match(text, '^%d+$') then return tonumber(text) end
end
"""
