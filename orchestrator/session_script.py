"""What the session store does inside Redis: each change is one Lua script, which Redis runs whole or not at all.

Keys, all under one prefix:

    {prefix}:session:ID     hash    a question; its steps are fields "step:N"
    {prefix}:created        zset    ids by creation
    {prefix}:expiry         zset    ids of what does not run, by expiry
    {prefix}:owners         set     orchestrators that may have running questions
    {prefix}:owner:NAME     string  there while that orchestrator lives; expires with its lease
    {prefix}:running:NAME   set     ids that it runs

A question that runs has an owner, and a run: a token that is new at each begin and resume. A write names its run and
is refused where another has taken over, so that of two orchestrators one alone can end the question. All times are of
Redis's own clock. A script may be sent twice, where its reply was lost; the second changes nothing.
"""

from __future__ import annotations

from typing import Final

__all__ = ["BEAT", "BEGIN", "DELETE", "GET", "LEAVE", "PRUNE", "RESUME", "SETTLE", "WRITE"]

_COMMON: Final = """
local prefix = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000

local function key(id) return prefix .. ':session:' .. id end
local function text(seconds) return string.format('%.6f', seconds) end

local function touch(id, ttl)
  redis.call('HSET', key(id), 'updated', text(now), 'expires', text(now + ttl))
end

-- A question that is no longer running; its owner may be any.
local function rest(id, status, ttl)
  redis.call('SREM', prefix .. ':running:' .. redis.call('HGET', key(id), 'owner'), id)
  redis.call('HSET', key(id), 'status', status)
  touch(id, ttl)
  redis.call('ZADD', prefix .. ':expiry', text(now + ttl), id)
  redis.call('PEXPIREAT', key(id), math.ceil((now + ttl) * 1000))
end

local function live(owner, lease_ms)
  redis.call('SET', prefix .. ':owner:' .. owner, '1', 'PX', lease_ms)
  redis.call('SADD', prefix .. ':owners', owner)
end

local function run_by(id, owner, run, lease_ms, ttl)
  live(owner, lease_ms)
  redis.call('HSET', key(id), 'status', 'running', 'owner', owner, 'run', run)
  touch(id, ttl)
  redis.call('PERSIST', key(id))
  redis.call('ZREM', prefix .. ':expiry', id)
  redis.call('SADD', prefix .. ':running:' .. owner, id)
end

local function status_of(id) return redis.call('HGET', key(id), 'status') end

-- Nobody answers a question whose orchestrator is dead. Its run is kept: an owner that was only slow goes on.
local function reap(id, ttl)
  if status_of(id) ~= 'running' then return end
  if redis.call('EXISTS', prefix .. ':owner:' .. redis.call('HGET', key(id), 'owner')) == 0 then
    rest(id, 'interrupted', ttl)
  end
end

local function forget(id)
  redis.call('DEL', key(id))
  redis.call('ZREM', prefix .. ':created', id)
  redis.call('ZREM', prefix .. ':expiry', id)
end
"""

BEGIN: Final = (
    _COMMON
    + """
local id, owner, run, lease_ms, ttl, request = unpack(ARGV)
if redis.call('EXISTS', key(id)) == 1 then
  if redis.call('HGET', key(id), 'run') == run then return {} end
  reap(id, ttl)
  return redis.call('HGETALL', key(id))
end
redis.call('HSET', key(id), 'request', request, 'created', text(now), 'resumed', 0, 'steps', 0)
redis.call('ZADD', prefix .. ':created', text(now), id)
run_by(id, owner, run, lease_ms, ttl)
return {}
"""
)
"""id, owner, run, lease_ms, ttl_s, request -> the fields that were there; nothing where it begins."""

RESUME: Final = (
    _COMMON
    + """
local id, owner, run, lease_ms, ttl = unpack(ARGV)
local record = redis.call('HGETALL', key(id))
if #record == 0 then return {'unknown'} end
if redis.call('HGET', key(id), 'run') == run then return {'resumed', record} end
reap(id, ttl)
local status = status_of(id)
if status ~= 'interrupted' then
  local other = redis.call('HGET', key(id), 'owner')
  return {status, other, redis.call('PTTL', prefix .. ':owner:' .. other)}
end
record = redis.call('HGETALL', key(id))
redis.call('HINCRBY', key(id), 'resumed', 1)
run_by(id, owner, run, lease_ms, ttl)
return {'resumed', record}
"""
)
"""id, owner, run, lease_ms, ttl_s -> "resumed" and the fields before; else what it is, its owner, its lease in ms."""

