"""What receiving is compared with: aiohttp alone, which parses the body and stores nothing.

Run as ``python tests/bench/bare.py PORT``: it needs nothing of ours.
"""

from __future__ import annotations

import json
import sys

import uvloop
from aiohttp import web

PATH = "/bare"


async def _receive(request: web.Request) -> web.Response:
    json.loads(await request.read())
    return web.Response()


async def _alive(_request: web.Request) -> web.Response:
    return web.Response()


def main() -> None:
    """Serve until SIGTERM."""
    application = web.Application()
    application.add_routes([web.post(PATH, _receive), web.get("/healthz", _alive)])
    loop = uvloop.new_event_loop()
    web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None, loop=loop)


if __name__ == "__main__":
    main()
