"""Questions in PromQL, as checks and as evidence; the registry takes the two tuples below."""

from hdr_responder.actions.prometheus.checks import PROMETHEUS_CHECKS, PrometheusCheck, PrometheusParameters
from hdr_responder.actions.prometheus.promql import QueryError, bind
from hdr_responder.actions.prometheus.queries import PROMETHEUS_ACTIONS

__all__ = ["PROMETHEUS_ACTIONS", "PROMETHEUS_CHECKS", "PrometheusCheck", "PrometheusParameters", "QueryError", "bind"]
