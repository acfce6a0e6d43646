"""Images are fetched from one Label Studio, within limits, and from nowhere else."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.label_studio import JWT, KEY, FakeLabelStudio, label_studio

from sampoll.app.keyword_settings import settings_of
from sampoll.core.errors import BadImage, ConfigurationError, TransientJobError
from sampoll.transports.http.body import Room
from sampoll.transports.http.label_studio import images
from sampoll.transports.http.label_studio.images import LabelStudioImages, Place, place_of, target_of

PLACE = Place("https://studio.example/ls", KEY)


@pytest.fixture
def studio() -> Iterator[FakeLabelStudio]:
    with label_studio(**{"cat.jpg": b"a cat", "large.jpg": b"x" * 2000}) as studio:
        yield studio


def fetched(studio: FakeLabelStudio, address: str, key: str = KEY, task_id: str = "7") -> bytes:
    async def image() -> bytes:
        with room.share() as memory:
            content = await LabelStudioImages(Place(studio.url, key), 1000).image(address, task_id, memory)
            assert room.held_bytes == len(content)
            return content

    room = Room(10_000)
    return asyncio.run(image())


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("/data/upload/1/a%20b.jpg", "https://studio.example/ls/data/upload/1/a%20b.jpg"),
        ("/ls/data/upload/1/猫.jpg", "https://studio.example/ls/data/upload/1/%E7%8C%AB.jpg"),
        ("/data/local-files/?d=a/b.jpg", "https://studio.example/ls/data/local-files/?d=a/b.jpg"),
        ("https://studio.example:443/ls/data/a.jpg", "https://studio.example/ls/data/a.jpg"),
        (
            "s3://bucket/a b.jpg",
            "https://studio.example/ls/tasks/7/presign/?fileuri=czM6Ly9idWNrZXQvYSBiLmpwZw==",
        ),
    ],
)
def test_an_address_of_label_studio_is_fetched_there(address: str, target: str) -> None:
    assert target_of(address, "7", PLACE) == target


@pytest.mark.parametrize(
    "address",
    [
        *("https://other.example/a.jpg", "http://studio.example/a.jpg", "https://studio.example:8443/a.jpg"),
        *("//other.example/a.jpg", "https://studio.example@other.example/a.jpg", "ftp://studio.example/a"),
        *("https://user@studio.example/a.jpg", "https://studio.example\\@other.example/a.jpg", "file:///a"),
        *("data:image/png;base64,AAAA", "a.jpg", "", None, 7, "https://[", "https://studio.example:port/a"),
    ],
)
def test_no_other_address_is_fetched(address: object) -> None:
    with pytest.raises(BadImage):
        target_of(address, "7", PLACE)


@pytest.mark.parametrize(
    "address", ["/\\other.example/a", "/@other.example/", "/..//other.example/a", "/\r\nX: y"]
)
def test_a_path_cannot_lead_to_another_host(address: str) -> None:
    parts = urlsplit(target_of(address, "../../7", PLACE))

    assert (parts.scheme, parts.netloc) == ("https", "studio.example")
    assert "\r" not in parts.path


def test_a_legacy_token_is_used_as_it_is(studio: FakeLabelStudio) -> None:
    assert fetched(studio, "/data/upload/1/cat.jpg") == b"a cat"
    assert studio.asked == ["/data/upload/1/cat.jpg"]


def test_no_other_login_takes_the_place_of_ours(
    studio: FakeLabelStudio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login other password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))

    assert fetched(studio, "/data/upload/1/cat.jpg") == b"a cat"


def test_a_personal_token_is_exchanged_and_again_when_it_is_refused(studio: FakeLabelStudio) -> None:
    async def three() -> None:
        source = LabelStudioImages(Place(studio.url, JWT), 1000)
        with Room(10_000).share() as memory:
            studio.files |= {f"/data/{n}": b"a" for n in "123"}
            await source.image("/data/1", "7", memory)
            await source.image("/data/2", "7", memory)
            studio.access = "access-2"
            await source.image("/data/3", "7", memory)

    asyncio.run(three())

    renewal = "/api/token/refresh/"
    assert studio.asked == [renewal, "/data/1", "/data/2", "/data/3", renewal, "/data/3"]


def test_an_upload_that_is_in_a_bucket_is_asked_for_there(studio: FakeLabelStudio) -> None:
    studio.files["/storage-data/uploaded/?filepath=upload%2F1%2Fb+c.jpg"] = b"elsewhere"

    assert fetched(studio, "/data/upload/1/b%20c.jpg") == b"elsewhere"


@pytest.mark.parametrize(
    ("address", "key", "message"),
    [
        ("/moved", KEY, "sends it from elsewhere .status 303., which is not followed: turn off pre-signed"),
        ("/data/upload/1/gone.jpg", KEY, "Label Studio does not have it .status 404."),
        ("/data/upload/1/cat.jpg", "wrong", "does not let the user of LABEL_STUDIO_API_KEY have it"),
        (
            "/data/upload/1/cat.jpg",
            JWT.replace("c2ln", "d2ln"),
            "Label Studio does not take LABEL_STUDIO_API_KEY",
        ),
        ("/data/upload/1/large.jpg", KEY, "has 2000 bytes, more than 1000 .--max-image-bytes."),
        ("gs://bucket/a.jpg", KEY, "gs://bucket/a.jpg: Label Studio does not have it"),
    ],
)
def test_what_is_not_fetched_is_an_error_that_says_what_to_do(
    studio: FakeLabelStudio, address: str, key: str, message: str
) -> None:
    with pytest.raises(BadImage, match=message):
        fetched(studio, address, key)


def test_a_label_studio_that_is_slow_or_away_may_be_asked_again(
    studio: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "FETCH_SECONDS", 0.3)
    with pytest.raises(TransientJobError, match=r"has not sent the image within 0.3 s|cannot be reached"):
        fetched(studio, "/slow")
    with pytest.raises(
        TransientJobError, match=r"cannot be reached at http://127\.0\.0\.1:1 .LABEL_STUDIO_URL"
    ):
        fetched(FakeLabelStudio("http://127.0.0.1:1"), "/data/a.jpg")


def test_images_are_kept_up_to_a_limit(studio: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "CACHE_BYTES", 10)
    studio.files |= {"/data/1": b"a" * 6, "/data/2": b"b" * 6, "/data/3": b"c" * 20}

    async def several() -> None:
        source = LabelStudioImages(Place(studio.url, KEY), 1000)
        with Room(10_000).share() as memory:
            for name in "112133":
                await source.image(f"/data/{name}", "7", memory)

    asyncio.run(several())

    assert studio.asked == ["/data/1", "/data/2", "/data/1", "/data/3", "/data/3"]


def test_the_settings_are_those_of_label_studios_own_tools() -> None:
    assert place_of(settings_of({}).label_studio) is None
    settings = settings_of({"label_studio_url": "http://studio:8080/ls/", "label_studio_api_key": KEY})
    assert place_of(settings.label_studio) == Place("http://studio:8080/ls", KEY)
    for wrong in (
        {"label_studio_url": "http://user:word@studio"},
        {"label_studio_url": "http://studio", "label_studio_api_key": "a b"},
        {"label_studio_url": "http://studio", "label_studio_api_key": "ü"},
    ):
        with pytest.raises(ConfigurationError):
            place_of(settings_of(wrong).label_studio)
