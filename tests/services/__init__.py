"""Real services for tests: each starts on free loopback ports in a temporary folder and is ended by its process id.

``tests/conftest.py`` offers them as fixtures. What is not a Python package comes from ``scripts/test-tools.sh``; a
missing program fails the test with a message that says so. Everything is synchronous but the calls to Alertmanager; in
an async test whose own loop must go on meanwhile, use ``await asyncio.to_thread(server.restart)``.
"""
