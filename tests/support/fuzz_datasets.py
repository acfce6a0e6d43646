"""Data sets with something wrong in them, made from valid ones."""

import base64
from collections.abc import Callable, Mapping
from random import Random

from support.fuzz_documents import damaged, document_bytes, odd, word
from support.fuzz_images import SIZES, valid_image

Tree = dict[str, bytes]
"""Files by their relative paths; a path that ends with a slash is an empty folder."""
IMPORTERS = ("coco", "yolo", "labelme", "opex", "csv")
_NAMES = ("a.jpg", "sub/a.png", "b.JPG", "a.b.png", "x" * 230 + ".png", "é.png")
_ODD_NAMES = (
    "../a.jpg",
    "/etc/passwd",
    "x" * 300 + ".jpg",
    "a\0.jpg",
    "done/a.jpg",
    "x" * 300 + "/done/a.jpg",
    "",
)
_ODD_PLACES = ("data.yaml", "classes.txt", "labels/classes.txt", "notes.txt", "other.json", "labels/b.txt")


def tree(random: Random, importer: str) -> Tree:
    """A data set for this importer; its annotations are the file or folder that `source_of` names."""
    names = random.sample(_NAMES, random.randrange(1, 3))
    pixels = valid_image("PNG", 0, SIZES[0], 0)
    images = {name: damaged(random, pixels) if random.random() < 0.05 else pixels for name in names}
    made = _TREES[importer](random, names, images)
    if random.random() < 0.1:
        made[random.choice(_ODD_PLACES)] = odd_text(random)
    if random.random() < 0.05:
        name = random.choice(list(made))
        made[name + "/"] = made.pop(name)  # a folder where a file belongs
    return made


def source_of(importer: str) -> str:
    return {"coco": "coco.json", "csv": "boxes.csv"}.get(importer, "")


def _name(random: Random, name: str) -> str:
    return random.choice([*_ODD_NAMES, word(random)]) if random.random() < 0.2 else name


def _coco(random: Random, names: list[str], images: Tree) -> Tree:
    document = {
        "images": [
            {"id": i, "file_name": _name(random, name), "width": random.choice([0, 8]), "height": 8}
            for i, name in enumerate(names)
        ],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [1, 2, 3.5, 4], "iscrowd": 0}
            for i in range(len(names))
        ]
        + [{"image_id": 0, "keypoints": [1, 2, 2, 0, 0, 0]}]
        + [{"image_id": 0, "segmentation": shape, "iscrowd": 1} for shape in _SEGMENTATIONS],
        "categories": [{"id": 1, "name": "cat"}],
    }
    return {**images, "coco.json": document_bytes(random, document)}


_SEGMENTATIONS = (
    [[1, 2, 3.5, 2, 3, 4]],
    {"size": [5, 7], "counts": [6, 3, 26]},
    {"size": [5, 7], "counts": "63j0"},
)


def _labelme(random: Random, names: list[str], images: Tree) -> Tree:
    kinds = ["point", "points", "circle", "polygon", "rectangle", "mask", "oriented_rectangle", word(random)]
    places = [[1, 2], [3.5, 4], [5, 2], [3, 1]]
    pixels = base64.b64encode(valid_image("PNG", 0, SIZES[0], 0)).decode()
    made = dict(images)
    for name in names:
        shapes = [
            {
                "label": "cat",
                "points": places[: random.choice([1, 2, 2, 3, 4, 4])],
                "mask": pixels if random.random() < 0.2 else None,
                "shape_type": random.choice(kinds),
                "group_id": i % 2,
            }
            for i in range(random.randrange(4))
        ]
        image_data = pixels if random.random() < 0.1 else None
        written = _name(random, name.rpartition("/")[2])
        document = {"imagePath": written, "imageData": image_data, "shapes": shapes}
        made[f"{name.rpartition('.')[0]}.json"] = document_bytes(random, document)
    return made


def _opex(random: Random, names: list[str], images: Tree) -> Tree:
    box = {"left": 1, "top": 2, "right": 3, "bottom": 4.5}
    objects = [
        {"bbox": dict(box), "label": "cat", "meta": {"prompt": "0", "mask": str(i % 2)}}
        for i in range(random.randrange(4))
    ]
    meta = {"files": '{"a.png":"0"}', "image_size": '{"width":8,"height":8}'}
    document = {"objects": objects, "meta": meta if random.random() < 0.5 else {}}
    made = {f"{name.rpartition('.')[0]}.json": document_bytes(random, document) for name in names}
    return {**images, **made}


