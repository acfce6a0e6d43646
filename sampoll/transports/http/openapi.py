"""The description of the routes, as OpenAPI 3.1: for programs that make clients, and for the page of it."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import orjson

from sampoll.inputs.prompt_schema import SCHEMA_FILE
from sampoll.transports.http.answer import IMAGE_SHA256, JSON, PNG, SKIPPED_PROMPTS, ZIP
from sampoll.transports.http.jobs import JOBS, KEY, MAX_KEY_CHARACTERS
from sampoll.transports.http.refusals import REQUEST_ID

_TEXT = {"type": "string"}
_SHA256 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_BINARY = {"type": "string", "contentMediaType": "application/octet-stream"}

_PROMPT_IN_FORM = {
    "description": "The JSON of a prompt file, as text or as a file.",
    "type": "string",
    "contentMediaType": JSON,
    "contentSchema": {"$ref": "#/components/schemas/PromptFile"},
}
_IMAGE_DIGEST = {**_SHA256, "description": "Instead of the image, if the service knows it."}
_IN_FORM = {
    "image": {"description": "A JPEG, PNG, TIFF, WebP or BMP file.", **_BINARY},
    "image_sha256": _IMAGE_DIGEST,
    "prompt": _PROMPT_IN_FORM,
}
_IN_JSON = {
    "image": {"description": "The file in base64.", **_TEXT, "minLength": 1, "contentEncoding": "base64"},
    "image_sha256": _IMAGE_DIGEST,
    "prompt": {"$ref": "#/components/schemas/PromptFile"},
}
_MASK = {
    "type": "object",
    "required": ["score", "rle"],
    "properties": {
        "score": {"type": "number", "description": "The model's own estimate of the quality."},
        "rle": {
            "type": "object",
            "description": "COCO's compressed run-length encoding; size is [height, width].",
            "required": ["size", "counts"],
            "properties": {
                "size": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
                "counts": _TEXT,
            },
        },
    },
}
_SKIPPED_PROMPT = {
    "type": "object",
    "properties": {
        "prompt": {"type": "integer", "description": "Its index in the request."},
        "id": {"type": ["string", "null"]},
        "field": _TEXT,
        "message": _TEXT,
    },
}
_RESULT = {
    "type": "object",
    "required": ["request_id", "image_sha256", "masks", "skipped_prompts", "seconds", "opex"],
    "properties": {
        "request_id": _TEXT,
        "image_sha256": {**_SHA256, "description": "What later requests can send instead of the image."},
        "masks": {
            "description": "The masks of each prompt, in the order of the request.",
            "type": "array",
            "items": {"type": "array", "items": {"$ref": "#/components/schemas/Mask"}},
        },
        "skipped_prompts": {
            "description": "With on-bad-prompt = skip: what was left out, and why.",
            "type": "array",
            "items": {"$ref": "#/components/schemas/SkippedPrompt"},
        },
        "seconds": {"type": "object", "additionalProperties": {"type": "number"}},
        "opex": {"type": "object", "description": "The record that a run writes beside the masks."},
    },
}
_ERROR = {
    "type": "object",
    "required": ["code", "message", "request_id"],
    "properties": {
        "code": {
            "type": "string",
            "description": "A stable name: see docs/errors.md.",
            "examples": ["bad-prompt"],
        },
        "message": {"type": "string", "description": "What to change."},
        "request_id": _TEXT,
    },
}
_JOB = {
    "type": "object",
    "required": ["id", "state", "address"],
    "properties": {
        "id": _TEXT,
        "state": {"enum": ["waiting", "claimed", "deferred", "failed", "done"]},
        "address": {"type": "string", "description": "Where to ask again."},
        "files": {
            "description": "If it is done: the addresses of its files, by their names.",
            "type": "object",
            "additionalProperties": _TEXT,
        },
        "error": {
            "description": "If it has failed.",
            "type": "object",
            "properties": {"code": _TEXT, "message": _TEXT},
        },
        "runs": {"type": "integer", "description": "How many runs work on the input, until it has ended."},
        "advice": {"type": "string", "description": "What to do if none does."},
    },
}
_STATUSES = {
    400: "The request cannot be read.",
    401: "The token is missing or wrong.",
    403: "Called under another name, or by a page that is not allowed.",
    404: "The image is not known (any more): send it.",
    406: "There is no answer of the kind that Accept names.",
    408: "The body came too slowly.",
    411: "Content-Length is missing.",
    413: "The body is larger than the limits allow.",
    415: "The body is neither a form nor JSON.",
    422: "The image or the prompt is bad, or beyond a limit.",
    431: "The header is too large.",
    500: "The model failed on this image.",
    503: "The queue is full, the model is being loaded, or the service stops: send it again.",
}
_WITHOUT_JSON = (431,)
_HEADERS = {
    REQUEST_ID: {"description": "The id of the request, as sent or new.", "schema": _TEXT},
    IMAGE_SHA256: {"description": "The digest of the image.", "schema": _SHA256},
    SKIPPED_PROMPTS: {"description": "How many prompts were skipped, if any.", "schema": {"type": "integer"}},
}


def openapi_document(
    *, needs_token: bool, has_jobs: bool = True, needs_prompt: bool = True
) -> dict[str, Any]:
    """The description of a service; `needs_token`: /v1 is for those who have the token; `has_jobs`: it takes
    jobs for a watched folder; `needs_prompt`: it has no default prompt."""
    security: list[dict[str, list[str]]] = [{"token": []}] if needs_token else []
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sampoll",
            "version": version("sampoll"),
            "description": "Masks for images and prompts, by a Segment Anything Model.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/v1/segment": {"post": {**_segment(needs_prompt), "security": security}},
            **(_jobs(security, needs_prompt) if has_jobs else {}),
            "/healthz": {"get": _probe("Whether a restart would not help", "healthz", "It would.")},
            "/readyz": {"get": _probe("Whether requests are answered", "readyz", "They are not, for now.")},
            "/metrics": {"get": _shown("The metrics, for Prometheus", "metrics", "text/plain")},
            "/openapi.json": {"get": _shown("This description", "openapi", JSON)},
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Result": _RESULT,
                "Mask": _MASK,
                "SkippedPrompt": _SKIPPED_PROMPT,
                "Error": _ERROR,
                **({"Job": _JOB} if has_jobs else {}),
                **_prompt_schemas(),
            },
        },
    }


def _segment(needs_prompt: bool) -> dict[str, Any]:
    return {
        "operationId": "segment",
        "summary": "The masks of an image",
        "description": "Requests of several clients are batched; one whose client goes away is withdrawn.",
        "parameters": [
            {
                "name": REQUEST_ID,
                "in": "header",
                "description": "The client's own name for the request; the files of the answer have it too.",
                "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$"},
            },
        ],
        "requestBody": _body(needs_prompt, takes_digest=True),
        "responses": {
            "200": {
                "description": "The masks, as Accept prefers.",
                "headers": _HEADERS,
                "content": {
                    JSON: {"schema": {"$ref": "#/components/schemas/Result"}},
                    PNG: {"schema": {"description": "One mask for all prompts: 1 bit a pixel.", **_BINARY}},
                    ZIP: {"schema": {"description": "A PNG for each mask, and the record.", **_BINARY}},
                },
            },
            **{str(status): _refusal(status, meaning) for status, meaning in _STATUSES.items()},
        },
    }


def _body(needs_prompt: bool, *, takes_digest: bool) -> dict[str, Any]:
    """An image, or with `takes_digest` its digest, and a prompt, as a form or as JSON."""
    left_out = () if takes_digest else ("image_sha256",)
    prompt = ["prompt"] if needs_prompt else []
    image = [["image"], ["image_sha256"]] if takes_digest else [["image"]]

    def schema(parts: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {name: part for name, part in parts.items() if name not in left_out},
            "required": prompt,
            "oneOf": [{"required": names} for names in image],
            "additionalProperties": False,
        }

    encoding = {"prompt": {"contentType": f"{JSON}, text/plain"}}
    content = {
        "multipart/form-data": {"schema": schema(_IN_FORM), "encoding": encoding},
        JSON: {"schema": schema(_IN_JSON)},
    }
    return {"required": True, "content": content}


def _jobs(security: Sequence[Mapping[str, Any]], needs_prompt: bool) -> dict[str, Any]:
    """The routes of jobs."""
    job = {JSON: {"schema": {"$ref": "#/components/schemas/Job"}}}
    job_id = {"name": "id", "in": "path", "required": True, "schema": _TEXT, "description": "Of the job."}
    name = {"name": "name", "in": "path", "required": True, "schema": _TEXT, "description": "Of the file."}
    key = {
        "name": KEY,
        "in": "header",
        "description": "Requests with the same key make one job.",
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARACTERS},
    }
    refusals = {str(status): _refusal(status, meaning) for status, meaning in _STATUSES.items()}
    unknown = {each: refusals[each] for each in ("401", "403", "503")} | {
        "404": _refusal(404, "No such one.")
    }
    put = {
        "operationId": "putJob",
        "summary": "A job for the runs on the watched folder",
        "description": "It is on disk when it is answered.",
        "parameters": [key],
        "requestBody": _body(needs_prompt, takes_digest=False),
        "responses": {
            "202": {"description": "It is there.", "content": job},
            "200": {"description": "It was there, by its key.", "content": job},
            **{status: each for status, each in refusals.items() if status not in ("404", "406", "500")},
        },
        "security": security,
    }
    show = {
        "operationId": "showJob",
        "summary": "What has become of a job",
        "responses": {"200": {"description": "This.", "content": job}, **unknown},
        "security": security,
    }
    show_file = {
        "operationId": "showFile",
        "summary": "A file of a job that is done",
        "responses": {
            "200": {"description": "It.", "content": {"*/*": {"schema": _BINARY}}},
            **unknown,
        },
        "security": security,
    }
    return {
        JOBS: {"post": put},
        f"{JOBS}/{{id}}": {"get": {**show, "parameters": [job_id]}},
        f"{JOBS}/{{id}}/files/{{name}}": {"get": {**show_file, "parameters": [job_id, name]}},
    }


def _refusal(status: int, meaning: str) -> dict[str, Any]:
    if status in _WITHOUT_JSON:
        return {"description": meaning, "content": {"text/plain": {"schema": _TEXT}}}
    error = {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    headers = {"Retry-After": {"description": "In seconds.", "schema": {"type": "integer"}}}
    return {"description": meaning, "content": error, **({"headers": headers} if status == 503 else {})}


def _probe(summary: str, name: str, otherwise: str) -> dict[str, Any]:
    state = {
        "type": "object",
        "properties": {"state": _TEXT, "reason": {"type": ["string", "null"]}},
    }
    content = {JSON: {"schema": state}}
    return {
        "operationId": name,
        "summary": summary,
        "responses": {
            "200": {"description": "Yes.", "content": content},
            "503": {"description": otherwise, "content": content},
        },
        "security": [],
    }


def _shown(summary: str, name: str, kind: str) -> dict[str, Any]:
    content = {kind: {"schema": {"type": "object"} if kind == JSON else _TEXT}}
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": {"description": "It.", "content": content}},
        "security": [],
    }


def _prompt_schemas() -> Mapping[str, Any]:
    """The schemas of prompt files, among those of this description."""
    text = SCHEMA_FILE.read_bytes().replace(b'"#/$defs/', b'"#/components/schemas/')
    schema = orjson.loads(text)
    parts: dict[str, Any] = schema.pop("$defs")
    del schema["$schema"]
    return {**parts, "PromptFile": schema}
