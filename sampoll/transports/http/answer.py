"""Results as clients ask for them: JSON, one PNG, or a zip archive of the files."""

import io
import re
import zipfile
from collections.abc import Mapping, Sequence

import orjson
from starlette.responses import Response

from sampoll.core.names import RECORD_SUFFIX
from sampoll.core.results import Delivery
from sampoll.transports.http.refusals import REQUEST_ID, Refusal

JSON, PNG, ZIP = "application/json", "image/png", "application/zip"
KINDS = (JSON, PNG, ZIP)
IMAGE_SHA256, SKIPPED_PROMPTS = "X-Image-SHA256", "X-Skipped-Prompts"
_QUALITY = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?", re.ASCII)
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The time of files in an archive: the same result makes the same archive."""


def accepted_kind(accept: str) -> str:
    """The kind of answer that an Accept header prefers; a Refusal if it takes none of ours.

    Each kind has the quality of the range that names it most exactly (RFC 9110, 12.5.1); of kinds of the same
    quality, the one that is named first wins.
    """
    ranges = [_range(part) for part in accept.split(",") if part.strip()] or [("*/*", 1.0)]
    preferences = []
    for kind in KINDS:
        for name in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
            places = [place for place, (wanted, _) in enumerate(ranges) if wanted == name]
            if places:
                preferences.append((ranges[places[0]][1], -places[0], kind))
                break
    quality, _, kind = max(preferences, key=lambda each: each[:2], default=(0.0, 0, ""))
    if quality > 0:
        return kind
    raise Refusal(406, f"there are answers as {', '.join(KINDS)}")


def _range(part: str) -> tuple[str, float]:
    """A range of media types in an Accept header, and its quality; 0 if that is no number from 0 to 1."""
    wanted, *parameters = (each.strip().lower() for each in part.split(";"))
    quality = next((each[2:] for each in parameters if each.startswith("q=")), "1")
    return wanted, float(quality) if _QUALITY.fullmatch(quality) else 0.0


def response_with(delivery: Delivery, kind: str, request_id: str) -> Response:
    """The answer of this kind. Of the artifacts, the record comes last, and a PNG is alone."""
    content = _CONTENT[kind](delivery, request_id)
    headers = {
        REQUEST_ID: request_id,
        IMAGE_SHA256: delivery.submission.image_sha256,
        "Cache-Control": "no-store",
    }
    if delivery.summary.skipped:
        headers[SKIPPED_PROMPTS] = str(len(delivery.summary.skipped))
    return Response(content, 200, headers, kind)


def _json(delivery: Delivery, request_id: str) -> bytes:
    record = delivery.artifacts[-1].content
    meta = orjson.loads(record)["meta"]
    return orjson.dumps(
        {
            "request_id": request_id,
            "image_sha256": delivery.submission.image_sha256,
            "masks": _masks(orjson.loads(meta["scores"]), orjson.loads(meta["rle"])),
            "skipped_prompts": [each.document() for each in delivery.summary.skipped],
            "seconds": dict(delivery.summary.seconds),
            "opex": orjson.Fragment(record),
        }
    )


def _masks(
    scores: Sequence[Sequence[float]], rles: Sequence[Sequence[Mapping[str, object]]]
) -> list[list[dict[str, object]]]:
    """The masks of each prompt of the request."""
    return [
        [{"score": score, "rle": rle} for score, rle in zip(*of_prompt, strict=True)]
        for of_prompt in zip(scores, rles, strict=True)
    ]


def _png(delivery: Delivery, _: str) -> bytes:
    [artifact] = delivery.artifacts
    return artifact.content


def _zip(delivery: Delivery, _: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for artifact in delivery.artifacts:
            entry = zipfile.ZipInfo(f"{delivery.submission.name}{artifact.suffix}", _LONG_AGO)
            entry.compress_type = (
                zipfile.ZIP_DEFLATED if artifact.suffix == RECORD_SUFFIX else zipfile.ZIP_STORED
            )
            archive.writestr(entry, artifact.content)
    return buffer.getvalue()


_CONTENT = {JSON: _json, PNG: _png, ZIP: _zip}