def _csv(random: Random, names: list[str], images: Tree) -> Tree:
    columns = random.choice(
        [
            "image,x0,y0,x1,y1,label,id",
            "image,x,y,point,id",
            "image,x0,y0,x1,y1,x,y,point,id",
            "filename,width,height,class,xmin,ymin,xmax,ymax",
        ]
    )
    lines = [columns]
    for name in names * random.choice([1, 2, 5]):
        values = [_name(random, name), *(str(i) for i in range(columns.count(",")))]
        if random.random() < 0.3:
            values[random.randrange(len(values))] = str(odd(random))
        lines.append(",".join(values))
    if random.random() < 0.2:
        lines = ["sep=;", *(line.replace(",", ";") for line in lines)]
    content = random.choice(["\n", "\r\n", "\r"]).join(lines).encode("utf-8", "replace")
    tokens = (b'"', b",", b"\n", b'""', b"\0", b"\xff", b"x0", b"x" * 140_000)
    return {**images, "boxes.csv": damaged(random, content, tokens) if random.random() < 0.4 else content}


def _yolo(random: Random, names: list[str], images: Tree) -> Tree:
    made = {f"images/{name}": content for name, content in images.items()}
    for name in names:
        lines = [["0", "0.5", "0.5", "0.25", "0.25"] for _ in range(random.randrange(4))]
        lines += [["1", *(str(random.random()) for _ in range(random.choice([4, 5, 6, 7, 8])))]]
        if random.random() < 0.4:
            random.choice(lines)[random.randrange(3)] = str(odd(random))
        content = "\n".join(map(" ".join, lines)).encode("utf-8", "replace")
        label = f"labels/{name.rpartition('.')[0]}.txt"
        made[label] = damaged(random, content, (b" ", b"\n", b"-")) if random.random() < 0.2 else content
    made["data.yaml"] = yaml_text(random)
    return made


_YAML = (
    "[cat, dog]",
    "{0: cat, 1: dog}",
    "{? [a, b] : c}",
    "!!pairs [a: [b]]",
    "!!omap [a: b]",
    "!!set {a, b}",
    "!!timestamp x",
    "[2001-99-99]",
    "[2001-01-01, ~, yes, 0x1f, 1:30, .nan, 1e3]",
    "!!float x",
    "!!int ''",
    "!!bool x",
    "!!binary x",
    "!!python/object/apply:os.system [true]",
    "&a [*a]",
    "&a {0: *a}",
)


def yaml_text(random: Random) -> bytes:
    """A data.yaml, with values of every type of YAML, and with aliases that grow."""
    depth = random.choice([5, 30, 400])
    bombs = (
        "[" * depth + "]" * depth,
        "\n".join(["l0: &l0 {a: b}", *(f"l{i}: &l{i} {{<<: [*l{i - 1}, *l{i - 1}]}}" for i in range(1, 30))]),
        "\n".join(["l0: &l0 [a]", *(f"l{i}: &l{i} [*l{i - 1}, *l{i - 1}]" for i in range(1, 30))]),
        "l0: &l0 [a]\n"
        + "\n".join(f"l{i}: &l{i} [*l{i - 1}, *l{i - 1}]" for i in range(1, 30))
        + "\nnames: !!pairs [a: *l29]",
    )
    kind = random.random()
    content = f"names: {random.choice(_YAML)}\n" if kind < 0.9 else f"{random.choice(bombs)}\nnames: [cat]\n"
    return (
        damaged(random, content.encode(), (b"&a ", b"*a", b"!!", b": ", b"\n", b"- "))
        if kind < 0.2
        else content.encode()
    )


def odd_text(random: Random) -> bytes:
    return damaged(random, str(odd(random)).encode("utf-8", "replace"))


_TREES: Mapping[str, Callable[[Random, list[str], Tree], Tree]] = {
    "coco": _coco,
    "labelme": _labelme,
    "opex": _opex,
    "csv": _csv,
    "yolo": _yolo,
}