_MINE: Final = """
local id, owner, run, lease_ms, ttl = unpack(ARGV)
local status = status_of(id)
if not status then return 'gone' end
if redis.call('HGET', key(id), 'run') ~= run then return 'lost' end
"""

WRITE: Final = (
    _COMMON
    + _MINE
    + """
if status ~= 'running' and status ~= 'interrupted' then return 'lost' end
local field, value = ARGV[6], ARGV[7]
if field == 'plan' then
  redis.call('HSET', key(id), field, value)
elseif redis.call('HSETNX', key(id), field, value) == 1 then
  redis.call('HINCRBY', key(id), 'steps', 1)
end
run_by(id, owner, run, lease_ms, ttl)
return 'written'
"""
)
"""id, owner, run, lease_ms, ttl_s, "plan" or "step:N", value -> "written", "lost" to another run, or "gone"."""

SETTLE: Final = (
    _COMMON
    + _MINE
    + """
local to = ARGV[6]
if status == to and to ~= 'interrupted' then return 'written' end
if status ~= 'running' and status ~= 'interrupted' then return 'lost' end
for at = 7, #ARGV, 2 do redis.call('HSET', key(id), ARGV[at], ARGV[at + 1]) end
-- Whoever gave it up may not write to it again.
if to == 'interrupted' then redis.call('HSET', key(id), 'run', '') end
rest(id, to, ttl)
return 'written'
"""
)
"""id, owner, run, lease_ms, ttl_s, status, then fields and values -> as WRITE."""

GET: Final = (
    _COMMON
    + """
local id, ttl = unpack(ARGV)
reap(id, ttl)
return redis.call('HGETALL', key(id))
"""
)
"""id, ttl_s -> the fields; nothing for an unknown id."""

DELETE: Final = (
    _COMMON
    + """
local id, ttl = unpack(ARGV)
reap(id, ttl)
local status = status_of(id)
if status and status ~= 'running' then forget(id) end
return status or ''
"""
)
"""id, ttl_s -> the status that it had; empty for an unknown id. A running one is left."""

BEAT: Final = (
    _COMMON
    + """
local owner, lease_ms, ttl = unpack(ARGV)
live(owner, lease_ms)
for _, other in ipairs(redis.call('SMEMBERS', prefix .. ':owners')) do
  if redis.call('EXISTS', prefix .. ':owner:' .. other) == 0 then
    for _, id in ipairs(redis.call('SMEMBERS', prefix .. ':running:' .. other)) do
      if status_of(id) then reap(id, ttl) end
    end
    redis.call('DEL', prefix .. ':running:' .. other)
    redis.call('SREM', prefix .. ':owners', other)
  end
end
"""
)
"""owner, lease_ms, ttl_s: the owner lives on; what dead ones left running becomes interrupted."""

LEAVE: Final = (
    _COMMON
    + """
redis.call('DEL', prefix .. ':owner:' .. ARGV[1])
"""
)
"""owner: it ends, and what it left running can be resumed at once."""

PRUNE: Final = (
    _COMMON
    + """
local most, at_once = tonumber(ARGV[1]), tonumber(ARGV[2])
local expired = redis.call('ZRANGEBYSCORE', prefix .. ':expiry', '-inf', text(now), 'LIMIT', 0, at_once)
for _, id in ipairs(expired) do forget(id) end
local running = 0
for _, owner in ipairs(redis.call('SMEMBERS', prefix .. ':owners')) do
  running = running + redis.call('SCARD', prefix .. ':running:' .. owner)
end
local beyond = math.min(redis.call('ZCARD', prefix .. ':created') - running - most, at_once)
local more = (#expired == at_once or beyond == at_once) and 1 or 0
if beyond > 0 then
  for _, id in ipairs(redis.call('ZRANGE', prefix .. ':created', 0, beyond + running - 1)) do
    if beyond > 0 and status_of(id) ~= 'running' then
      forget(id)
      beyond = beyond - 1
    end
  end
end
return more
"""
)
"""most, at_once -> 1 where there may be more. Forget what is past its time, and of those that do not run the oldest
beyond `most`; at most at_once of each."""
