"""The labelling configuration of a project: which controls get masks, and where the image of a task is.

https://labelstud.io/tags/
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from sampoll.core.errors import BadPrompt, BadRequest
from sampoll.inputs.prompt_errors import cut

MAX_CHARACTERS = 2**20
BRUSHES, POLYGONS = ("BrushLabels", "Brush"), ("PolygonLabels", "Polygon")


@dataclass(frozen=True)
class Control:
    """What a mask is answered as: the control `name` for the image `to_name`, a brush or polygons. `kind` is
    the type of its regions; `labels` are those that it has, empty if they are not fixed."""

    name: str
    to_name: str
    kind: str
    is_brush: bool
    labels: Sequence[str] = ()

    def labels_of(self, label: str | None) -> Mapping[str, Sequence[str]]:
        """The entry of a region's value for its label; BadPrompt if the control does not have it."""
        if label is None or not self.kind.endswith("labels"):
            return {}
        if self.labels and label not in self.labels:
            raise BadPrompt(
                f"{cut(label)} is not a label of {self.name!r}, whose regions the masks become: give both "
                "controls the same labels",
                field="label",
            )
        return {self.kind: [label]}


@dataclass(frozen=True)
class Images:
    """The tag <Image>: the image of a task is its data `key`; with `is_list`, that is a list of images."""

    name: str
    key: str
    is_list: bool = False


@dataclass(frozen=True)
class LabelConfig:
    images: Sequence[Images]
    controls: Sequence[Control]

    def for_image(self, name: str) -> tuple[Images, Control]:
        """The tag of this name, and the control of its masks; BadRequest if there is none."""
        images = next((each for each in self.images if each.name == name), None)
        control = next((each for each in self.controls if each.to_name == name), None)
        if images is None or control is None:
            raise BadRequest("has no such <Image> with a <BrushLabels> or <PolygonLabels>", field=name)
        return images, control


def label_config(xml: Any) -> LabelConfig:
    """The images that can have masks, and the first control of masks of each. BadRequest says what to add to
    a configuration without any."""
    if not isinstance(xml, str) or len(xml) > MAX_CHARACTERS or "<!DOCTYPE" in xml.upper():
        raise BadRequest("must be the labelling configuration of a project, in XML", field="label_config")
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise BadRequest(f"is not XML: {error}", field="label_config") from error
    images = [each for tag in root.iter("Image") if (each := _images(tag)) is not None]
    controls = list(_controls(root))
    names = {each.to_name for each in controls}
    usable = [each for each in images if each.name in names]
    if not usable:
        raise BadRequest(
            'needs an <Image>, and for it a <BrushLabels> or <PolygonLabels> with toName="the image\'s name"',
            field="label_config",
        )
    return LabelConfig(usable, controls)


def _images(tag: ElementTree.Element) -> Images | None:
    name, value, values = tag.get("name", ""), tag.get("value", ""), tag.get("valueList", "")
    if name and value.startswith("$"):
        return Images(name, value[1:])
    return Images(name, values[1:], is_list=True) if name and values.startswith("$") else None


def _controls(root: ElementTree.Element) -> Iterator[Control]:
    """The controls of masks, in their order, each with the labels inside of it."""
    found: list[tuple[ElementTree.Element, list[str]]] = []
    waiting: list[tuple[ElementTree.Element, list[str]]] = [(root, [])]
    while waiting:
        tag, labels = waiting.pop()
        if tag.tag in (*BRUSHES, *POLYGONS):
            labels = []
            found.append((tag, labels))
        elif tag.tag == "Label" and (label := tag.get("alias") or tag.get("value")):
            labels.append(label)
        waiting += [(child, labels) for child in reversed(tag)]
    for tag, labels in found:
        if name := tag.get("name"):
            for image in tag.get("toName", "").split(","):
                yield Control(name, image.strip(), tag.tag.lower(), tag.tag in BRUSHES, labels)
