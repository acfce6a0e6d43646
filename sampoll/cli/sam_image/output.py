"""Standard output of the commands of the SAM image."""

from datetime import datetime

from sampoll.cli.output import show_aside


def say(*lines: str) -> None:
    """Writes lines to standard output; whether they arrive changes nothing about the work."""
    for line in lines:
        show_aside(line)


def say_now(message: str, *more_lines: str) -> None:
    """Writes a message after the date and the time, as the original commands do: two spaces after a dash."""
    say(f"{datetime.now()} -  {message}", *more_lines)
