"""Reads the data sets that sampoll exports, by other tools."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.exchange.scene import Exports, Scene, Thing, thing

Read = Callable[[Exports], Scene]


def _by_pycocotools(path: Path) -> Scene:
    from pycocotools.coco import COCO

    read = COCO(str(path))
    names = {category["id"]: category["name"] for category in read.dataset["categories"]}
    return {
        Path(image["file_name"]).stem: [
            thing(names[found["category_id"]], read.annToMask(found) == 1)
            for found in read.loadAnns(read.getAnnIds(imgIds=image["id"]))
        ]
        for image in read.dataset["images"]
    }


def _of_globox(read: Any, names: Mapping[str, str] | None = None) -> Scene:
    return {
        Path(found.image_id).stem: [
            Thing((names or {}).get(box.label, box.label), (box.xmin, box.ymin, box.xmax, box.ymax))
            for box in found.boxes
        ]
        for found in read
    }


def _globox_coco(exports: Exports) -> Scene:
    from globox import AnnotationSet

    return _of_globox(AnnotationSet.from_coco(exports.coco))


def _globox_yolo(exports: Exports) -> Scene:
    import yaml
    from globox import AnnotationSet

    names = yaml.safe_load((exports.yolo / "data.yaml").read_text("utf-8"))["names"]
    found = AnnotationSet.from_yolo_seg(
        exports.yolo / "labels", image_folder=exports.yolo / "images", image_extension=".png"
    )
    return _of_globox(found, {str(number): name for number, name in names.items()})


def _globox_labelme(exports: Exports) -> Scene:
    from globox import AnnotationSet

    return _of_globox(AnnotationSet.from_labelme(exports.labelme, include_poly=True))


def _of_supervision(read: Any) -> Scene:
    return {
        Path(path).stem: [
            Thing(read.classes[number], tuple(box.tolist()), mask)
            for box, mask, number in zip(found.xyxy, found.mask, found.class_id, strict=True)
        ]
        for path, found in read.annotations.items()
    }


def _supervision_coco(path: Path, exports: Exports) -> Scene:
    from supervision import DetectionDataset

    read = DetectionDataset.from_coco(str(exports.images), str(path), force_masks=True)
    return _of_supervision(read)


def _supervision_yolo(exports: Exports) -> Scene:
    from supervision import DetectionDataset

    places = (exports.yolo / "images", exports.yolo / "labels", exports.yolo / "data.yaml")
    return _of_supervision(DetectionDataset.from_yolo(*map(str, places), force_masks=True))


def _supervision_labelme(exports: Exports) -> Scene:
    from supervision import DetectionDataset

    return _of_supervision(DetectionDataset.from_labelme(str(exports.images), str(exports.labelme)))


def _datumaro(path: Path, kind: str) -> Scene:
    from datumaro.components.annotation import AnnotationType
    from datumaro.components.dataset import Dataset

    read = Dataset.import_from(str(path), format=kind)
    labels = read.categories()[AnnotationType.label]
    scene = {}
    for item in read:
        # An object is a group of a box and a mask.
        groups: dict[int, Thing] = {}
        for found in item.annotations:
            if found.group not in groups or hasattr(found, "image"):
                groups[found.group] = _of_datumaro(found, labels[found.label].name)
        scene[Path(item.id).stem] = [*groups.values()]
    return scene


def _of_datumaro(found: Any, label: str) -> Thing:
    left, top, width, height = found.get_bbox()
    mask = np.asarray(found.image) > 0 if hasattr(found, "image") else None
    return Thing(label, (left, top, left + width, top + height), mask)


def _datumaro_coco(exports: Exports) -> Scene:
    folder = exports.root / "datumaro"
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    (folder / "annotations/instances_default.json").write_bytes(exports.coco.read_bytes())
    return _datumaro(folder, "coco_instances")


def _datumaro_yolo(exports: Exports) -> Scene:
    return _datumaro(exports.yolo, "yolo")


def _ultralytics_yolo(exports: Exports) -> Scene:
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset, polygon2mask

    data = check_det_dataset(str(exports.yolo / "data.yaml"), autodownload=False)
    read = YOLODataset(img_path=data["train"], data=data, task="segment", augment=False, cache=False)
    scene = {}
    for found in read.labels:
        height, width = found["shape"]
        scene[Path(found["im_file"]).stem] = [
            thing(
                data["names"][int(number)],
                polygon2mask((height, width), [(polygon * (width, height)).ravel()]) > 0,
            )
            for number, polygon in zip(found["cls"].ravel(), found["segments"], strict=True)
        ]
    return scene


def _labelme(exports: Exports) -> Scene:
    from labelme import LabelFile
    from labelme.utils import shape_to_mask

    scene = {}
    for path in sorted(exports.labelme.glob("*.json")):
        file = LabelFile(str(path))
        with Image.open(path.parent / file.image_path) as image:
            size = image.size[::-1]
        groups: dict[Any, tuple[str, Any]] = {}
        for shape in file.shapes:
            mask = shape_to_mask(size, shape["points"], shape["shape_type"])
            label, before = groups.get(shape["group_id"], (shape["label"], False))
            groups[shape["group_id"]] = (label, before | mask)
        scene[path.stem] = [thing(label, mask) for label, mask in groups.values()]
    return scene


def _of_fiftyone(importer: Any, scene_size: Mapping[str, tuple[int, int]]) -> Scene:
    scene = {}
    with importer:
        for path, _, labels in importer:
            name = Path(path).stem
            found = labels.detections if labels is not None else []
            scene[name] = [_of_detection(each, scene_size[name]) for each in found]
    return scene


def _of_detection(found: Any, size: tuple[int, int]) -> Thing:
    """Its mask is that of the pixels in its box."""
    height, width = size
    left, top = round(found.bounding_box[0] * width), round(found.bounding_box[1] * height)
    mask = np.zeros(size, np.bool_)
    rows, columns = found.mask.shape
    mask[top : top + rows, left : left + columns] = found.mask[: height - top, : width - left]
    return thing(found.label, mask)


def _sizes(folder: Path) -> Mapping[str, tuple[int, int]]:
    sizes = {}
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            sizes[path.stem] = (image.height, image.width)
    return sizes


def fiftyone_importer(exports: Exports) -> Any:
    """FiftyOne's own importer of COCO, which needs no database."""
    from fiftyone.utils.coco import COCODetectionDatasetImporter

    return COCODetectionDatasetImporter(
        data_path=str(exports.images), labels_path=str(exports.coco), label_types=["segmentations"]
    )


