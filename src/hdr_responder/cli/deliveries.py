"""Deliveries as they came: list, show, replay."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from hdr_responder.cli.context import in_session
from hdr_responder.cli.output import clock, print_json, print_more, print_table, say
from hdr_responder.cli.parameters import Cursor, Json, Limit, group
from hdr_responder.domain.ports.records import PageRequest
from hdr_responder.records.views import DeliverySummary, delivery_summary, delivery_view, page_view

if TYPE_CHECKING:
    from hdr_responder.app.session import Session
    from hdr_responder.domain.deliveries import Delivery

_BIGGEST_ID = 2**63 - 1
COLUMNS = ("DELIVERY", "SOURCE", "RECEIVED", "STATUS", "ERROR")

DeliveryId = Annotated[int, typer.Argument(min=1, max=_BIGGEST_ID, metavar="ID", help="The delivery.")]

app = group("What Alertmanager delivered, as it came.")


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    RECEIVED = "received"
    PROCESSED = "processed"
    PARKED = "parked"
    REJECTED = "rejected"


@app.command("list")
def list_(
    *,
    status: Annotated[list[DeliveryStatus] | None, typer.Option(help="Only these; may be given several times.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: Json = False,
) -> None:
    """List deliveries, newest first."""
    statuses = tuple(str(s) for s in status or ())
    page = in_session(lambda s: s.records.deliveries(statuses, PageRequest(limit=limit, cursor=cursor)))
    view = page_view(page, delivery_summary)
    if as_json:
        print_json(view)
        return
    print_table(COLUMNS, [_row(item) for item in view.items], empty="There are no such deliveries.")
    print_more(view.next_cursor)


@app.command()
def show(*, delivery_id: DeliveryId, as_json: Json = False) -> None:
    """Show a delivery with its body."""
    view = delivery_view(in_session(lambda s: s.records.delivery(delivery_id)))
    if as_json:
        print_json(view)
        return
    say(f"Delivery {view.id} from {view.source}, received {clock(view.received_at)}: {view.status}")
    if view.error:
        say(view.error)
    say(view.body if view.body is not None else f"(not UTF-8, in base64) {view.body_base64}")


@app.command()
def replay(*, delivery_id: DeliveryId, as_json: Json = False) -> None:
    """Give a parked or rejected delivery to intake again."""

    async def again(session: Session) -> Delivery:
        from hdr_responder.engine.replay import Replay

        return await Replay(store=session.store, records=session.records)(delivery_id)

    replayed = in_session(again)
    if as_json:
        print_json(delivery_summary(replayed))
    else:
        say(f"Delivery {replayed.id} from {replayed.source} waits for intake again.")


def _row(delivery: DeliverySummary) -> tuple[str, ...]:
    received, error = clock(delivery.received_at), delivery.error or "-"
    return str(delivery.id), delivery.source, received, delivery.status, error
