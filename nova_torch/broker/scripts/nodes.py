"""Nodes: epochs, leases, what they tell, orders for them, and their own mail."""

from __future__ import annotations

from nova_torch.broker.scripts.script import EPOCH, NOW, Script

# ARGV: node, who: the very daemon. Later than every earlier one, even when a snapshot rolled the broker back. While
# the lease of another daemon of the node's name holds, there is none.
CLAIM_EPOCH = Script(
    "claim_epoch",
    ("epochs", "nodes"),
    NOW
    + EPOCH
    + """
local last = epoch_of(redis.call('HGET', epochs, ARGV[1]))
local bearer = redis.call('HGET', epochs, '@' .. ARGV[1])
if bearer and bearer ~= ARGV[2] then
  for _, alive in ipairs(redis.call('ZRANGEBYSCORE', nodes, string.format('(%.0f', now), '+inf')) do
    if alive == ARGV[1] then return {'NOTOWNER', ARGV[1] .. string.format('|%.0f', last or 0)} end
  end
end
redis.call('HSET', epochs, '@' .. ARGV[1], ARGV[2])
if last and last >= now then now = last + 1 end
local epoch = string.format('%.0f', now)
redis.call('HSET', epochs, ARGV[1], epoch)
return {'OK', epoch}
""",
)

# ARGV: epoch. Fences the node's own mail from now on.
FENCE_MAIL = Script(
    "fence_mail",
    ("epoch",),
    EPOCH
    + """
local last = epoch_of(redis.call('GET', epoch))
if last and last > tonumber(ARGV[1]) then return {'NOTOWNER', string.format('%.0f', last)} end
redis.call('SET', epoch, ARGV[1])
return {'OK'}
""",
)

# ARGV: node, epoch, blob, lease ms, ms that a silent node stays known, what of the blob (`same`: it is not sent and
# stays; `again`: nothing of it is new; `new`: who watches is told), how long the log is. The reply has the time,
# how many nodes live, whether the blob is there, and the order that waits for the node. The last word is an order
# that it has carried out, which goes with the blob that tells so: in between nobody takes it for undone. Behind it
# stands whether the node takes only what is signed (1 or 0); the reply ends with how many living ones do.
BEAT = Script(
    "beat",
    ("nodes", "epochs", "blob", "orders", "log", "strict"),
    NOW
    + EPOCH
    + """
local last = epoch_of(redis.call('HGET', epochs, ARGV[1]))
if last and last > tonumber(ARGV[2]) then return {'NOTOWNER', string.format('%.0f', last)} end
redis.call('HSET', epochs, ARGV[1], ARGV[2])
redis.call('ZADD', nodes, string.format('%.0f', now + tonumber(ARGV[4])), ARGV[1])
if ARGV[9] == '1' then redis.call('ZADD', strict, string.format('%.0f', now + tonumber(ARGV[4])), ARGV[1])
else redis.call('ZREM', strict, ARGV[1]) end
local there = 1
if ARGV[6] == 'same' then
  there = redis.call('EXPIRE', blob, string.format('%.0f', math.floor(tonumber(ARGV[5]) / 1000)))
else
  redis.call('SET', blob, ARGV[3], 'PX', ARGV[5])
end
if ARGV[6] == 'new' then redis.call('XADD', log, 'MAXLEN', '~', ARGV[7], '*', 'n', ARGV[1]) end
local past = string.format('%.0f', now - tonumber(ARGV[5]))
for _, silent in ipairs(redis.call('ZRANGEBYSCORE', nodes, '-inf', past)) do
  redis.call('ZREM', nodes, silent)
  redis.call('ZREM', strict, silent)
  redis.call('HDEL', epochs, silent, '@' .. silent)
  redis.call('HDEL', orders, silent)
end
local living = redis.call('ZCOUNT', nodes, string.format('(%.0f', now), '+inf')
local demanding = redis.call('ZCOUNT', strict, string.format('(%.0f', now), '+inf')
local order = redis.call('HGET', orders, ARGV[1]) or ''
if order ~= '' and order == ARGV[8] then
  redis.call('HDEL', orders, ARGV[1])
  order = ''
end
return {'OK', string.format('%.0f', now), string.format('%.0f', living), string.format('%.0f', there), order,
        string.format('%.0f', demanding)}
""",
)

# ARGV: node, epoch, blob, how long the log is, ms that a silent node stays known. The epoch stays known, and
# so does what the node last said: that it left.
LEAVE = Script(
    "leave",
    ("nodes", "epochs", "blob", "log"),
    NOW
    + EPOCH
    + """
local last = epoch_of(redis.call('HGET', epochs, ARGV[1]))
if last and last > tonumber(ARGV[2]) then return {'NOTOWNER', string.format('%.0f', last)} end
redis.call('ZADD', nodes, string.format('%.0f', now), ARGV[1])
redis.call('SET', blob, ARGV[3], 'PX', ARGV[5])
redis.call('XADD', log, 'MAXLEN', '~', ARGV[4], '*', 'n', ARGV[1])
return {'OK'}
""",
)

# ARGV: node, order, the number of drains that was read before this one was decided (empty: whatever it is now).
ORDER_DRAIN = Script(
    "order_drain",
    ("orders", "drains"),
    """
local known = redis.call('GET', drains) or '0'
if ARGV[3] ~= '' and ARGV[3] ~= known then return {'again'} end
redis.call('SET', drains, string.format('%.0f', (tonumber(known) or 0) + 1))
redis.call('HSET', orders, ARGV[1], ARGV[2])
return {'OK'}
""",
)

# ARGV: node, how long the log is. A node whose lease holds stays.
FORGET_NODE = Script(
    "forget_node",
    ("nodes", "blob", "orders", "log"),
    NOW
    + """
local over = redis.call('ZSCORE', nodes, ARGV[1])
if over and tonumber(over) > now then return {'alive'} end
redis.call('ZREM', nodes, ARGV[1])
redis.call('HDEL', orders, ARGV[1])
redis.call('DEL', blob)
redis.call('XADD', log, 'MAXLEN', '~', ARGV[2], '*', 'n', ARGV[1])
return {'OK', over and 'known' or 'unknown'}
""",
)

# ARGV: how many pieces are kept, seconds they stay, then the pieces. Who waits for mail gets all of them at once.
POST = Script(
    "post",
    ("mail",),
    """
for n = 3, #ARGV do redis.call('XADD', mail, 'MAXLEN', '~', ARGV[1], '*', 'p', ARGV[n]) end
redis.call('EXPIRE', mail, ARGV[2])
return {'OK'}
""",
)

# ARGV: epoch, then entries.
MAIL_DONE = Script(
    "mail_done",
    ("epoch", "mail"),
    EPOCH
    + """
local last = epoch_of(redis.call('GET', epoch))
if last and last > tonumber(ARGV[1]) then return {'NOTOWNER', string.format('%.0f', last)} end
for n = 2, #ARGV do redis.call('XDEL', mail, ARGV[n]) end
return {'OK'}
""",
)
