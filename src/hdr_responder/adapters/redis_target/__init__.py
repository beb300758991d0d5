"""Target Redis servers: what playbooks look at and clean, never the Redis that shares our own rate limits."""

from hdr_responder.adapters.redis_target.target import RedisTarget

__all__ = ["RedisTarget"]
