"""The Lua scripts. Each has its keys declared and of one hash tag, and runs on DragonflyDB, Valkey and Redis.

What holds for every text here (BROKER, section 1, and the probe of Dragonfly 1.40.1):
- Dragonfly runs Lua 5.4, the others Lua 5.1: no `unpack`, no integer division, and a number is formatted with
  `%.0f` before it becomes an argument or a reply, since a float of 5.4 prints as `1.7e+12`.
- Only KEYS are touched. No BLOCK, no cmsgpack, no cjson.
- A reply is a string or a list of strings. The first word of a refusal is one of the three below.
- Each may run twice: a caller whose reply was lost runs it again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cache

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


_FENCE = """
local owner = redis.call('GET', own)
if not owner then return {'LOST'} end
if owner ~= ARGV[1] then return {'NOTOWNER', owner} end
"""

_NOW = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
"""

# ARGV: node, epoch, group. The higher epoch owns; the same owner may claim again.
_CLAIM = """
local owner = redis.call('GET', own)
if owner then
  local epoch = string.match(owner, '|(%d+)$')
  if epoch and tonumber(epoch) > tonumber(ARGV[2]) then return {'NOTOWNER', owner} end
end
redis.call('SET', own, ARGV[1] .. '|' .. ARGV[2])
for _, stream in ipairs({hi, mbx}) do
  local made = redis.pcall('XGROUP', 'CREATE', stream, ARGV[3], '0', 'MKSTREAM')
  if type(made) == 'table' and made['err'] and not string.find(made['err'], 'BUSYGROUP', 1, true) then
    return redis.error_reply(made['err'])
  end
end
"""
CLAIM = Script("claim", ("own", "hi", "mbx"), _CLAIM + "return {'OK'}\n")

# ARGV: node, epoch, group, seconds. The mailbox of a program: it goes by itself, `seen` with it, which is made here
# because a key that is made later has no end of its own.
CLAIM_FOR = Script(
    "claim_for",
    ("own", "hi", "mbx", "seen"),
    _CLAIM
    + """
redis.call('HSET', seen, 'box', '1')
for _, key in ipairs({own, hi, mbx, seen}) do redis.call('EXPIRE', key, ARGV[4]) end
return {'OK'}
""",
)

# ARGV: owner, drop (1 or 0), seconds the dead letters stay.
RELEASE = Script(
    "release",
    ("own", "hi", "mbx", "seen", "dead"),
    """
local owner = redis.call('GET', own)
if owner and owner ~= ARGV[1] then return {'NOTOWNER', owner} end
local left = redis.call('XLEN', hi) + redis.call('XLEN', mbx)
redis.call('DEL', own)
if ARGV[2] == '1' then
  redis.call('DEL', hi, mbx, seen)
  redis.call('EXPIRE', dead, ARGV[3])
end
return {'OK', string.format('%.0f', left)}
""",
)

# ARGV: limit, then message id, payload and lane of each. All of one mailbox go in at once: an owner that claims it
# meanwhile gets them in order. `seen` names the entry; one whose entry is gone is added again. The reply has the
# owner, then new, duplicate or full for each.
ENQUEUE = Script(
    "enqueue",
    ("own", "hi", "mbx", "seen"),
    """
local owner = redis.call('GET', own)
if not owner then return {'no_agent'} end
local limit = tonumber(ARGV[1])
local function put(id, payload, lane)
  local known = redis.call('HGET', seen, id)
  if known then
    local where, entry = string.match(known, '^(%a+) (.+)$')
    if #redis.call('XRANGE', where == 'hi' and hi or mbx, entry, entry) > 0 then return 'duplicate' end
  end
  local stream = lane == 'hi' and hi or mbx
  if redis.call('XLEN', stream) >= limit then return 'full' end
  local entry = redis.call('XADD', stream, '*', 'i', id, 'p', payload)
  redis.call('HSET', seen, id, lane .. ' ' .. entry)
  return 'new'
end
local reply = {'OK', owner}
for n = 2, #ARGV, 3 do reply[#reply + 1] = put(ARGV[n], ARGV[n + 1], ARGV[n + 2]) end
return reply
""",
)

