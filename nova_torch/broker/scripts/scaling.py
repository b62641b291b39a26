"""Who leads scaling, and what it decided."""

from __future__ import annotations

from nova_torch.broker.scripts.script import NOW, Script

# ARGV: node, its epoch (0: none yet), configuration, ms. Answers the epoch, or who leads.
SCALE_LEAD = Script(
    "scale_lead",
    ("lead", "epoch"),
    NOW
    + """
local held = redis.call('GET', lead)
if held then
  local name, number = string.match(held, '^([^|]*)|(%d+)|')
  if name and name ~= ARGV[1] then return {'NOTOWNER', held} end
  if name and number == ARGV[2] then
    redis.call('SET', lead, name .. '|' .. number .. '|' .. ARGV[3], 'PX', ARGV[4])
    return {'OK', number}
  end
end
local last = tonumber(redis.call('GET', epoch) or '0') or 0
local mine = string.format('%.0f', math.max(now, last + 1))
redis.call('SET', epoch, mine)
redis.call('SET', lead, ARGV[1] .. '|' .. mine .. '|' .. ARGV[3], 'PX', ARGV[4])
return {'OK', mine}
""",
)

# ARGV: node, epoch, how many are set, then id and action of each, then the ids that go. Only who leads writes.
SCALE_NOTE = Script(
    "scale_note",
    ("lead", "acts"),
    """
local held = redis.call('GET', lead)
local name, number = string.match(held or '', '^([^|]*)|(%d+)|')
if name ~= ARGV[1] or number ~= ARGV[2] then return {'NOTOWNER', held or 'nobody'} end
local sets = tonumber(ARGV[3])
for n = 1, sets do redis.call('HSET', acts, ARGV[2 + 2 * n], ARGV[3 + 2 * n]) end
for n = 4 + 2 * sets, #ARGV do redis.call('HDEL', acts, ARGV[n]) end
return {'OK'}
""",
)
