"""Writes a scene by other tools, in formats that `sampoll prompts import` reads."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.exchange.readers import fiftyone_importer
from benchmarks.exchange.scene import Exports, Scene

Write = Callable[[Scene, Exports, Path], tuple[str, Path]]
"""Writes a data set into a folder; returns what `--from` and SOURCE have to be. The images of the scene are
those of the exports."""


def _globox(exports: Exports) -> Any:
    from globox import AnnotationSet

    return AnnotationSet.from_coco(exports.coco)


def _globox_coco(_: Scene, exports: Exports, folder: Path) -> tuple[str, Path]:
    _globox(exports).save_coco(folder / "coco.json", auto_ids=True)
    return "coco", folder / "coco.json"


def _globox_yolo(scene: Scene, exports: Exports, folder: Path) -> tuple[str, Path]:
    labels = sorted({thing.label for things in scene.values() for thing in things})
    _globox(exports).save_yolo_v5(
        folder / "labels", label_to_id={label: number for number, label in enumerate(labels)}
    )
    (folder / "classes.txt").write_text("\n".join(labels), "utf-8")
    return "yolo", folder


def _globox_labelme(_: Scene, exports: Exports, folder: Path) -> tuple[str, Path]:
    _globox(exports).save_labelme(folder)
    return "labelme", folder


def _supervision(scene: Scene, exports: Exports) -> Any:
    from supervision import DetectionDataset, Detections

    classes = sorted({thing.label for things in scene.values() for thing in things})
    found = {
        str(exports.images / f"{name}.png"): Detections(
            xyxy=np.array([thing.box for thing in things], np.float32),
            mask=np.array([thing.mask for thing in things]),
            class_id=np.array([classes.index(thing.label) for thing in things]),
        )
        for name, things in scene.items()
    }
    return DetectionDataset(classes=classes, images=[*found], annotations=found)


def _supervision_coco(scene: Scene, exports: Exports, folder: Path) -> tuple[str, Path]:
    _supervision(scene, exports).as_coco(annotations_path=str(folder / "coco.json"))
    return "coco", folder / "coco.json"


def _supervision_yolo(scene: Scene, exports: Exports, folder: Path) -> tuple[str, Path]:
    _supervision(scene, exports).as_yolo(
        annotations_directory_path=str(folder / "labels"), data_yaml_path=str(folder / "data.yaml")
    )
    return "yolo", folder


def _supervision_labelme(scene: Scene, exports: Exports, folder: Path) -> tuple[str, Path]:
    _supervision(scene, exports).as_labelme(annotations_directory_path=str(folder))
    return "labelme", folder


def _datumaro(kind: str, exports: Exports, folder: Path) -> None:
    from datumaro.components.dataset import Dataset

    # The folder that was made for reading by it.
    read = Dataset.import_from(str(exports.root / "datumaro"), format="coco_instances")
    if kind == "yolo_ultralytics":
        read.transform("random_split", splits=[("train", 0.5), ("val", 0.5)])
    read.export(str(folder), kind, save_media=False)


def _datumaro_coco(_: Scene, exports: Exports, folder: Path) -> tuple[str, Path]:
    _datumaro("coco_instances", exports, folder)
    [written] = (folder / "annotations").glob("instances_*.json")
    return "coco", written


def _datumaro_yolo(_: Scene, exports: Exports, folder: Path) -> tuple[str, Path]:
    _datumaro("yolo", exports, folder)
    return "yolo", folder


def _datumaro_ultralytics(_: Scene, exports: Exports, folder: Path) -> tuple[str, Path]:
    _datumaro("yolo_ultralytics", exports, folder)
    return "yolo", folder / "data.yaml"


def _ultralytics_predictions(scene: Scene, exports: Exports, folder: Path) -> tuple[str, Path]:
    import torch
    from ultralytics.engine.results import Results

    labels = sorted({thing.label for things in scene.values() for thing in things})
    for name, things in scene.items():
        boxes = torch.tensor([[*thing.box, 0.9, labels.index(thing.label)] for thing in things])
        pixels = cv2.imread(str(exports.images / f"{name}.png"))
        result = Results(pixels, path=name, names=dict(enumerate(labels)), boxes=boxes)
        result.save_txt(folder / "labels" / f"{name}.txt", save_conf=True)
    (folder / "classes.txt").write_text("\n".join(labels), "utf-8")
    return "yolo", folder


def _ultralytics_coco(scene: Scene, exports: Exports, folder: Path) -> tuple[str, Path]:
    from ultralytics.data.converter import convert_coco

    labels = sorted({thing.label for things in scene.values() for thing in things})
    (folder / "annotations").mkdir()
    os.link(exports.coco_polygons, folder / "annotations/instances.json")
    convert_coco(str(folder / "annotations"), str(folder / "set"), use_segments=True, cls91to80=False)
    (folder / "set/classes.txt").write_text("\n".join(labels), "utf-8")
    return "yolo", folder / "set"


def _labelme(_: Scene, exports: Exports, folder: Path) -> tuple[str, Path]:
    from labelme import LabelFile

    for path in sorted(exports.labelme.glob("*.json")):
        read = LabelFile(str(path))
        read.save(
            str(folder / path.name),
            shapes=read.shapes,
            image_path=f"{path.stem}.png",
            image_height=None,
            image_width=None,
            flags=read.flags,
        )
    return "labelme", folder


def _fiftyone(exporter: Any, exports: Exports) -> None:
    from fiftyone.core.metadata import ImageMetadata

    with fiftyone_importer(exports) as importer, exporter:
        for path, _, labels in importer:
            exporter.export_sample(path, labels, ImageMetadata.build_for(path))


def _fiftyone_coco(_: Scene, exports: Exports, folder: Path) -> tuple[str, Path]:
    from fiftyone.utils.coco import COCODetectionDatasetExporter

    path = folder / "coco.json"
    _fiftyone(COCODetectionDatasetExporter(labels_path=str(path), export_media=False), exports)
    return "coco", path


def _fiftyone_yolo(scene: Scene, exports: Exports, folder: Path) -> tuple[str, Path]:
    from fiftyone.utils.yolo import YOLOv5DatasetExporter

    labels = sorted({thing.label for things in scene.values() for thing in things})
    _fiftyone(YOLOv5DatasetExporter(export_dir=str(folder), classes=labels), exports)
    return "yolo", folder


WRITERS: Mapping[str, Mapping[str, Write]] = {
    "globox": {"COCO": _globox_coco, "YOLO": _globox_yolo, "LabelMe": _globox_labelme},
    "supervision": {"COCO": _supervision_coco, "YOLO": _supervision_yolo, "LabelMe": _supervision_labelme},
    "datumaro": {
        "COCO": _datumaro_coco,
        "YOLO": _datumaro_yolo,
        "YOLO, Ultralytics": _datumaro_ultralytics,
    },
    "ultralytics": {"YOLO, predictions": _ultralytics_predictions, "YOLO, of COCO": _ultralytics_coco},
    "labelme": {"LabelMe": _labelme},
    "fiftyone": {"COCO": _fiftyone_coco, "YOLO": _fiftyone_yolo},
}
"""Each tool's way to write each format."""
