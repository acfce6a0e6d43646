"""The same checks for every fault test: was anything lost, torn, or done twice?"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from support.folders import Folders, drop_pair, files_below, names_in
from support.images import encoded, image_of, read_mask

GOOD = {"box": {"x0": 4, "y0": 4, "x1": 20, "y1": 16}}
TWO = {"prompts": [GOOD, {"points": [{"x": 3, "y": 2, "label": 1}]}]}
BAD = {"box": {"x0": 9, "y0": 0, "x1": 1, "y1": 1}}


@dataclass
class Dropped:
    """What was put into the input: the digest of every file, and how every stem must end."""

    folders: Folders
    digests: dict[str, str] = field(default_factory=dict)
    must_fail: dict[str, bool] = field(default_factory=dict)
    suffixes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def pair(self, name: str, prompt: object, *, must_fail: bool = False, height: int = 24) -> None:
        """Drops a pair whose content no other pair has."""
        drop_pair(self.folders.input, name, prompt, image=image_of(seed=len(self.digests)))
        prompt_file = self.folders.input / f"{name}.json"
        prompt_file.write_text(prompt_file.read_text() + " " * len(self.digests))
        self._remember(name, (".jpg", ".json"), must_fail)

    def image(self, name: str) -> None:
        """Drops an image without a prompt, whose content no other has."""
        image = encoded(image_of(seed=len(self.digests)), "JPEG")
        (self.folders.input / f"{name}.jpg").write_bytes(image)
        self._remember(name, (".jpg",), False)

    def _remember(self, name: str, suffixes: tuple[str, ...], must_fail: bool) -> None:
        for suffix in suffixes:
            path = self.folders.input / f"{name}{suffix}"
            self.digests[path.name] = _digest(path)
        self.suffixes[name] = suffixes
        self.must_fail[name] = must_fail

    def assert_nothing_is_lost_or_torn(self) -> None:
        """Holds at every moment, also right after a kill."""
        kept = {_digest(path) for path in self.folders.input.rglob("*") if path.is_file()}
        lost = [name for name, digest in self.digests.items() if digest not in kept]
        assert lost == [], "these files are nowhere"
        for path in self.folders.output.glob("*.png"):
            read_mask(path)
        jobs: Counter[str] = Counter()
        for path in self.folders.output.glob("*.json"):
            meta = json.loads(path.read_text())["meta"]
            jobs[meta["job_id"]] += 1
            for name, digest in json.loads(meta["files"]).items():
                listed = _digest(self.folders.output / name)
                assert listed == digest, f"{path.name} lists a file that is not there as listed"
        assert max(jobs.values(), default=1) == 1, "a job was committed twice"

    def assert_everything_ended_once(self) -> None:
        """Holds when nothing is left to do."""
        self.assert_nothing_is_lost_or_torn()
        good = [name for name, fails in self.must_fail.items() if not fails]
        bad = [name for name, fails in self.must_fail.items() if fails]
        records = [name for name in self.folders.results if name.endswith(".json")]
        assert records == sorted(f"{name}.json" for name in good), "one result for each good pair"
        assert self.folders.done == sorted(f"{name}{s}" for name in good for s in self.suffixes[name])
        assert self.folders.failed == sorted(
            f"{name}{s}" for name in bad for s in (*self.suffixes[name], ".error.json")
        )
        for record in records:
            listed = json.loads(json.loads((self.folders.output / record).read_text())["meta"]["files"])
            assert all((self.folders.output / name).exists() for name in listed)
        assert self.folders.waiting == []
        for private in ("work", "deferred"):
            assert names_in(self.folders.input / ".sampoll" / private) == []
        assert names_in(self.folders.output / ".sampoll" / "stage") == []
        assert files_below(self.folders.output / ".sampoll" / "names") == []


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
