"""The pages of a service for people, as HTML: its status, and the last pictures."""

import shlex
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sampoll.core.names import printable
from sampoll.core.wording import duration_text
from sampoll.monitoring.health import Health
from sampoll.monitoring.history import History
from sampoll.monitoring.page.figures import main_figures, small_figures
from sampoll.monitoring.page.left import RecentLeftovers, grouped
from sampoll.monitoring.page.plot import plotted
from sampoll.monitoring.pictures import KEPT, Pictures, Thumbnail
from sampoll.monitoring.state import State
from sampoll.monitoring.templates import page_template

PACKAGE = "sampoll.monitoring.page"
SHOWN_NAMES = 20
SHOWN_CHARACTERS = 255
"""Of a name or a message. Longer ones would hide the others, and are in the log and the report of the job."""
SENTENCES = {
    State.STARTING: "The model is being loaded. Jobs wait until then.",
    State.WORKING: "",
    State.PAUSED: "No job is begun; the service continues automatically once the cause is gone.",
    State.STOPPING: "The jobs that run are finished, and no others are begun.",
    State.STALLED: "No progress for {still}: restart the service. Nothing is lost.",
}
ABOUT = ("service", "input", "output", "server", "model", "device", "precision", "host", "pid", "sampoll")


class Pages:
    """`pictures` is None if they must not be shown, `leftovers` if the jobs come from no directory."""

    def __init__(
        self,
        health: Health,
        history: History,
        failed_pairs: Callable[[], int],
        pictures: Pictures | None = None,
        leftovers: RecentLeftovers | None = None,
    ) -> None:
        self._health = health
        self._history = history
        self._failed_pairs = failed_pairs
        self._pictures = pictures
        self._leftovers = leftovers
        self._status = page_template(PACKAGE, "status.html.jinja")
        self._picture = page_template(PACKAGE, "picture.html.jinja")

    def status(self) -> str:
        """The whole state of the service."""
        now = self._health.document()
        running, queued = self._health.running_and_queued()
        look = None if self._leftovers is None else self._leftovers.last_look()
        failed_pairs = None if look is None else self._failed_pairs()
        about = {key: printable(str(now[key])) for key in ABOUT if now.get(key) is not None}
        rate = self._history.jobs_per_second()
        return self._status.render(
            root="",
            now=now,
            about=about,
            place=about.get("input") or about.get("server", ""),
            as_of=_utc(time.time()),
            started=datetime.fromisoformat(now["started"]),
            sentence=_sentence(now),
            main_figures=main_figures(now, rate, has_input=look is not None),
            figures=small_figures(now, len(running), len(queued), failed_pairs),
            hour=plotted(self._history.minutes()),
            work={"Running": running, "Queued": queued},
            shown_names=SHOWN_NAMES,
            longest=SHOWN_CHARACTERS,
            failures=[
                {**failure, "at": datetime.fromisoformat(failure["at"])}
                for failure in self._health.failures()
            ],
            failed_list=f"sampoll failed list --input {shlex.quote(about['input'])}"
            if failed_pairs
            else None,
            look=look,
            groups=() if look is None else grouped(look.leftovers),
            pictures=None if self._pictures is None else self._pictures.kept(),
        )

    def picture(self, number: int, picture: Thumbnail | None) -> str:
        """The page of a picture, with links to those before and after it; it says so if it is not kept."""
        numbers = {each.number for each in self._pictures.kept()} if self._pictures else set()
        return self._picture.render(
            root="../",
            picture=picture,
            made_at=None if picture is None else _utc(picture.made_at),
            newer=number + 1 if number + 1 in numbers else None,
            older=number - 1 if number - 1 in numbers else None,
            kept=KEPT,
        )


def _sentence(now: Mapping[str, Any]) -> str:
    state = State(now["state"])
    if state is State.WORKING and not now["in_flight"] and not now["waiting"]["ready"]:
        return "It waits for jobs."
    sentence = SENTENCES[state].format(still=duration_text(now["progress_seconds_ago"]))
    return f"{now['reason']}. {sentence}" if now["reason"] else sentence


def _utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
