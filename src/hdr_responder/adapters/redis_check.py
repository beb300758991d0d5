"""Proves the connection to Redis for the doctor; nothing else asks, since everything goes on without Redis."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError

from hdr_responder.errors import ConfigError, UnavailableError

TIMEOUT_SECONDS = 5.0


async def check_redis(url: str) -> str:
    """Return the server's version.

    Raises ConfigError when the address or its credentials are wrong, UnavailableError when there is no answer.
    """
    try:
        client = Redis.from_url(
            url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, decode_responses=True
        )
    except ValueError:
        raise ConfigError("redis.url is not a valid address of a Redis") from None
    try:
        info = await client.info("server")
    except AuthenticationError:
        raise ConfigError("redis.url: the server refuses the credentials") from None
    except (RedisError, OSError) as error:
        raise UnavailableError(f"Redis: no answer ({type(error).__name__})") from error
    finally:
        await client.aclose()
    return f"Redis {info.get('redis_version', 'of an unknown version')}"
