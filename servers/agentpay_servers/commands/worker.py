"""`agentpay worker`: the background jobs of an installation."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from agentpay_servers.output import Column, Listing, hint, plain, row_data
from agentpay_servers.session import AsJson, DatabaseUrl, desk, not_in_order

if TYPE_CHECKING:
    from agentpay.manager.operations import Desk
    from agentpay.worker.service import Ran

_ENDED: Final = {"done": "done", "failed": "failed", "not_due": "not due yet", "elsewhere": "another worker is at it"}

_RAN = (
    Column[Any]("job", lambda ran: ran.job),
    Column[Any]("ended", lambda ran: ran.ended, lambda ran: _ENDED[ran.ended]),
    Column[Any]("did", lambda ran: ran.did, lambda ran: _said(ran)),
    Column[Any]("fault", lambda ran: ran.fault),
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(worker)


def worker(
    once: Annotated[bool, typer.Option("--once", help="Run what is due, say what each job did, and end.")] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Run the background jobs: reconcile, renew, expire, seal.

    Any number may run on one database: each job is in one place at a time. SIGTERM ends it after the job under way.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    with desk(database_url) as people:
        if once:
            _once(people, as_json)
        else:
            _serve(people, as_json)


def _once(people: Desk, as_json: bool) -> None:
    ran = people.worker().once()
    Listing(_RAN, ran).print(as_json)
    if any(one.ended == "failed" for one in ran):
        raise not_in_order()


def _serve(people: Desk, as_json: bool) -> None:
    stop = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        hint("agentpay worker: ready; SIGTERM or Ctrl-C ends it")
        people.worker(tell=lambda ran: _tell(ran, as_json)).run(stop)
        hint("agentpay worker: ended")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(ran: Ran, as_json: bool) -> None:
    """A line for what did something, or failed."""
    if ran.ended != "failed" and not any(ran.did.values()):
        return
    if as_json:
        import json

        sys.stdout.write(f"{json.dumps(plain(row_data(_RAN, ran)), ensure_ascii=True)}\n")
    else:
        sys.stdout.write(f"{ran.job}: {ran.fault or _said(ran)}\n")
    sys.stdout.flush()


def _said(ran: Ran) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in ran.did.items() if count)
