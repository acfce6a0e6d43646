"""Documents of JSON with something wrong in them: each is made from a valid one, by a few changes that keep
its structure, and then perhaps by changes of its bytes."""

import base64
import copy
import io
import json
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import numpy as np
from PIL import Image

RAW: Mapping[str, Callable[[int], str]] = {
    "<lists>": lambda depth: "[" * depth + "]" * depth,
    "<objects>": lambda depth: '{"a":' * depth + "1" + "}" * depth,
    "<digits>": lambda depth: "9" * min(depth, 4000),
    "<real>": lambda depth: f"1e{depth}",
}
"""What `json` cannot write, by the string that stands for it. The depths are near the limits of parsers."""
DEPTHS = (150, 254, 400, 960, 1020, 1023, 1024, 5000, 100_000)
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 255, 256, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, -(2**63), 10**30),
    *(0.0, -0.0, 0.5, 1.5, 1e-320, 1e9, 1e10, 1e308, -1e308, float("nan"), float("inf"), -float("inf")),
    *(
        "",
        " ",
        "0",
        "1",
        "1e999",
        "nan",
        "x" * 1001,
        "x" * 300,
        "\0",
        "\n",
        "../..",
        "/etc",
        "a/b",
        ".",
        "..",
    ),
    *(
        "é",
        "\u202e",
        "\ud800",
        "\udc80",
        "\U0001f600",
        "\ufeff",
        "%s{0}",
        "\\",
        "a:b",
        "-",
        "data:;base64,AA==",
    ),
    *([], {}, [[]], [None], {"": 0}, {"a": {"b": []}}, [1, 2, 3, 4], [0] * 50, *RAW),
)
_TOKENS = (b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"\0", b"\xff", b"\xef\xbb\xbf", b"NaN")
_LETTERS = "abcxyz019_- ."


def odd(random: Random) -> Any:
    return copy.deepcopy(random.choice(ODD)) if random.random() < 0.9 else word(random)


def word(random: Random) -> str:
    return "".join(random.choices(_LETTERS, k=random.randrange(12)))


def changed(random: Random, document: Any) -> Any:
    """The document with one value replaced, dropped, doubled, wrapped, or put under another key."""
    places = list(_places(document))
    if not places:
        return odd(random)
    inside, key = random.choice(places)
    match random.randrange(6):
        case 0 if isinstance(inside, dict):
            inside[random.choice([word(random), *(str(k) for _, k in places)])] = inside.pop(key)
        case 1:
            del inside[key]
        case 2 if isinstance(inside, list):
            inside[key:key] = [inside[key]] * random.choice([1, 2, 3, 30])
        case 3:
            inside[key] = random.choice([[inside[key]], {"a": inside[key]}, [inside[key]] * 2])
        case _:
            inside[key] = odd(random)
    return document


