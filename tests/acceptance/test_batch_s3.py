"""`sampoll batch` over a store that speaks S3, on loopback."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.batches import FAILED, batch
from support.folders import BOX, drop_pair
from support.images import encoded, image_of
from support.process import running_sampoll, sampoll
from support.s3 import SECRET, Bucket, s3_bucket

from sampoll.core.errors import InputUnavailable, OutputUnavailable, PermissionRefused, StorageTrouble
from sampoll.files.stores.objects import ObjectStore

MANY = 200
"""Images that two shards do together in a few seconds."""


@pytest.fixture(scope="module")
def server() -> Iterator[Bucket]:
    with s3_bucket() as bucket:
        yield bucket


@pytest.fixture
def bucket(server: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket, which this process and those that it starts can find."""
    server.clear()
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    return server


def put_pairs(bucket: Bucket, count: int, folder: str = "") -> None:
    contents = {"jpg": encoded(image_of(), "JPEG"), "json": json.dumps(BOX).encode()}
    with closing(ObjectStore(bucket.address("in"), transfers=16, retry_seconds=10)) as store:
        store.create_all(
            [
                (f"{folder}IMG_{number:05}.{kind}", content)
                for number in range(count)
                for kind, content in contents.items()
            ]
        )


def results(bucket: Bucket) -> list[str]:
    return [name for name in bucket.names("out") if not name.startswith(".sampoll")]


def whole_results(bucket: Bucket) -> int:
    """How many results there are; each has its mask, with the digest that its record says."""
    names = set(results(bucket))
    records = [name for name in names if name.endswith(".json")]
    for name in records:
        files: dict[str, Any] = json.loads(json.loads(bucket.get(f"out/{name}"))["meta"]["files"])
        assert files.keys() <= names
    return len(records)


def test_a_bucket_gets_what_a_directory_gets(bucket: Bucket, tmp_path: Path) -> None:
    put_pairs(bucket, 2)
    put_pairs(bucket, 1, "sub/below/")
    bucket.put("in/two.jpg", encoded(image_of(seed=1), "JPEG"))
    bucket.put("in/two.prompt", json.dumps({"prompts": [BOX, BOX]}).encode())
    bucket.put("in/sub/", b"")  # as some tools make folders

    from_store = batch(bucket.address("in"), bucket.address("out"))
    to_directory = batch(bucket.address("in"), tmp_path)
    again = batch(bucket.address("in"), bucket.address("out"))

    assert from_store.done == to_directory.done == ["IMG_00000", "IMG_00001", "sub/below/IMG_00000", "two"]
    for name in results(bucket):
        if name.endswith(".png"):
            assert (tmp_path / name).read_bytes() == bucket.get(f"out/{name}")
    assert again.line.startswith("0 done, 4 done before, 0 failed in")
    assert not again.has_loaded_a_model


