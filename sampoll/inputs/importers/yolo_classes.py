"""What a YOLO data set says about its classes, in a data.yaml or in a list of names."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import yaml

from sampoll.core.errors import BadPrompt, InputUnavailable
from sampoll.inputs.importers.base import text_of

IMAGE_KEYS = ("train", "val", "validation", "test", "minival")
"""Where the images are, according to a data.yaml."""


@dataclass(frozen=True)
class Classes:
    """The names of the classes in `file`, by number.

    `keypoints` is how many an object has, and the 2 or 3 numbers of each, if the data set has any.
    """

    file: Path
    names: Mapping[int, str]
    keypoints: tuple[int, int] | None = None

    def label(self, number: int) -> str:
        """The name of this class; ValueError if it has none."""
        name = self.names.get(number)
        if not name:
            raise ValueError(f"class {number} has no name in {self.file}")
        return name

    def differs(self, other: "Classes") -> bool:
        """Whether a class has one name here and another one there."""
        shared = self.names.keys() & other.names.keys()
        return any(self.names[number] != other.names[number] for number in shared)

    def problems(self) -> Iterator[BadPrompt]:
        """An error for each name that several classes have: an import does not keep them apart."""
        numbers = sorted(self.names, key=lambda number: (self.names[number], number))
        for name, same in groupby(numbers, key=self.names.__getitem__):
            shared = ", ".join(map(str, same))
            if name and "," in shared:
                yield BadPrompt(
                    f"{name!r} is the name of classes {shared}: they become one",
                    file=str(self.file),
                    field="names",
                )


def described(path: Path) -> Classes:
    """The classes of a data.yaml; InputUnavailable if it has none."""
    values = _values(path)
    try:
        names = dict(_names(values.get("names")))
    except ValueError as error:
        raise InputUnavailable(f'{path} has no "names" of classes: {error}') from error
    return Classes(path, names, _keypoints(values.get("kpt_shape"), path))


def describes_classes(path: Path) -> bool:
    """Whether a YAML file is the description of a data set."""
    try:
        return "names" in _values(path)
    except InputUnavailable:
        return False


def listed(path: Path) -> Classes:
    """The classes of a list, one name per line."""
    return Classes(path, dict(enumerate(line.strip() for line in text_of(path).splitlines())))


def images_elsewhere(path: Path) -> Iterator[BadPrompt]:
    """An error for each existing place outside the folder of a data.yaml where it says that images are. They
    are not imported: a data set must not fetch other files of this machine."""
    values = _values(path)
    base = path.parent.joinpath(*_texts(values.get("path")))
    for key in IMAGE_KEYS:
        for text in _texts(values.get(key)):
            place = Path(os.path.normpath(base / text))
            # Unlike Path.exists, false for what can be no path.
            if not place.is_relative_to(path.parent) and os.path.exists(place):  # noqa: PTH110
                yield BadPrompt(
                    f"{place} is not below the folder of this file, and is left out: copy this file to there",
                    file=str(path),
                    field=key,
                )


def _values(path: Path) -> Mapping[str, yaml.Node]:
    """The values of a YAML file by key, as they are written: loaders raise anything for dates, take `no` for
    a boolean, and follow aliases without end."""
    try:
        document = yaml.compose(text_of(path), yaml.BaseLoader)
        return dict(_items(document)) if isinstance(document, yaml.MappingNode) else {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputUnavailable(f'{path} has no "names" of classes: {error}') from error


def _items(node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node]]:
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ValueError("each key must be a single value")
        yield key.value, value


def _names(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    if not isinstance(node, yaml.SequenceNode | yaml.MappingNode):
        raise ValueError("must be a list, or names by number")
    seen: set[int] = set()
    for key, value in enumerate(node.value) if isinstance(node, yaml.SequenceNode) else _items(node):
        try:
            number = int(key)
        except ValueError as error:
            raise ValueError("must be a list, or names by number") from error
        if not isinstance(value, yaml.ScalarNode):
            raise ValueError("each must be a single value")
        if number in seen:
            raise ValueError(f"class {number} has two names")
        seen.add(number)
        yield number, value.value


def _keypoints(node: yaml.Node | None, path: Path) -> tuple[int, int] | None:
    if node is None:
        return None
    try:
        count, numbers = map(int, _texts(node))
        if count < 1 or numbers not in (2, 3):
            raise ValueError
    except ValueError as error:
        raise InputUnavailable(f"{path}: kpt_shape must be two whole numbers, such as [17, 3]") from error
    return count, numbers


def _texts(node: yaml.Node | None) -> list[str]:
    """The single values of a list, or the one value that takes its place."""
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return [each.value for each in nodes if isinstance(each, yaml.ScalarNode)]
