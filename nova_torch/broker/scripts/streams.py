"""Streams of other programs: an entry that is added once."""

from __future__ import annotations

from functools import cache

from nova_torch.broker.scripts.script import Script


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
