"""An agent's mailbox: who owns it, what goes in, is read, marked, acknowledged, given up."""

from __future__ import annotations

from nova_torch.broker.scripts.script import EPOCH, FENCE, Script

# ARGV: node, epoch, group, over. Of one node the higher epoch owns; the same owner may claim again. From another
# node it is taken only by who names it as `over`: whoever that is has seen that its lease is.
_CLAIM = (
    EPOCH
    + """
local owner = redis.call('GET', own)
if owner and owner ~= ARGV[4] then
  local node, epoch = string.match(owner, '^(.*)|(%d+)$')
  local theirs = epoch_of(epoch)
  if theirs and (node ~= ARGV[1] or theirs > tonumber(ARGV[2])) then return {'NOTOWNER', owner} end
end
redis.call('SET', own, ARGV[1] .. '|' .. ARGV[2])
for _, stream in ipairs({hi, mbx}) do
  local made = redis.pcall('XGROUP', 'CREATE', stream, ARGV[3], '0', 'MKSTREAM')
  if type(made) == 'table' and made['err'] and not string.find(made['err'], 'BUSYGROUP', 1, true) then
    return redis.error_reply(made['err'])
  end
end
"""
)

CLAIM = Script("claim", ("own", "hi", "mbx"), _CLAIM + "return {'OK'}\n")

# ARGV: node, epoch, group, over, seconds. The mailbox of a program: it goes by itself, `seen` with it, which is
# made here because a key that is made later has no end of its own.
CLAIM_FOR = Script(
    "claim_for",
    ("own", "hi", "mbx", "seen"),
    _CLAIM
    + """
redis.call('HSET', seen, 'box', '1')
for _, key in ipairs({own, hi, mbx, seen}) do redis.call('EXPIRE', key, ARGV[5]) end
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

# ARGV: limit, the node whose outbox they are in, the owner that is known there (empty: none), then message id,
# payload and lane of each. Has the mailbox another owner meanwhile, nothing goes in: the broker may have lost what
# must come before. All of one mailbox go in at once: an owner that claims it meanwhile gets them in order. `seen`
# names the entry; one whose entry is gone is added again. The reply has the owner, then new, duplicate or full for
# each.
#
# `>` and the id, in `seen`, names the node that may type it without asking again: the owner in whose own outbox it
# is, which needs no broker for it. A node that sends a message, or sends it again, has not typed it.
ENQUEUE = Script(
    "enqueue",
    ("own", "hi", "mbx", "seen"),
    """
local owner = redis.call('GET', own)
if not owner then return {'no_agent'} end
if ARGV[3] ~= '' and ARGV[3] ~= owner then return {'moved', owner} end
local limit = tonumber(ARGV[1])
local near = ARGV[2] ~= '' and string.match(owner, '^(.*)|') == ARGV[2]
local function hold(id)
  local holder = redis.call('HGET', seen, '>' .. id)
  if near and not holder then redis.call('HSET', seen, '>' .. id, ARGV[2]) end
  if not near and holder and holder == ARGV[2] then redis.call('HDEL', seen, '>' .. id) end
end
local function put(id, payload, lane)
  local known = redis.call('HGET', seen, id)
  if known then
    local where, entry = string.match(known, '^(%a+) (.+)$')
    if #redis.call('XRANGE', where == 'hi' and hi or mbx, entry, entry) > 0 then
      hold(id)
      return 'duplicate'
    end
  end
  local stream = lane == 'hi' and hi or mbx
  if redis.call('XLEN', stream) >= limit then return 'full' end
  local entry = redis.call('XADD', stream, '*', 'i', id, 'p', payload)
  redis.call('HSET', seen, id, lane .. ' ' .. entry)
  hold(id)
  return 'new'
end
local reply = {'OK', owner}
for n = 4, #ARGV, 3 do reply[#reply + 1] = put(ARGV[n], ARGV[n + 1], ARGV[n + 2]) end
return reply
""",
)

# ARGV: owner, group, consumer, count, hi's cursor, mbx's cursor. A cursor is `>` for new entries, else the
# id after which pending ones are read. The reply is flat: lane, entry, message id, payload, holder, lane, ... An
# entry that nobody of ours wrote has no message id, and all its words for a payload: it is for its reader to bury.
READ = Script(
    "read",
    ("own", "hi", "mbx", "seen"),
    FENCE
    + """
local found = {'OK'}
local want = tonumber(ARGV[4])
local broken
local function take(lane, stream, cursor)
  local room = want - math.floor((#found - 1) / 5)
  if room <= 0 then return true end
  local reply = redis.pcall('XREADGROUP', 'GROUP', ARGV[2], ARGV[3], 'COUNT', string.format('%.0f', room),
                            'STREAMS', stream, cursor)
  if not reply then return true end
  if reply['err'] then
    if string.find(reply['err'], 'NOGROUP', 1, true) then return false end
    broken = reply
    return true
  end
  if not reply[1] then return true end
  for _, entry in ipairs(reply[1][2]) do
    local fields = entry[2]
    if not fields or not fields[1] then
      redis.call('XACK', stream, ARGV[2], entry[1])
    else
      local id, payload = fields[2], fields[4]
      if #fields ~= 4 or fields[1] ~= 'i' or fields[3] ~= 'p' then
        id, payload = '', table.concat(fields, '\\n')
      end
      local holder = id ~= '' and redis.call('HGET', seen, '>' .. id) or ''
      for _, word in ipairs({lane, entry[1], id, payload, holder}) do found[#found + 1] = word end
    end
  end
  return true
end
if not take('hi', hi, ARGV[5]) or not take('mbx', mbx, ARGV[6]) then return {'LOST'} end
if broken then return broken end
return found
""",
)

# ARGV: owner, message id, the node that is about to type it (empty: it did not). Whoever owns the mailbox later
# knows by it what may have been typed.
HOLD = Script(
    "hold",
    ("own", "seen"),
    FENCE
    + """
if ARGV[3] == '' then redis.call('HDEL', seen, '>' .. ARGV[2])
else redis.call('HSET', seen, '>' .. ARGV[2], ARGV[3]) end
return {'OK'}
""",
)

# ARGV: owner, group, then lane and entry for each.
ACK = Script(
    "ack",
    ("own", "hi", "mbx", "seen"),
    FENCE
    + """
for n = 3, #ARGV, 2 do
  local stream = ARGV[n] == 'hi' and hi or mbx
  local entry = ARGV[n + 1]
  local held = redis.call('XRANGE', stream, entry, entry)[1]
  redis.call('XACK', stream, ARGV[2], entry)
  if held then
    redis.call('XDEL', stream, entry)
    redis.call('HDEL', seen, held[2][2], '>' .. held[2][2])
  end
end
return {'OK'}
""",
)