# ARGV: owner, group, consumer, count, hi's cursor, mbx's cursor. A cursor is `>` for new entries, else the
# id after which pending ones are read. The reply is flat: lane, entry, message id, payload, lane, ...
READ = Script(
    "read",
    ("own", "hi", "mbx"),
    _FENCE
    + """
local found = {'OK'}
local want = tonumber(ARGV[4])
local function take(lane, stream, cursor)
  local room = want - math.floor((#found - 1) / 4)
  if room <= 0 then return true end
  local reply = redis.pcall('XREADGROUP', 'GROUP', ARGV[2], ARGV[3], 'COUNT', string.format('%.0f', room),
                            'STREAMS', stream, cursor)
  if not reply then return true end
  if reply['err'] then
    if string.find(reply['err'], 'NOGROUP', 1, true) then return false end
    error(reply['err'])
  end
  if not reply[1] then return true end
  for _, entry in ipairs(reply[1][2]) do
    local fields = entry[2]
    if fields and fields[4] then
      for _, word in ipairs({lane, entry[1], fields[2], fields[4]}) do found[#found + 1] = word end
    else
      redis.call('XACK', stream, ARGV[2], entry[1])
    end
  end
  return true
end
if not take('hi', hi, ARGV[5]) or not take('mbx', mbx, ARGV[6]) then return {'LOST'} end
return found
""",
)

# ARGV: owner, group, then lane and entry for each.
ACK = Script(
    "ack",
    ("own", "hi", "mbx", "seen"),
    _FENCE
    + """
for n = 3, #ARGV, 2 do
  local stream = ARGV[n] == 'hi' and hi or mbx
  local entry = ARGV[n + 1]
  local held = redis.call('XRANGE', stream, entry, entry)[1]
  redis.call('XACK', stream, ARGV[2], entry)
  if held then
    redis.call('XDEL', stream, entry)
    redis.call('HDEL', seen, held[2][2])
  end
end
return {'OK'}
""",
)

# ARGV: owner, group, lane, entry (may be empty: never was in the broker), message id, payload, state, reason,
# how many dead letters are kept. A letter that lies there already is not written again.
BURY = Script(
    "bury",
    ("own", "hi", "mbx", "seen", "dead"),
    _FENCE
    + _NOW
    + """
local known = false
for _, letter in ipairs(redis.call('XREVRANGE', dead, '+', '-', 'COUNT', '100')) do
  if letter[2][2] == ARGV[5] then known = true end
end
if not known then
  redis.call('XADD', dead, '*', 'i', ARGV[5], 'p', ARGV[6], 'l', ARGV[3], 'e', ARGV[4], 's', ARGV[7],
             'r', ARGV[8], 't', string.format('%.0f', now))
  redis.call('PERSIST', dead)
end
if ARGV[4] ~= '' then
  local stream = ARGV[3] == 'hi' and hi or mbx
  redis.call('XACK', stream, ARGV[2], ARGV[4])
  redis.call('XDEL', stream, ARGV[4])
  redis.call('HDEL', seen, ARGV[5])
end
return {'OK', string.format('%.0f', redis.call('XTRIM', dead, 'MAXLEN', ARGV[9]))}
""",
)

# ARGV: entry of the dead letter. Gives the owner, then the letter's fields.
UNBURY = Script(
    "unbury",
    ("own", "hi", "mbx", "seen", "dead"),
    """
local owner = redis.call('GET', own)
if not owner then return {'LOST'} end
local letter = redis.call('XRANGE', dead, ARGV[1], ARGV[1])[1]
if not letter then return {'gone'} end
local id, payload, lane = letter[2][2], letter[2][4], letter[2][6]
local entry = redis.call('XADD', lane == 'hi' and hi or mbx, '*', 'i', id, 'p', payload)
redis.call('HSET', seen, id, lane .. ' ' .. entry)
redis.call('XDEL', dead, ARGV[1])
local reply = {'OK', owner}
for _, word in ipairs(letter[2]) do reply[#reply + 1] = word end
return reply
""",
)

# ARGV: node. Later than every earlier one, even when a snapshot rolled the broker back.
CLAIM_EPOCH = Script(
    "claim_epoch",
    ("epochs",),
    _NOW
    + """
local last = redis.call('HGET', epochs, ARGV[1])
if last and tonumber(last) >= now then now = tonumber(last) + 1 end
local epoch = string.format('%.0f', now)
redis.call('HSET', epochs, ARGV[1], epoch)
return {'OK', epoch}
""",
)

# ARGV: epoch. Fences the node's own mail from now on.
FENCE_MAIL = Script(
    "fence_mail",
    ("epoch",),
    """
local last = redis.call('GET', epoch)
if last and tonumber(last) > tonumber(ARGV[1]) then return {'NOTOWNER', last} end
redis.call('SET', epoch, ARGV[1])
return {'OK'}
""",
)

