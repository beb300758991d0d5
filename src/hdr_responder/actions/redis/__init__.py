"""Looking at and changing target Redis servers and clusters."""

from hdr_responder.actions.contract import AnyAction, AnyCheck
from hdr_responder.actions.redis.health import Reachable
from hdr_responder.actions.redis.keys import DeleteByPattern, KeysByPattern
from hdr_responder.actions.redis.looking import Evictions, HitRate, Memory, Ping
from hdr_responder.actions.redis.settings import SetConfig
from hdr_responder.actions.redis.slow_log import Slowlog

REDIS_ACTIONS: tuple[AnyAction, ...] = (
    Ping(),
    Memory(),
    HitRate(),
    Evictions(),
    KeysByPattern(),
    Slowlog(),
    DeleteByPattern(),
    SetConfig(),
)
REDIS_CHECKS: tuple[AnyCheck, ...] = (Reachable(),)
