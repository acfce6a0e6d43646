"""What a worker does: its part of the command, as its order has it."""

from dataclasses import replace

from sampoll.app.directories import layout_of
from sampoll.app.plan import plan_of
from sampoll.app.run import run_plan
from sampoll.app.workers.messages import Order, Sender
from sampoll.monitoring.monitor import PartOf


def work(order: Order, send: Sender) -> int:
    """The exit code of the process. Raises SampollError if it cannot work at all."""
    settings, part_of = order.settings, PartOf(order.service_id, send)
    plan = plan_of(settings, layout_of(settings.spool))
    transport = replace(plan.transport, holds_input=order.holds_input)
    plan = replace(plan, transport=transport, datasets=())
    return run_plan(plan, [send], show_progress=False, part_of=part_of).exit_code
