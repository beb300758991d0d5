"""Asking Alertmanager what fires, and silencing it for a while."""

from hdr_responder.actions.alertmanager.alerts import Alerts
from hdr_responder.actions.alertmanager.silence import CreateSilence
from hdr_responder.actions.contract import AnyAction

ALERTMANAGER_ACTIONS: tuple[AnyAction, ...] = (Alerts(), CreateSilence())
