"""What isolation and release decide from the marks on objects, and how one step changes several of them."""

from __future__ import annotations

from typing import Any

import pytest

from hdr_responder.actions.kubernetes import parts
from hdr_responder.actions.kubernetes.parts import change_each
from hdr_responder.actions.kubernetes.service_cuts import CUT, HOLDERS, Cut, cutting, holders, planned, restoring
from hdr_responder.actions.kubernetes.standing import stopped_by
from hdr_responder.domain.ports.kubernetes import ObjectMeta, ObjectRef, Service
from hdr_responder.domain.workloads import Workload
from hdr_responder.errors import AmbiguousError, ConflictError, FencedError, HdrError, NotFoundError, TemporaryError

WORKLOAD = Workload(cluster="eu-1", namespace="video", kind="deployment", name="neural-hdr")
SELECTOR = {"app": "neural-hdr"}
WEB = Cut(service="web", uid="uid-1", selector=SELECTOR)


def meta(**annotations: str) -> ObjectMeta:
    ref = ObjectRef(resource="services", namespace="video", name="web")
    found = {f"hdr-responder.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return ObjectMeta(ref=ref, uid="uid-1", resource_version="7", generation=0, labels={}, annotations=found)


def service(selector: dict[str, str], **annotations: str) -> Service:
    return Service(meta=meta(**annotations), selector=selector)


def marks(patch: Any) -> dict[str, str]:
    """The annotations that a patch writes."""
    written: dict[str, str] = {}
    for each in patch:
        if each["path"] == "/metadata/annotations" and each["op"] == "add":
            written |= each["value"]
        elif each["op"] == "add" and each["path"].startswith("/metadata/annotations/"):
            written[each["path"].rpartition("/annotations/")[2].replace("~1", "/")] = each["value"]
    return written


class TestCutting:
    def test_an_open_service_is_cut_by_one_more_key(self) -> None:
        patch = cutting("run/isolate", WORKLOAD, service(SELECTOR), WEB)
        assert patch is not None
        assert patch[0] == {"op": "test", "path": "/spec/selector", "value": SELECTOR}
        assert patch[1] == {"op": "add", "path": "/spec/selector/hdr-responder.io~1cut-off", "value": "true"}
        assert marks(patch)[HOLDERS] == "run/isolate"

    def test_marks_that_were_left_on_an_open_service_hold_nothing(self) -> None:
        patch = cutting("run/isolate", WORKLOAD, service(SELECTOR, isolated_by="old/isolate"), WEB)
        assert marks(patch)[HOLDERS] == "run/isolate"

    def test_a_cut_one_is_joined(self) -> None:
        patch = cutting("run/isolate", WORKLOAD, service(WEB.cut_selector, isolated_by="old/isolate"), WEB)
        assert marks(patch)[HOLDERS] == "old/isolate,run/isolate"
        assert all(each["op"] == "test" for each in patch or () if str(each["path"]).startswith("/spec"))

    def test_what_is_held_already_is_left(self) -> None:
        assert cutting("run/isolate", WORKLOAD, service(WEB.cut_selector, isolated_by="run/isolate"), WEB) is None

    def test_another_selector_is_refused(self) -> None:
        with pytest.raises(ConflictError, match="another selector"):
            cutting("run/isolate", WORKLOAD, service({"app": "other"}), WEB)

    @pytest.mark.parametrize("cut", [SELECTOR, WEB.cut_selector])
    def test_what_it_selected_is_known_whether_it_is_cut_or_not(self, cut: dict[str, str]) -> None:
        assert planned(service(cut)) == WEB
        assert CUT not in planned(service(cut)).selector

    def test_restoring_takes_only_marks_away_that_are_there(self) -> None:
        patch = restoring(service(WEB.cut_selector, isolated_by="run/isolate", workload="x"), WEB, {"a": "b"})
        removed = [str(each["path"]).rpartition("~1")[2] for each in patch if each["op"] == "remove"]
        assert removed == ["isolated-by", "workload"]
        assert {"op": "replace", "path": "/spec/selector", "value": SELECTOR} in patch

    @pytest.mark.parametrize(("written", "held"), [("", ()), ("a/b", ("a/b",)), ("a/b,,c/d", ("a/b", "c/d"))])
    def test_holders(self, written: str, held: tuple[str, ...]) -> None:
        assert holders(meta(isolated_by=written)) == held


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("run/stop 3", ("run/stop", 3)),
        ("run/stop", ("run/stop", 0)),
        ("run/stop x", ("run/stop", 0)),
        ("run/stop -1", ("run/stop", 0)),
        ("run/stop ²", ("run/stop", 0)),
        ("run/stop 3 4", ("run/stop", 0)),
        ("", ("", 0)),
    ],
)
def test_who_stopped_a_workload(written: str, read: tuple[str, int]) -> None:
    assert stopped_by(meta(stopped=written)) == read


class Spoiled:
    """A part that fails with these errors, one a try, and then works."""

    def __init__(self, *errors: HdrError) -> None:
        self.errors = list(errors)
        self.tries = 0

    async def __call__(self) -> None:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)


def busy() -> TemporaryError:
    return TemporaryError("asks to wait", retry_after=0.001)


class TestChangeEach:
    async def test_one_that_fails_keeps_no_other_from_being_done(self) -> None:
        gone, lost, fine = Spoiled(NotFoundError("gone")), Spoiled(AmbiguousError("lost")), Spoiled()
        problems = await change_each({"gone": gone, "lost": lost, "fine": fine})
        assert {name: str(problem) for name, problem in problems.items()} == {"gone": "gone", "lost": "lost"}
        assert (gone.tries, lost.tries, fine.tries) == (1, 1, 1)

    async def test_a_busy_server_is_asked_again_but_not_for_ever(self) -> None:
        once, ever = Spoiled(busy()), Spoiled(*(busy() for _ in range(parts.TRIES)))
        problems = await change_each({"once": once, "ever": ever})
        assert list(problems) == ["ever"]
        assert (once.tries, ever.tries) == (2, parts.TRIES)

    async def test_a_lost_fence_ends_it(self) -> None:
        fine = Spoiled()
        with pytest.raises(FencedError):
            await change_each({"fenced": Spoiled(FencedError("lost")), "fine": fine})
        assert fine.tries == 0
