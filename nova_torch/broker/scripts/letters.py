"""Dead letters of an agent: what could not be typed, and its way back into the mailbox."""

from __future__ import annotations

from nova_torch.broker.scripts.script import FENCE, NOW, Script

# ARGV: owner, group, lane, entry (may be empty: never was in the broker), message id, payload, state, reason,
# how many dead letters are kept. A letter that lies there already is not written again.
BURY = Script(
    "bury",
    ("own", "hi", "mbx", "seen", "dead"),
    FENCE
    + NOW
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
  redis.call('HDEL', seen, ARGV[5], '>' .. ARGV[5])
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
redis.call('HDEL', seen, '>' .. id)
redis.call('XDEL', dead, ARGV[1])
local reply = {'OK', owner}
for _, word in ipairs(letter[2]) do reply[#reply + 1] = word end
return reply
""",
)