# ARGV: node, epoch, blob, lease ms, ms that a silent node stays known.
BEAT = Script(
    "beat",
    ("nodes", "epochs", "blob"),
    _NOW
    + """
local last = redis.call('HGET', epochs, ARGV[1])
if last and tonumber(last) > tonumber(ARGV[2]) then return {'NOTOWNER', last} end
redis.call('HSET', epochs, ARGV[1], ARGV[2])
redis.call('ZADD', nodes, string.format('%.0f', now + tonumber(ARGV[4])), ARGV[1])
redis.call('SET', blob, ARGV[3], 'PX', ARGV[5])
local past = string.format('%.0f', now - tonumber(ARGV[5]))
for _, silent in ipairs(redis.call('ZRANGEBYSCORE', nodes, '-inf', past)) do
  redis.call('ZREM', nodes, silent)
  redis.call('HDEL', epochs, silent)
end
return {'OK', string.format('%.0f', now)}
""",
)

# ARGV: node, epoch. The epoch stays known.
LEAVE = Script(
    "leave",
    ("nodes", "epochs", "blob"),
    """
local last = redis.call('HGET', epochs, ARGV[1])
if last and tonumber(last) > tonumber(ARGV[2]) then return {'NOTOWNER', last} end
redis.call('ZREM', nodes, ARGV[1])
redis.call('DEL', blob)
return {'OK'}
""",
)

# ARGV: epoch, then entries.
MAIL_DONE = Script(
    "mail_done",
    ("epoch", "mail"),
    """
local last = redis.call('GET', epoch)
if last and tonumber(last) > tonumber(ARGV[1]) then return {'NOTOWNER', last} end
for n = 2, #ARGV do redis.call('XDEL', mail, ARGV[n]) end
return {'OK'}
""",
)

# ARGV: id, schedule and mark of each. The greater mark stays. Gives the owner (or nothing), then how many changed.
PUT_SCHEDULES = Script(
    "put_schedules",
    ("own", "sched"),
    """
local changed = 0
for n = 1, #ARGV, 3 do
  local known = redis.call('HGET', sched, ARGV[n] .. '.m')
  if not known or ARGV[n + 2] > known then
    redis.call('HSET', sched, ARGV[n], ARGV[n + 1])
    redis.call('HSET', sched, ARGV[n] .. '.m', ARGV[n + 2])
    changed = changed + 1
  end
end
return {'OK', redis.call('GET', own) or '', string.format('%.0f', changed)}
""",
)

# ARGV: owner, then ids. Gives the mark of each, empty where there is none.
READ_MARKS = Script(
    "read_marks",
    ("own", "sched"),
    _FENCE
    + """
local found = {'OK'}
for n = 2, #ARGV do found[#found + 1] = redis.call('HGET', sched, ARGV[n] .. '.m') or '' end
return found
""",
)

# ARGV: ids. Only what is over is forgotten.
FORGET_SCHEDULES = Script(
    "forget_schedules",
    ("sched",),
    """
for n = 1, #ARGV do
  local mark = redis.call('HGET', sched, ARGV[n] .. '.m')
  if mark and string.sub(mark, 1, 1) == '1' then redis.call('HDEL', sched, ARGV[n], ARGV[n] .. '.m') end
end
return {'OK'}
""",
)


@cache
def append_once(pairs: int) -> Script:
    """Return the script that adds an entry of so many fields to one stream (which needs no hash tag).

    ARGV: what the entry tells of, the least entry that is looked at for it (empty: none), then the fields, the
    last of which names what it tells of. No Lua that all servers have passes on a list, so each number is a text.
    """
    fields = ", ".join(f"ARGV[{n}]" for n in range(3, 3 + 2 * pairs))
    return Script(
        f"append_once_{pairs}",
        ("stream",),
        f"""
if ARGV[2] ~= '' then
  for _, entry in ipairs(redis.call('XREVRANGE', stream, '+', ARGV[2], 'COUNT', '10000')) do
    local field = entry[2]
    if field[#field] == ARGV[1] then return {{'OK', 'known'}} end
  end
end
redis.call('XADD', stream, '*', {fields})
return {{'OK', 'new'}}
""",
    )


ALL = (
    CLAIM,
    CLAIM_FOR,
    RELEASE,
    ENQUEUE,
    READ,
    ACK,
    BURY,
    UNBURY,
    CLAIM_EPOCH,
    FENCE_MAIL,
    BEAT,
    LEAVE,
    MAIL_DONE,
    PUT_SCHEDULES,
    READ_MARKS,
    FORGET_SCHEDULES,
    append_once(2),
)
