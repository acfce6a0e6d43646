"""What a worker does: its part of the command, as its order has it."""

from dataclasses import replace
from queue import SimpleQueue

from sampoll.app.directories import layout_of
from sampoll.app.plan import plan_of
from sampoll.app.run import run_plan
from sampoll.app.serve import serve_stream
from sampoll.app.workers.http_part import answer_requests
from sampoll.app.workers.messages import Order, Request, Sender
from sampoll.monitoring.monitor import PartOf


def work(order: Order, send: Sender, inbox: "SimpleQueue[Request]") -> int:
    """The exit code of the process; `inbox` has what the parent sends. Raises SampollError if it cannot work
    at all."""
    part_of = PartOf(order.service_id, send)
    match order.command:
        case "run":
            return _run(order, send, part_of)
        case "serve stream":
            serve_stream(order.settings, [send], part_of=part_of)
        case "serve http":
            answer_requests(order.settings, send, inbox, part_of)
    return 0


def _run(order: Order, send: Sender, part_of: PartOf) -> int:
    plan = plan_of(order.settings, layout_of(order.settings.spool))
    transport = replace(plan.transport, holds_input=order.holds_input)
    plan = replace(plan, transport=transport, datasets=())
    return run_plan(plan, [send], show_progress=False, part_of=part_of).exit_code
