"""Prompts in words."""

import json
from pathlib import Path

from support.folders import Folders, drop_pair, read_opex
from support.images import encoded, image_of, read_mask
from support.process import sampoll

WORDS = ("--model", "support.fakes:words")
"""A row of pixels for each word, with scores of 0.9, 0.8, ...; none for "nothing"."""


def test_words_give_as_many_masks_as_are_found_each_with_its_score(folders: Folders) -> None:
    drop_pair(folders.input, "pets", {"prompts": [{"text": "cat dog"}, {"text": "a b", "label": "letter"}]})
    drop_pair(folders.input, "sure", {"text": "cat dog", "score_thresh": 0.85})

    run = sampoll("run", *folders.flags, *WORDS)

    assert run.stdout.startswith("2 done, 0 failed"), run.stderr
    objects = read_opex(folders.output / "pets.json").objects
    assert [(found.label, found.score) for found in objects] == [
        ("cat dog", 0.9),
        ("cat dog", 0.8),
        ("letter", 0.9),
        ("letter", 0.8),
    ]
    assert read_mask(folders.output / "pets.1.png").sum() == 32
    assert [found.score for found in read_opex(folders.output / "sure.json").objects] == [0.9]


def test_words_that_match_nothing_are_a_finished_job_without_objects(folders: Folders) -> None:
    formats = ("png", "indexed", "labelme", "coco", "yolo")
    flags = [flag for name in formats for flag in ("--format", name)]
    for number in range(2):
        drop_pair(folders.input, f"a{number}", {"text": "nothing"}, image=image_of(seed=number))

    first = sampoll("run", *folders.flags, *WORDS, *flags)
    drop_pair(folders.input, "a0", {"text": "nothing"}, image=image_of(seed=0))
    again = sampoll("run", *folders.flags, *WORDS, *flags, "--skip-done")

    assert first.stdout.startswith("2 done, 0 failed"), first.stderr
    assert again.stdout.startswith("0 done, 1 done before"), again.stdout
    record = json.loads((folders.output / "a0.json").read_text())
    assert record["objects"] == []
    assert json.loads(record["meta"]["prompts"]) == [{"text": "nothing", "label": "nothing"}]
    assert not (folders.output / "a0.png").exists()
    coco = json.loads((folders.output / "coco/instances.json").read_text())
    assert (len(coco["images"]), coco["annotations"]) == (2, [])
    assert [category["name"] for category in coco["categories"]] == ["nothing"]
    assert (folders.output / "yolo/labels/a0.txt").read_text() == ""


def test_a_prompt_in_words_fails_alone_with_a_model_that_takes_none(folders: Folders) -> None:
    drop_pair(folders.input, "a", {"text": "cat"})
    drop_pair(folders.input, "b")

    run = sampoll("run", *folders.flags, "--model", "grabcut")

    assert run.stdout.startswith("1 done, 1 failed")
    assert (
        "a.json: text: is not taken by --model grabcut, which takes points and box only: use a" in run.stderr
    )
    error = json.loads((folders.input / "failed/a.error.json").read_text())["error"]
    assert (error["code"], error["field"]) == ("bad-prompt", "text")


def test_labels_of_a_data_set_become_words(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(image_of()))
    names = ["cat", "", "dog", "a\tb"]
    annotations = [
        {"id": number, "image_id": 1, "category_id": kind, "bbox": [1, 1, 4, 4]}
        for number, kind in enumerate((1, 3, 1, 4))
    ]
    categories = [{"id": id, "name": name} for id, name in enumerate(names, 1) if name]
    images = [{"id": 1, "file_name": "a.png"}]
    source = tmp_path / "instances.json"
    source.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    target = tmp_path / "in"

    done = sampoll("prompts", "import", "--from", "coco", source, "--to", target, "--words")
    check = sampoll("prompts", "check", target)

    assert "annotations[3]: its label cannot be words: text must have something to read" in done.stderr
    assert done.stdout.startswith(f"1 pair with 2 prompts in {target}, 1 passed over")
    assert check.stdout == "1 valid, 0 invalid\n"
    prompts = json.loads((target / "a.json").read_text())["prompts"]
    assert [prompt["text"] for prompt in prompts] == ["cat", "dog"]
