"""What is scheduled for an agent, and the marks of what was decided."""

from __future__ import annotations

from nova_torch.broker.scripts.script import FENCE, Script

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
    FENCE
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
