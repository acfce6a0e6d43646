"""Records that sampoll has not written: none of them ends a command."""

import json

import pytest

from sampoll.formats.opex_reader import labels_of, segmentation_of
from sampoll.formats.opex_record import files_of, read_record

DEEP = "[" * 1000 + "]" * 1000


def record(**meta: str) -> bytes:
    return json.dumps({"meta": {"job_id": "0" * 32, **meta}}).encode()


def test_deep_values_in_a_record_are_refused() -> None:
    deep = record(files=f'{{"a.png": {DEEP}}}', prompts=f'[{{"label": {DEEP}}}]')

    assert files_of(deep) == {}
    with pytest.raises(ValueError, match="no record of a result"):
        labels_of(deep)
    with pytest.raises(ValueError, match="no record of a result"):
        segmentation_of(deep, "a")
    assert read_record(record(files="{}", seconds=f'{{"a": {DEEP}}}'), "a") is not None


def test_digests_and_labels_that_are_no_texts_are_refused() -> None:
    numbers = record(files='{"a.png": 7}', prompts='[{"label": 7}]')

    assert files_of(numbers) == {}
    with pytest.raises(ValueError, match="no record of a result"):
        labels_of(numbers)


@pytest.mark.parametrize(
    "skipped", [DEEP, "7", '{"a": 1}', "[7]", '[{"prompt": "0"}]', '[{"prompt": 9, "id": 1}]', "not JSON"]
)
def test_skipped_prompts_that_are_none_are_passed_over_in_a_summary(skipped: str) -> None:
    summary = read_record(record(files="{}", skipped=skipped), "a")

    assert summary is not None
    assert summary.skipped == ()
