"""Where nothing may be touched, whatever a playbook, a label or a person says."""

from __future__ import annotations

from hdr_responder.domain.reach import not_listed
from hdr_responder.domain.runs import GuardVerdict
from hdr_responder.engine.guards.question import Question, verdict


def protected(q: Question) -> GuardVerdict:
    """Namespaces, databases and Redis servers that no service of the catalogue lists are left alone."""
    places = dict.fromkeys(place for step in q.run.plan.steps for place in step.places)
    outside = q.reach.protected(places)
    if not outside:
        return verdict("protected", True, "it stays where the service catalogue allows")
    told = "; ".join(not_listed(place) for place in outside)
    return verdict("protected", False, told[:1000], q.again)
