"""What counts as one release, in which order releases came, and how changes are told, without a cluster."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdr_responder.actions.kubernetes.amounts import parse_amount, same_amount
from hdr_responder.actions.kubernetes.differences import TOLD, differences, fingerprint, release_fingerprint
from hdr_responder.actions.kubernetes.environment import SetEnvParameters
from hdr_responder.actions.kubernetes.history import NO_RELEASE, LastReleaseResult, ago
from hdr_responder.actions.kubernetes.marks import RESTARTED_AT, STEP
from hdr_responder.actions.kubernetes.releases import History
from hdr_responder.adapters.kubernetes.templates import (
    CONTROLLER_REVISIONS,
    LONG_AGO,
    REPLICA_SETS,
    field_writers,
    object_event,
    pod_template,
)
from hdr_responder.documents.arguments import compile_arguments
from hdr_responder.documents.expressions import Scope, compile_condition
from hdr_responder.documents.scope import step_scope
from hdr_responder.domain.ports.kubernetes import PodTemplate, Revision, TemplatedWorkload
from tests.unit.actions.test_kubernetes_decisions import NEURAL_HDR, state

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def template(image: str = "app:1", annotations: dict[str, str] | None = None, **container: Any) -> PodTemplate:
    meta = {"labels": {"app": "neural-hdr"}, **({"annotations": annotations} if annotations else {})}
    return pod_template({"metadata": meta, "spec": {"containers": [{"name": "app", "image": image, **container}]}})


def revision(number: int, of: PodTemplate, *, minutes: int, first: int | None = None) -> Revision:
    return Revision(
        name=f"rs-{number}",
        number=number,
        first_number=first or number,
        created=NOON + timedelta(minutes=minutes),
        change_cause=None,
        template=of,
    )


def history(*revisions: Revision, present: PodTemplate | None = None) -> History:
    now = present or revisions[-1].template
    return History(workload=TemplatedWorkload(state=state(), template=now), revisions=revisions)


def before(of: History) -> int | None:
    """Number of the revision that a rollback goes to."""
    release = of.release_of(of.workload.template)
    assert release is not None
    earlier = of.before(release)
    return earlier.newest.number if earlier else None


class TestRelease:
    @pytest.mark.parametrize("mark", [{RESTARTED_AT: "now"}, {STEP: "run/step"}, {"hdr-responder.io/other": "x"}])
    def test_marks_of_restarts_and_runs_make_none(self, mark: dict[str, str]) -> None:
        marked = template(annotations=mark)
        assert release_fingerprint(marked) == release_fingerprint(template())
        assert fingerprint(marked) != fingerprint(template())
        assert differences(template(), marked) == []

    @pytest.mark.parametrize(
        "other",
        [
            template("app:2"),
            template(annotations={"checksum/config": "x"}),
            template(annotations={"hdr-responder.iox": "x"}),
            template(env=[{"name": "A", "value": "1"}]),
            template(env=[{"name": "A"}]),
            template(resources={"limits": {"cpu": "1"}}),
            template(resources={"claims": [{"name": "gpu"}]}),
            template(args=["x"]),
            pod_template(
                {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}}
            ),
            pod_template({"spec": {"containers": [], "initContainers": [{"name": "app", "image": "app:1"}]}}),
        ],
    )
    def test_any_other_change_is_one_and_is_told(self, other: PodTemplate) -> None:
        assert release_fingerprint(other) != release_fingerprint(template())
        assert differences(template(), other)
        assert differences(other, template())

    def test_a_revision_is_known_again_without_what_the_cluster_adds_to_its_copy(self) -> None:
        live = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": []}}
        kept = {
            "metadata": {"creationTimestamp": None, "labels": {"app": "x", "pod-template-hash": "1"}},
            "spec": live["spec"],
        }
        patched = {"$patch": "replace", **live}
        assert pod_template(live).manifest == pod_template(kept).manifest == pod_template(patched).manifest == live


class TestOrder:
    def test_restarts_stand_between(self) -> None:
        one, two = template("app:1"), template("app:2")
        restarted = [
            replace(each, annotations={RESTARTED_AT: "x"}, manifest={"n": n}) for n, each in enumerate((one, two))
        ]
        of = history(
            revision(1, one, minutes=0),
            revision(2, restarted[0], minutes=1),
            revision(3, two, minutes=2),
            revision(4, restarted[1], minutes=3),
        )
        assert before(of) == 2
        assert of.current == of.revisions[3]

    @pytest.mark.parametrize("minutes", [1, 0], ids=["apart", "within one second"])
    def test_what_was_gone_back_from_is_never_before(self, minutes: int) -> None:
        one, two, three = (template(f"app:{n}") for n in (1, 2, 3))
        of = history(
            revision(1, one, minutes=0),
            revision(3, three, minutes=2 * minutes),
            revision(4, two, minutes=minutes, first=2),
        )
        assert before(of) == 1
        release = of.release_of(two)
        assert release is not None
        left = of.after(release)
        assert left is not None
        assert left.newest.number == 3

    def test_an_unrecorded_template_is_no_revision(self) -> None:
        of = history(revision(1, template(), minutes=0), present=template("app:2"))
        assert of.current is None
        assert of.release_of(of.workload.template) is None


class TestTelling:
    def test_images_come_first_and_all_is_bounded(self) -> None:
        many = [{"name": f"V{n}", "value": "x"} for n in range(TOLD)]
        told = differences(template("app:1"), template("app:2", env=many))
        assert told[0] == "image app: app:1 -> app:2"
        assert len(told) == TOLD + 1
        assert told[-1] == "and 1 more"

    @pytest.mark.parametrize(
        ("seconds", "told"),
        [
            (0, "less than a minute ago"),
            (60, "1 minute ago"),
            (59 * 60 + 59, "59 minutes ago"),
            (7200, "2 hours ago"),
            (86400 * 3 + 5, "3 days ago"),
        ],
    )
    def test_ages_as_people_say_them(self, seconds: int, told: str) -> None:
        assert ago(timedelta(seconds=seconds)) == told


class TestShapes:
    def test_a_replica_set_without_a_number_is_no_revision_yet(self) -> None:
        _, read = REPLICA_SETS
        item = {"metadata": {"name": "a", "annotations": {"deployment.kubernetes.io/revision": "x"}}, "spec": {}}
        assert read(item) is None

    def test_a_revision_remembers_its_first_number(self) -> None:
        _, read = REPLICA_SETS
        annotations = {"deployment.kubernetes.io/revision": "9", "deployment.kubernetes.io/revision-history": "2,5,"}
        meta = {"name": "a", "creationTimestamp": "2026-03-01T12:00:00Z", "annotations": annotations}
        found = read({"metadata": meta, "spec": {"template": {}}})
        assert found is not None
        assert (found.number, found.first_number, found.created) == (9, 2, NOON)

    def test_a_controller_revision_of_something_else_is_none(self) -> None:
        _, read = CONTROLLER_REVISIONS
        assert read({"metadata": {"name": "a"}, "revision": 1, "data": {"x": 1}}) is None

    def test_writers_are_told_two_levels_deep(self) -> None:
        owned = {
            "f:metadata": {"f:annotations": {".": {}, "f:x": {}}},
            "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {}}},
            "f:status": {"f:conditions": {}},
        }
        entries = [
            {"manager": "old", "time": "2026-03-01T12:00:00Z", "fieldsV1": owned, "operation": "Apply"},
            {"fieldsV1": {}, "operation": "Update"},
            {"manager": "new", "time": "2026-03-01T13:00:00Z", "subresource": "scale"},
        ]
        found = field_writers({"metadata": {"managedFields": entries}})
        assert [each.manager for each in found] == ["new", "old", "unknown"]
        assert found[1].fields == ("metadata.annotations", "spec.replicas", "spec.template", "status")
        assert field_writers({"metadata": {}}) == ()

    @pytest.mark.parametrize(
        ("times", "at", "count"),
        [
            ({"lastTimestamp": "2026-03-01T12:00:00Z", "count": 3}, NOON, 3),
            ({"eventTime": "2026-03-01T12:00:00.000000Z", "lastTimestamp": None}, NOON, 1),
            (
                {
                    "series": {"lastObservedTime": "2026-03-01T12:00:00Z", "count": 4},
                    "eventTime": "2026-01-01T00:00:00Z",
                },
                NOON,
                4,
            ),
            ({}, LONG_AGO, 1),
        ],
    )
    def test_events_of_either_form(self, times: dict[str, Any], at: datetime, count: int) -> None:
        found = object_event({"metadata": {}, "reason": "X", "source": {"component": "kubelet"}, **times})
        assert (found.at, found.count, found.source, found.message) == (at, count, "kubelet", "")


class TestAmounts:
    @pytest.mark.parametrize(
        ("one", "other"),
        [("2048Mi", "2Gi"), ("1000m", "1"), ("0.5", "500m"), ("1e3", "1k"), ("1M", "1000000"), ("129e6", "129M")],
    )
    def test_the_same_written_otherwise(self, one: str, other: str) -> None:
        assert same_amount(one, other)

    @pytest.mark.parametrize(("one", "other"), [("1G", "1Gi"), ("1", "1m"), ("x", "y"), ("x", "1")])
    def test_not_the_same(self, one: str, other: str) -> None:
        assert not same_amount(one, other)

    @given(st.text(max_size=40))
    def test_reading_never_fails(self, text: str) -> None:
        amount = parse_amount(text)
        assert amount is None or amount >= 0


class TestInPlaybooks:
    @pytest.mark.parametrize("value", ["${params.threads}", "${params.text}", "n=${params.text}", 8, True, "8"])
    def test_values_of_variables_may_come_from_expressions(self, value: object) -> None:
        scope = Scope(names={"params.threads": "int", "params.text": "string"})
        written = {"workload": NEURAL_HDR.model_dump(), "values": {"WORKER_THREADS": value}}
        arguments, findings = compile_arguments(written, SetEnvParameters, scope, ("with",))
        assert findings == []
        assert arguments is not None
        params = arguments.resolve({"params.threads": 8, "params.text": "eight"})
        assert isinstance(params, SetEnvParameters)
        assert all(isinstance(each, str) for each in params.values.values())

    @pytest.mark.parametrize(
        "name",
        ["THREAT_SCAN_INTERVAL", "WORKER_THREADS", "DB_POOL_SIZE", "DB_READ_HOST", "COMPRESSION_ENABLED", "MAX_TOKENS"],
    )
    def test_settings_of_the_fleet_are_no_secrets(self, name: str) -> None:
        assert SetEnvParameters(workload=NEURAL_HDR, values={name: "1"}).values == {name: "1"}

    @pytest.mark.parametrize(("age", "fresh"), [(timedelta(minutes=12), True), (NO_RELEASE, False)])
    def test_no_release_is_never_a_fresh_one(self, age: timedelta, fresh: bool) -> None:
        found = LastReleaseResult(
            found=fresh, age=age, at=None, revision=1, previous_revision=None, changes=[], summary=""
        )
        stored = LastReleaseResult.model_validate_json(found.model_dump_json())
        scope = Scope(names={**step_scope("release", LastReleaseResult), "params.fresh": "duration"})
        condition = compile_condition("steps.release.age < params.fresh", scope)
        values = {"steps.release.age": stored.age, "params.fresh": timedelta(days=365)}
        assert condition.evaluate(values) is fresh

    def test_a_secret_is_found_when_the_playbook_is_loaded(self) -> None:
        written = {"workload": NEURAL_HDR.model_dump(), "values": {"DB_PASSWORD": "${params.text}"}}
        _, findings = compile_arguments(written, SetEnvParameters, Scope(names={"params.text": "string"}), ("with",))
        assert ["looks like a secret" in str(each.message) for each in findings] == [True]
