"""How sending has ended: the exit code, and one line."""

from dataclasses import replace

from sampoll.core.errors import Interrupted, JobError
from sampoll.core.summary import CommandSummary
from sampoll.core.wording import counted


def outcome(counts: dict[str, int], *, skipped_prompts: int, is_stopped: bool) -> tuple[int, CommandSummary]:
    """The exit code and the summary of pairs that were sent, counted by what became of them."""
    line, figures = ", ".join(f"{count} {what}" for what, count in counts.items()), dict(counts)
    if skipped_prompts:
        figures["skipped_prompts"] = skipped_prompts
        line += f", {counted(skipped_prompts, 'bad prompt')} skipped"
    summary = CommandSummary(line, figures)
    if is_stopped:
        stopped = f"{summary}; stopped before everything was sent or answered"
        return Interrupted.exit_code, replace(summary, line=stopped)
    return (JobError.exit_code if counts["failed"] else 0), summary
