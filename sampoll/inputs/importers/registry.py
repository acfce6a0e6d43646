"""The kinds of data sets that can be imported, by name."""

from collections.abc import Mapping

from sampoll.inputs.importers import coco, csv_table, labelme, opex, yolo
from sampoll.inputs.importers.base import Read

KINDS: Mapping[str, Read] = {
    "coco": coco.read,
    "yolo": yolo.read,
    "labelme": labelme.read,
    "opex": opex.read,
    "csv": csv_table.read,
}
