"""All actions and checks that this version knows."""

from __future__ import annotations

from functools import cache

from hdr_responder.actions.alertmanager import ALERTMANAGER_ACTIONS
from hdr_responder.actions.alerts import ALERT_CHECKS
from hdr_responder.actions.certificates import TLS_ACTIONS
from hdr_responder.actions.contract import Registry
from hdr_responder.actions.incident import INCIDENT_ACTIONS
from hdr_responder.actions.kubernetes import KUBERNETES_ACTIONS, KUBERNETES_CHECKS
from hdr_responder.actions.postgres import POSTGRES_ACTIONS, POSTGRES_CHECKS
from hdr_responder.actions.prometheus import PROMETHEUS_ACTIONS, PROMETHEUS_CHECKS
from hdr_responder.actions.redis import REDIS_ACTIONS, REDIS_CHECKS
from hdr_responder.actions.web import WEB_ACTIONS, WEB_CHECKS


@cache
def registry() -> Registry:
    """Return the one registry; raises ValueError when two entries share a name."""
    return Registry(
        actions=(
            *KUBERNETES_ACTIONS,
            *POSTGRES_ACTIONS,
            *REDIS_ACTIONS,
            *PROMETHEUS_ACTIONS,
            *ALERTMANAGER_ACTIONS,
            *WEB_ACTIONS,
            *TLS_ACTIONS,
            *INCIDENT_ACTIONS,
        ),
        checks=(
            *KUBERNETES_CHECKS,
            *POSTGRES_CHECKS,
            *REDIS_CHECKS,
            *PROMETHEUS_CHECKS,
            *WEB_CHECKS,
            *ALERT_CHECKS,
        ),
    )
