"""Real Alertmanagers, alone or as a high-availability pair, and what a test says to them."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from tests.services.ports import free_port
from tests.services.processes import ServiceError, ServiceProcess, answers_ok, poll, service_folder
from tests.services.tools import require_built

_TIMEOUT = aiohttp.ClientTimeout(total=10)
_PEER_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """How an Alertmanager finds its peers and how long the second waits for the first before it sends, too.

    With ``peer_timeout="0s"`` and slow gossip every peer sends every notification: the duplicates that a real pair
    sends when its gossip is late (Alertmanager contract rule 3).
    """

    peers: Sequence[str] = ()
    peer_timeout: str = "15s"
    gossip_interval: str = "200ms"


class Alertmanager:
    """One Alertmanager on its own port; it forgets nothing over ``stop`` and ``start``."""

    def __init__(self, folder: Path, config: str, cluster: Cluster | None = None) -> None:
        self.port = free_port()
        self.cluster_address = f"127.0.0.1:{free_port()}"
        self._config = folder / "alertmanager.yml"
        self._config.write_text(config)
        self.process = ServiceProcess(
            name="alertmanager",
            argv=[
                str(require_built("alertmanager", "alertmanager")),
                f"--config.file={self._config}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                f"--web.external-url={self.url}",
                *self._cluster_arguments(cluster),
            ],
            log_path=folder / "alertmanager.log",
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start on the same port and data; returns when it is ready to notify.

        ``/-/ready`` is not enough: it answers while notifications still wait for the cluster to settle.
        """
        self.process.start()
        self.process.wait_ready(lambda: answers_ok(f"{self.url}/-/ready"))
        self.process.wait_ready(lambda: self._cluster_status()["status"] != "settling")

    def stop(self) -> None:
        self.process.stop()

    def peers(self) -> int:
        """How many members its cluster has, itself included; 0 without a cluster."""
        return len(self._cluster_status().get("peers", []))

    async def post_alerts(self, *alerts: Mapping[str, Any]) -> None:
        """``POST /api/v2/alerts``; raises aiohttp.ClientResponseError when it refuses."""
        await self._request("POST", "/api/v2/alerts", [dict(alert) for alert in alerts])

    async def alerts(self) -> list[dict[str, Any]]:
        """``GET /api/v2/alerts``: every alert that it holds as active, silenced or inhibited."""
        answer: list[dict[str, Any]] = await self._request("GET", "/api/v2/alerts")
        return answer

    async def silence(self, matchers: Mapping[str, str], *, ends_at: datetime, comment: str = "test") -> str:
        """Silence the alerts with exactly these labels until ``ends_at``; the silence's id."""
        body = {
            "matchers": [
                {"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in matchers.items()
            ],
            "startsAt": datetime.now(UTC).isoformat(),
            "endsAt": ends_at.isoformat(),
            "createdBy": "test",
            "comment": comment,
        }
        answer = await self._request("POST", "/api/v2/silences", body)
        return str(answer["silenceID"])

    async def _request(self, method: str, path: str, body: object = None) -> Any:
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT, raise_for_status=True) as session,
            session.request(method, f"{self.url}{path}", json=body) as response,
        ):
            text = await response.text()
            return json.loads(text) if text else None

    def _cluster_status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/api/v2/status", timeout=5) as response:
            status: dict[str, Any] = json.load(response)["cluster"]
        return status

    def _cluster_arguments(self, cluster: Cluster | None) -> list[str]:
        if cluster is None:
            return ["--cluster.listen-address="]
        return [
            f"--cluster.listen-address={self.cluster_address}",
            f"--cluster.peer-timeout={cluster.peer_timeout}",
            f"--cluster.gossip-interval={cluster.gossip_interval}",
            "--cluster.settle-timeout=200ms",
            *(f"--cluster.peer={peer}" for peer in cluster.peers),
        ]


@contextlib.contextmanager
def run_alertmanager(config: str, cluster: Cluster | None = None) -> Iterator[Alertmanager]:
    """A running Alertmanager in a temporary folder, killed with the block: leaving a cluster in order takes seconds."""
    with service_folder("alertmanager") as folder:
        server = Alertmanager(folder, config, cluster)
        try:
            server.start()
            yield server
        finally:
            server.process.kill()


@contextlib.contextmanager
def run_alertmanager_pair(config: str, *, duplicates: bool = True) -> Iterator[tuple[Alertmanager, Alertmanager]]:
    """Two Alertmanagers that know each other; with ``duplicates`` both send every notification."""
    timing = {"peer_timeout": "0s", "gossip_interval": "10m"} if duplicates else {}
    with (
        run_alertmanager(config, Cluster(**timing)) as first,
        run_alertmanager(config, Cluster(peers=[first.cluster_address], **timing)) as second,
    ):
        if not poll(lambda: first.peers() == second.peers() == 2, seconds=_PEER_SECONDS):
            raise ServiceError(f"the Alertmanagers did not find each other\n{second.process.log_tail()}")
        yield first, second


def webhook_config(url: str, *, token: str, group_interval: str = "1s", group_by: Sequence[str] = ("...",)) -> str:
    """A configuration that sends everything to one webhook with a bearer token, resolves included, without delay.

    Grouped by ``...`` every alert comes in a delivery of its own.
    """
    config = {
        "route": {
            "receiver": "responder",
            "group_by": list(group_by),
            "group_wait": "100ms",
            "group_interval": group_interval,
            "repeat_interval": "1h",
        },
        "receivers": [
            {
                "name": "responder",
                "webhook_configs": [
                    {
                        "url": url,
                        "send_resolved": True,
                        "http_config": {"authorization": {"type": "Bearer", "credentials": token}},
                    }
                ],
            }
        ],
    }
    return json.dumps(config, indent=2)


def alert(
    name: str,
    *,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    annotations: Mapping[str, str] | None = None,
    **labels: str,
) -> dict[str, Any]:
    """An alert as ``post_alerts`` takes it; with ``ends_at`` in the past it is a resolve."""
    times = {"startsAt": starts_at, "endsAt": ends_at}
    return {
        "labels": {"alertname": name, **labels},
        "annotations": dict(annotations or {}),
        **{key: value.isoformat() for key, value in times.items() if value is not None},
    }
