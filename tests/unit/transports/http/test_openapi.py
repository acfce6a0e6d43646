"""The description of the routes, for programs and for people."""

import re
from html.parser import HTMLParser

import httpx
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from support.folders import BOX
from support.http_serving import segment, served

from sampoll.transports.http.openapi import openapi_document


def test_the_description_is_valid_and_says_who_needs_a_token() -> None:
    for needs_token in (False, True):
        document = openapi_document(needs_token=needs_token)
        validate(document)
        assert bool(document["paths"]["/v1/segment"]["post"]["security"]) == needs_token


def test_bodies_are_as_described() -> None:
    for needs_prompt in (True, False):
        document = openapi_document(needs_token=False, needs_prompt=needs_prompt)
        for path, digest in (("/v1/segment", True), ("/v1/jobs", False)):
            body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
            validator = Draft202012Validator({**body, "components": document["components"]})
            assert validator.is_valid({"image": "aGk=", "prompt": BOX})
            assert validator.is_valid({"image_sha256": "0" * 64, "prompt": BOX}) == digest
            assert validator.is_valid({"image": "aGk="}) == (not needs_prompt)
            assert not validator.is_valid({"image": "aGk=", "image_sha256": "0" * 64, "prompt": BOX})
            assert not validator.is_valid({"image": "aGk=", "promt": BOX, "prompt": BOX})


def test_answers_are_as_described() -> None:
    with served() as client:
        document = client.get("/openapi.json").json()
        answers: list[httpx.Response] = [segment(client), segment(client, data={"prompt": "{}"})]

    responses = document["paths"]["/v1/segment"]["post"]["responses"]
    for answer in answers:
        described = responses[str(answer.status_code)]["content"]["application/json"]["schema"]
        schema = {**described, "components": document["components"]}
        assert list(Draft202012Validator(schema).iter_errors(answer.json())) == []


def test_the_schema_of_prompts_is_that_of_prompt_files() -> None:
    schemas = openapi_document(needs_token=False)["components"]["schemas"]
    validator = Draft202012Validator(
        {"$ref": "#/components/schemas/PromptFile", "components": {"schemas": schemas}}
    )

    assert validator.is_valid(BOX)
    assert not validator.is_valid({"bx": 1})


class _Addresses(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("href", "src")]


def test_the_page_describes_all_routes_and_needs_nothing_from_elsewhere() -> None:
    with served() as client:
        answer = client.get("/docs")
        paths = client.get("/openapi.json").json()["paths"]

    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    for path in paths:
        assert re.search(rf"<h2>(GET|POST) {re.escape(path)}</h2>", answer.text)
    parser = _Addresses()
    parser.feed(answer.text)
    assert set(parser.found) == {"data:,", "status.css", "./", "openapi.json"}