def _fiftyone_coco(exports: Exports) -> Scene:
    return _of_fiftyone(fiftyone_importer(exports), _sizes(exports.images))


def _fiftyone_yolo(kind: str, exports: Exports) -> Scene:
    from fiftyone.utils.yolo import YOLOv5DatasetImporter

    importer = YOLOv5DatasetImporter(
        dataset_dir=str(exports.yolo), split="train", yaml_path="data.yaml", label_type=kind
    )
    sizes = _sizes(exports.yolo / "images")
    if kind == "instances":
        return _of_fiftyone(importer, sizes)
    with importer:
        return {
            Path(path).stem: [_of_polyline(each, sizes[Path(path).stem]) for each in labels.polylines]
            for path, _, labels in importer
        }


def _of_polyline(found: Any, size: tuple[int, int]) -> Thing:
    height, width = size
    rings = [np.round(np.array(ring) * (width, height)).astype(np.int32) for ring in found.points]
    return thing(found.label, cv2.fillPoly(np.zeros(size, np.uint8), rings, 1) > 0)


def _roboflow_coco(exports: Exports) -> Scene:
    """What its client uploads for each image."""
    from roboflow.util.folderparser import parsefolder

    folder = exports.root / "roboflow-coco"
    folder.mkdir(exist_ok=True)
    for path in (exports.coco, *exports.images.glob("*.png")):
        (folder / path.name).write_bytes(path.read_bytes())
    whole: dict[str, list[Thing]] = {}
    for image in parsefolder(str(folder))["images"]:
        part = exports.root / f"roboflow-{image['key']}.json"
        part.write_text(image["annotationfile"]["rawText"])
        whole |= {name: [*things] for name, things in _by_pycocotools(part).items()}
    return whole


def _roboflow_yolo(exports: Exports) -> Scene:
    """What its client uploads for each image: a file of labels, and the names of its classes."""
    from roboflow.util.folderparser import parsefolder

    scene: dict[str, list[Thing]] = {}
    sizes = _sizes(exports.yolo / "images")
    for image in parsefolder(str(exports.yolo))["images"]:
        file, (height, width) = image["annotationfile"], sizes[image["key"]]
        scene[image["key"]] = []
        for line in (exports.yolo / file["file"].lstrip("/")).read_text().splitlines():
            number, *places = line.split()
            points = np.array(places, np.float64).reshape(-1, 2) * (width, height)
            box = (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())
            scene[image["key"]].append(Thing(file["labelmap"][int(number)], box))
    return scene


READERS: Mapping[str, Mapping[str, Read]] = {
    "pycocotools": {
        "COCO": lambda exports: _by_pycocotools(exports.coco),
        "COCO, --coco-polygons": lambda exports: _by_pycocotools(exports.coco_polygons),
    },
    "globox": {"COCO": _globox_coco, "YOLO": _globox_yolo, "LabelMe": _globox_labelme},
    "supervision": {
        "COCO": lambda exports: _supervision_coco(exports.coco, exports),
        "COCO, --coco-polygons": lambda exports: _supervision_coco(exports.coco_polygons, exports),
        "YOLO": _supervision_yolo,
        "LabelMe": _supervision_labelme,
    },
    "datumaro": {"COCO": _datumaro_coco, "YOLO": _datumaro_yolo},
    "ultralytics": {"YOLO": _ultralytics_yolo},
    "labelme": {"LabelMe": _labelme},
    "fiftyone": {
        "COCO": _fiftyone_coco,
        **{f"YOLO, {kind}": partial(_fiftyone_yolo, kind) for kind in ("instances", "polylines")},
    },
    "roboflow": {"COCO": _roboflow_coco, "YOLO": _roboflow_yolo},
}
"""Each tool's way to read each format."""
