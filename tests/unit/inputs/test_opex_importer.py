"""Records as a source of prompts."""

import hashlib
import json
from pathlib import Path
from typing import Any

from support.images import encoded, image_of
from support.importing import IMAGE, annotated, imported

from sampoll.core.jobs import Box, Prompt
from sampoll.files.file_set import replaced_set


def opex(left: int, top: int, right: int, bottom: int, **meta: str) -> dict[str, Any]:
    box = {"left": left, "top": top, "right": right, "bottom": bottom}
    return {"score": 1.0, "label": "cat", "bbox": box, "meta": meta}


def record(
    result: bytes, *objects: dict[str, Any], size: tuple[int, int] = (24, 32), name: str = "a.png"
) -> str:
    """A record as sampoll writes it, of a result that has this one file."""
    files = {name: hashlib.sha256(result).hexdigest()}
    stated = {"height": size[0], "width": size[1]}
    meta = {"files": json.dumps(files), "image_size": json.dumps(stated)}
    return json.dumps({"objects": objects, "meta": meta})


def test_the_mask_beside_a_record_is_not_taken_for_the_photograph(tmp_path: Path) -> None:
    source, photographs = tmp_path / "out", tmp_path / "photographs"
    mask = encoded(image_of(seed=1))
    for folder in (source, photographs):
        folder.mkdir()
    (source / "a.png").write_bytes(mask)
    (source / "a.json").write_text(record(mask, opex(1, 1, 2, 2, prompt="0", mask="0")))
    (photographs / "a.jpg").write_bytes(encoded(image_of(), "JPEG"))

    assert imported("opex", source) == [
        f"{source / 'a.json'}: has no image a in {source}; a.png is a result: "
        "name the folder of the photographs by --images"
    ]
    assert [image.path for image in annotated("opex", source, photographs)] == [photographs / "a.jpg"]


def test_exports_beside_records_are_not_taken_for_records(tmp_path: Path) -> None:
    source = tmp_path / "out"
    for kind in ("labelme", "coco", "else"):
        (source / kind).mkdir(parents=True)
    of_run, of_export, of_others = b'{"shapes": []}', b'{"images": []}', b'{"shapes": [1]}'
    (source / "labelme" / "a.json").write_bytes(of_run)
    with replaced_set(source / "coco") as files:
        files.write("instances.json", of_export)
    (source / "else" / "a.json").write_bytes(of_others)
    (source / "a.jpg").write_bytes(IMAGE)
    box = opex(1, 1, 2, 2, prompt="0", mask="0")
    (source / "a.json").write_text(record(of_run, box, name="labelme/a.json"))

    assert imported("opex", source) == [
        "a.jpg",
        f'{source / "else" / "a.json"}: is no OPEX file: it has no list of "objects"',
    ]


def test_the_photograph_beside_a_record_and_its_mask_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(IMAGE)
    (tmp_path / "a.jpg").write_bytes(encoded(image_of(), "JPEG"))
    (tmp_path / "a.json").write_text(record(IMAGE, opex(1, 1, 2, 2, prompt="0", mask="0")))

    assert [image.path.name for image in annotated("opex", tmp_path)] == ["a.jpg"]


def test_parts_of_one_mask_are_one_prompt_in_a_record_and_objects_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(IMAGE)
    objects = [
        opex(1, 2, 4, 4, prompt="0", mask="0", prompt_id="x"),
        opex(8, 1, 9, 3, prompt="0", mask="0", prompt_id="x"),
        opex(1, 1, 2, 2, prompt="0", mask="1", prompt_id="x"),
    ]
    (tmp_path / "a.json").write_text(record(b"", *objects))

    [image] = annotated("opex", tmp_path)

    assert image.prompts == (
        Prompt(box=Box(1, 1, 10, 5), label="cat", id="x"),
        Prompt(box=Box(1, 1, 3, 3), label="cat", id="x"),
    )
    assert image.fields == ("objects[0]", "objects[2]")
    (tmp_path / "a.json").write_text(json.dumps({"objects": objects, "meta": {}}))
    [image] = annotated("opex", tmp_path)
    assert len(image.prompts) == 3


def test_a_record_about_an_image_of_another_size_is_passed_over(tmp_path: Path) -> None:
    source = tmp_path / "set"
    source.mkdir()
    (source / "a.png").write_bytes(IMAGE)
    (source / "a.json").write_text(record(b"", opex(1, 1, 2, 2, prompt="0", mask="0"), size=(48, 64)))

    assert imported("opex", source) == ["a.png: has 32x24 pixels, and 64x48 according to the data set"]


def test_two_images_of_one_stem_are_named(tmp_path: Path) -> None:
    source = tmp_path / "set"
    source.mkdir()
    for name in ("a.png", "a.jpg"):
        (source / name).write_bytes(IMAGE)
    (source / "a.json").write_text(json.dumps({"objects": [opex(1, 1, 2, 2)]}))

    assert imported("opex", source) == [f"{source / 'a.json'}: has 2 images: a.jpg, a.png"]
