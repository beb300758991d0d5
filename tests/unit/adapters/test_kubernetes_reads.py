"""What the API server's answers about commands and amounts mean, and which paths names become."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from hdr_responder.adapters.kubernetes.exec import exit_code
from hdr_responder.adapters.kubernetes.quantities import quantity
from hdr_responder.adapters.kubernetes.requests import ApiRequest
from hdr_responder.errors import AdapterError, PermanentError


def failed(reason: str, *causes: dict[str, Any]) -> bytes:
    """The Status that a kubelet sends when a command did not end with zero."""
    details = {"causes": list(causes)}
    return json.dumps({"status": "Failure", "reason": reason, "message": "it failed", "details": details}).encode()


class TestExitCode:
    def test_success(self) -> None:
        assert exit_code(b'{"metadata":{},"status":"Success"}', "here") == 0

    def test_another_code(self) -> None:
        assert exit_code(failed("NonZeroExitCode", {"reason": "ExitCode", "message": "3"}), "here") == 3

    def test_a_command_that_could_not_be_run(self) -> None:
        with pytest.raises(PermanentError, match="here: the command could not be run: it failed"):
            exit_code(failed("InternalError", {"message": "exit status 3"}), "here")

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"not json",
            b"\xff",
            failed("NonZeroExitCode"),
            failed("NonZeroExitCode", {"reason": "ExitCode", "message": "x"}),
            failed("NonZeroExitCode", {"message": "3"}),
        ],
    )
    def test_an_answer_that_is_none(self, content: bytes) -> None:
        with pytest.raises(AdapterError, match="cannot be read"):
            exit_code(content, "here")

    def test_a_long_message_is_cut(self) -> None:
        content = json.dumps({"status": "Failure", "message": "x" * 5000}).encode()
        with pytest.raises(PermanentError) as caught:
            exit_code(content, "here")
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("0", "0"),
        ("12345678n", "0.012345678"),
        ("250m", "0.25"),
        ("500u", "0.0005"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("64Mi", "67108864"),
        ("128974848", "128974848"),
        ("129e6", "129000000"),
        ("129M", "129000000"),
        ("2Ei", "2305843009213693952"),
        ("1E", "1000000000000000000"),
    ],
)
def test_quantities(text: str, meant: str) -> None:
    assert quantity(text) == Decimal(meant)


@pytest.mark.parametrize("text", ["", "Mi", "1X", "1 Mi", "1e", "--1", "NaN", "Infinity", "1" * 101, "1KiB"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        quantity(text)


class TestPaths:
    def test_the_metrics_api(self) -> None:
        request = ApiRequest(verb="list", resource="metrics.k8s.io/pods", namespace="video")
        assert request.path == "/apis/metrics.k8s.io/v1beta1/namespaces/video/pods"

    def test_names_are_quoted(self) -> None:
        request = ApiRequest(verb="get", resource="pods/exec", namespace="a/../b", name="x?y")
        assert request.path == "/api/v1/namespaces/a%2F..%2Fb/pods/x%3Fy/exec"
