"""One authority for the tests of web services and certificates: making keys takes time."""

from __future__ import annotations

import pytest

from tests.integration.web.authority import Authority, new_authority


@pytest.fixture(scope="session")
def authority() -> Authority:
    """An authority that no system trusts."""
    return new_authority()
