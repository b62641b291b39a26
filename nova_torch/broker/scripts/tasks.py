"""Tasks: one move of one task, and forgetting those that are over."""

from __future__ import annotations

from nova_torch.broker.scripts.script import NOW, Script

# ARGV: id, rank that is replaced (`*`: any smaller one), new rank, record, whether it is over, what happened,
# agent, node, length of the log, number of the graph (empty: what it depends on stays), then what the tally of an
# agent gains: field and number of each. A move that was made already is made once.
PUT_TASK = Script(
    "put_task",
    ("all", "open", "over", "log", "graph", "tally"),
    NOW
    + """
local id, rank = ARGV[1], ARGV[3]
local known = redis.call('HGET', all, id .. '.r') or ''
if ARGV[2] == '*' then
  if known >= rank then return {'kept', redis.call('HGET', all, id)} end
elseif known == rank and redis.call('HGET', all, id) == ARGV[4] then
  return {'OK'}
elseif known ~= ARGV[2] then
  return {'kept', redis.call('HGET', all, id) or ''}
end
-- all of it or nothing: a key of another type ends the script here, before anything is written
redis.call('ZSCORE', open, '') redis.call('ZSCORE', over, '') redis.call('XLEN', log)
redis.call('GET', graph) redis.call('HGET', tally, '')
if ARGV[10] ~= '' then
  if (redis.call('GET', graph) or '0') ~= ARGV[10] then return {'graph'} end
  redis.call('SET', graph, string.format('%.0f', tonumber(ARGV[10]) + 1))
end
redis.call('HSET', all, id, ARGV[4], id .. '.r', rank)
if ARGV[5] == '1' then
  redis.call('ZREM', open, id)
  redis.call('ZADD', over, string.format('%.0f', now), id)
else
  redis.call('ZADD', open, 0, id)
  redis.call('ZREM', over, id)
end
for n = 11, #ARGV, 2 do
  local sum = tonumber(redis.call('HGET', tally, ARGV[n]) or 0) + tonumber(ARGV[n + 1])
  redis.call('HSET', tally, ARGV[n], string.format('%.0f', sum))
end
redis.call('XADD', log, 'MAXLEN', '~', ARGV[9], '*', 't', id, 'r', rank, 'w', ARGV[6], 'a', ARGV[7], 'n', ARGV[8])
return {'OK'}
""",
)

# ARGV: ids. Those that are open stay.
FORGET_TASKS = Script(
    "forget_tasks",
    ("all", "open", "over"),
    """
local gone = 0
for n = 1, #ARGV do
  if not redis.call('ZSCORE', open, ARGV[n]) then
    redis.call('HDEL', all, ARGV[n], ARGV[n] .. '.r')
    redis.call('ZREM', over, ARGV[n])
    gone = gone + 1
  end
end
return {'OK', string.format('%.0f', gone)}
""",
)