def _places(value: Any) -> Any:
    """Each container in `value` with each of its keys or indexes."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def document_bytes(random: Random, document: Any, *, changes: int = 3) -> bytes:
    """A document as a file, after up to so many changes of a copy: parts of it are those of other inputs."""
    document = copy.deepcopy(document)
    for _ in range(random.randrange(changes + 1)):
        document = changed(random, document)
    text = json.dumps(document, ensure_ascii=random.random() < 0.5)
    for name, made in RAW.items():
        if name in text:
            text = text.replace(f'"{name}"', made(random.choice(DEPTHS)), 3)
    content = text.encode("utf-8", "surrogatepass")
    if random.random() < 0.03:
        content = text.encode(random.choice(["utf-16", "utf-32", "utf-8-sig"]), "surrogatepass")
    return damaged(random, content, _TOKENS) if random.random() < 0.15 else content


def damaged(random: Random, content: bytes, tokens: tuple[bytes, ...] = ()) -> bytes:
    """`content` with some bytes changed, cut off, inserted or repeated."""
    damaged = bytearray(content)
    for _ in range(random.randrange(1, 5)):
        place = random.randrange(len(damaged) + 1)
        end = place + random.choice([1, 2, 4, 16, 64])
        match random.randrange(7):
            case 0 if place < len(damaged):
                damaged[place] ^= 1 << random.randrange(8)
            case 1 if place < len(damaged):
                damaged[place] = random.choice([0, 1, 0x7F, 0x80, 0xFF])
            case 2:
                del damaged[place : end if random.random() < 0.7 else None]
            case 3:
                damaged[place:place] = random.randbytes(end - place)
            case 4 if tokens:
                damaged[place:place] = random.choice(tokens)
            case 5:
                damaged[place:place] = damaged[place:end] * random.choice([1, 2, 10, 1000])
            case 6:
                damaged[place:end] = random.choice([b"\xff", b"\0", b"\x7f\xff"]) * random.choice([1, 2, 4])
    return bytes(damaged)


def mask_prompt(random: Random) -> str:
    """A mask prompt in base64, valid or not."""
    buffer = io.BytesIO()
    side = random.choice([256, 256, 256, 255, 1])
    if random.random() < 0.5:
        mode = random.choice(["L", "L", "1", "RGB", "P", "I;16"])
        Image.new(mode, (side, side)).save(buffer, "PNG")
    else:
        kind = random.choice(["f4", "f4", "f2", "f8", ">f4", "g", "i4", "O", "c8", "U3", "f4,f4"])
        shape = random.choice([(side, side), (1, side, side), (1, 1, side, side), (side * side,), ()])
        array = np.zeros(shape, kind)
        np.save(buffer, array.T if random.random() < 0.2 else array)
    content = buffer.getvalue()
    if random.random() < 0.6:
        head, rest = content[:128], content[128:]
        content = damaged(random, head) + rest if random.random() < 0.7 else damaged(random, content)
    return base64.b64encode(content).decode()


def prompt(random: Random) -> dict[str, Any]:
    """A valid prompt, or one whose mask alone is invalid."""
    x, y = random.randrange(100), random.uniform(-5, 100)
    points = [{"x": x, "y": y, "label": index % 2} for index in range(random.choice([0, 1, 1, 2, 5]))]
    made: dict[str, Any] = {"points": points} if points else {}
    if random.random() < 0.5 or not made:
        made["box"] = {"x0": x, "y0": y, "x1": x + 5, "y1": y + 0.5}
    if random.random() < 0.05:
        made["mask"] = mask_prompt(random)
    if random.random() < 0.2:
        made = {"everything": {"points_per_side": random.choice([1, 32, 32.0, 257]), "box_nms_thresh": 0.5}}
    if random.random() < 0.1:
        made = {"text": random.choice(["cat", word(random), "", "a" * 257]), "score_thresh": random.random()}
    for key, value in (("label", "cat"), ("id", word(random)), ("refine", random.randrange(12))):
        if random.random() < 0.3:
            made[key] = value
    return made


def prompt_file(random: Random) -> Any:
    if random.random() < 0.4:
        return prompt(random)
    return {"prompts": [prompt(random) for _ in range(random.choice([0, 1, 2, 3, 20]))]}


def base64_text(random: Random, content: bytes) -> str:
    text = (base64.encodebytes if random.random() < 0.5 else base64.b64encode)(content).decode()
    if random.random() < 0.3:
        text = random.choice(["data:image/png;base64,", "data:,", "=", "\r\n", "é"]) + text
    return text[: random.randrange(len(text) + 1)] if random.random() < 0.1 else text


def request(random: Random) -> dict[str, Any]:
    image = base64_text(random, random.randbytes(random.randrange(60)))
    made = {"image": image, "prompt": prompt_file(random), "id": word(random), "files": True}
    return {**made, "reply_to": word(random) or "a"} if random.random() < 0.6 else made


def reply(random: Random) -> dict[str, Any]:
    file = base64_text(random, random.randbytes(random.randrange(60)))
    made: dict[str, Any] = {"contours": [[[1, 2], [3, 4.5]], []], "mask": file, "id": word(random)}
    made["meta"] = {"segmenter": {"model": "x"}, "prompt": prompt_file(random), "error": "no"}
    return {**made, "opex": record(random), "files": {".png": file, "png8/.png": file}}


def record(random: Random) -> dict[str, Any]:
    """A record of a result; its values are JSON in strings, each changed as a document of its own."""
    name = random.choice(["a", "sub/a", "a~2"])
    run = {"size": [2, 2], "counts": random.choice(["04", "13", "", "22", "011P", "o" * 9])}
    values: dict[str, Any] = {"image_size": {"height": 2, "width": 2}, "prompts": [prompt(random)]}
    values |= {"rle": [[run]], "scores": [[0.5]], "seconds": {"decoding": 1.5}}
    values |= {"files": {f"{name}.png": "0" * 64, f"png8/{name}.png": "1" * 64}}
    meta = {
        key: document_bytes(random, value, changes=random.choice([0, 0, 2])).decode("utf-8", "replace")
        for key, value in values.items()
    }
    meta |= {"job_id": "0" * 32, "model": "vit_b", "device": "cpu", "checkpoint_sha256": ""}
    return {"id": name, "objects": [], "meta": {**meta, "image_sha256": "2" * 64, "image_file": "a.png"}}


def job_state(random: Random) -> dict[str, Any]:
    failure = {"code": "bad-image", "message": "no", "at": random.uniform(0, 2e9), "sha256": {"a.png": "0"}}
    made: dict[str, Any] = {"job_id": f"{random.getrandbits(128):032x}", "name": "a", "files": ["a.png"]}
    made |= {"folder": random.choice(["", "sub", "a/b"]), "attempts": 1, "strikes": 0, "suspect": False}
    made |= {"in_flight": 1, "not_before": 1.5, "stem": "a", "suffixes": [".json", "png8/.png"]}
    made |= {"reserved": True, "replaces": False, "kept_as": None, "rejected": False, "failures": [failure]}
    return made