def test_two_shards_at_the_same_time_on_a_store_with_faults_do_each_image_once(
    bucket: Bucket, tmp_path: Path
) -> None:
    put_pairs(bucket, MANY)
    kinds = ("unavailable", "throttled", "slow", "cut", "lost")
    bucket.faults.choose = lambda number, method, path: kinds[number // 20 % 5] if number % 20 == 7 else ""
    reports = [tmp_path / f"{index}.jsonl" for index in range(2)]
    places = ("batch", bucket.address("in"), "-o", bucket.address("out"), "--model", "support.fakes:boxes")

    shards = [(*places, "--shard", f"{index}/2", "--report", reports[index], "-q") for index in range(2)]
    with running_sampoll(*shards[0]) as first, running_sampoll(*shards[1]) as second:
        assert (first.wait(60), second.wait(60)) == (0, 0)

    lines = [json.loads(line) for report in reports for line in report.read_text().splitlines()]
    assert {line["outcome"] for line in lines} == {"done"}
    assert len(lines) == len({line["name"] for line in lines}) == whole_results(bucket) == MANY
    assert set(bucket.faults.happened) == set(kinds)
    assert not [name for name in bucket.names("out") if FAILED in name]


def test_an_outage_ends_with_74_and_records_nothing_as_failed(bucket: Bucket) -> None:
    put_pairs(bucket, 30)
    bucket.faults.choose = lambda number, method, path: "unavailable" if "IMG_00020.jpg" in path else ""
    places = bucket.address("in"), bucket.address("out")

    with pytest.raises(StorageTrouble, match=r"cannot read s3://bucket/in/IMG_00020.jpg: ServiceUnavailable"):
        batch(*places, store_timeout=0.5, transfers=1)
    before = whole_results(bucket)
    bucket.faults.choose = lambda number, method, path: "throttled" if method == "PUT" else ""
    with pytest.raises(StorageTrouble, match=r"cannot write s3://bucket/out/.*: SlowDown: A fault"):
        batch(*places, store_timeout=0.5)
    bucket.faults.choose = lambda number, method, path: ""
    last = batch(*places)

    assert before < 30
    assert StorageTrouble.exit_code == 74
    assert not [name for name in bucket.names("out") if FAILED in name]
    assert last.line.startswith(f"{30 - before} done, {before} done before, 0 failed")
    assert whole_results(bucket) == 30


def test_a_record_whose_answer_was_lost_is_done_and_not_that_of_another(bucket: Bucket) -> None:
    put_pairs(bucket, 3)
    lost: list[str] = []

    def choose(number: int, method: str, path: str) -> str:
        if method == "PUT" and path.endswith("IMG_00001.json") and not lost:
            lost.append(path)
            return "lost"
        return ""

    bucket.faults.choose = choose
    found = batch(bucket.address("in"), bucket.address("out"))

    assert lost
    assert (found.done, found.skipped) == (["IMG_00000", "IMG_00001", "IMG_00002"], [])


def test_an_image_that_may_not_be_read_fails_and_credentials_that_are_refused_end_the_batch(
    bucket: Bucket,
) -> None:
    put_pairs(bucket, 3)
    bucket.faults.choose = lambda number, method, path: "forbidden" if "IMG_00001.jpg" in path else ""
    places = bucket.address("in"), bucket.address("out")

    one = batch(*places, max_attempts=1)
    bucket.faults.choose = lambda number, method, path: "forbidden"
    with pytest.raises(PermissionRefused, match=r"cannot read s3://bucket/out/.*: AccessDenied: A fault"):
        batch(*places, retry_failed=True)

    assert one.errors == {"IMG_00001": "IMG_00001.jpg: cannot be read: AccessDenied: A fault of the test"}
    assert PermissionRefused.exit_code == 77
    assert [name for name in bucket.names("out") if FAILED in name] == [f"{FAILED}/IMG_00001.error.json"]


def test_a_bucket_that_is_not_there_is_named(bucket: Bucket, tmp_path: Path) -> None:
    put_pairs(bucket, 1)
    with pytest.raises(InputUnavailable, match=r"s3://nowhere/in cannot be listed: NoSuchBucket"):
        batch("s3://nowhere/in", tmp_path)
    with pytest.raises(OutputUnavailable, match=r"s3://nowhere/out.*: NoSuchBucket"):
        batch(bucket.address("in"), "s3://nowhere/out")


def test_a_name_that_no_object_can_have_fails_its_own_image_only(bucket: Bucket, tmp_path: Path) -> None:
    for name in ("good", "line\nbreak", "caf\udce9.0"):
        drop_pair(tmp_path, name)

    first = batch(tmp_path, bucket.address("out"))
    again = batch(tmp_path, bucket.address("out"))

    assert first.done == ["good"]
    assert all("cannot be published" in error for error in first.errors.values())
    assert again.line.startswith("0 done, 1 done before, 0 failed, 2 failed before")


def test_a_manifest_in_a_bucket_names_objects_beside_it(bucket: Bucket) -> None:
    put_pairs(bucket, 3, "sub/")
    bucket.put("in/boxes.csv", b"image,x0,y0,x1,y1\nsub/IMG_00002.jpg,4,4,20,16\n")

    found = batch(bucket.address("in/boxes.csv"), bucket.address("out"))

    assert found.done == ["sub/IMG_00002"]
    with pytest.raises(InputUnavailable, match=r"s3://bucket/in/missing.csv cannot be read"):
        batch(bucket.address("in/missing.csv"), bucket.address("out"))


def test_nothing_that_is_written_has_the_credentials(bucket: Bucket, tmp_path: Path) -> None:
    put_pairs(bucket, 2)
    bucket.faults.choose = lambda number, method, path: "unavailable" if path.endswith("1.jpg") else ""

    flags = ("--model", "support.fakes:boxes", "--log-level", "debug", "--store-timeout", 0.3)
    failed = sampoll("batch", bucket.address("in"), "-o", bucket.address("out"), *flags)

    assert failed.returncode == 74, failed.stderr
    assert "ServiceUnavailable: A fault of the test" in failed.stderr
    assert SECRET not in failed.stderr + failed.stdout
    assert "Signature" not in failed.stderr


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_ten_thousand_images_go_through_four_shards(bucket: Bucket, tmp_path: Path) -> None:
    put_pairs(bucket, 10_000)
    bucket.faults.choose = lambda number, method, path: "throttled" if number % 100 == 7 else ""
    places = ("batch", bucket.address("in"), "-o", bucket.address("out"), "--model", "support.fakes:boxes")

    for index in range(4):
        with running_sampoll(*places, "--shard", f"{index}/4", "-q") as shard:
            assert shard.wait(1200) == 0

    assert whole_results(bucket) == 10_000
