"""The annotation page without a browser: what its routes answer, and what is on disk then."""

import base64
import json
import os
import stat
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from support.annotating import ROOT, TOKEN, Served, annotating, draft_of
from support.fakes import POISON_HEIGHT
from support.folders import BOX, drop_pair, names_in
from support.images import blank_image, encoded, image_of, turned_image
from support.process import until

from sampoll.app.annotate import drafts, previews
from sampoll.app.annotate.folder import ImageFolder, Question
from sampoll.app.annotate.results import ResultDirectory
from sampoll.core.errors import ConfigurationError, InputUnavailable

BOX_PROMPT = [{"box": {"x0": 4, "y0": 4, "x1": 20, "y1": 16}, "label": "cat"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images a.jpg and b.jpg, the second with a prompt file."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(encoded(image_of(seed=1), "JPEG"))
    drop_pair(folder, "b")
    return folder


def mask_of(served: Served, opened: Any, prompt: object) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    """Where the mask of a prompt lies in the preview, and its pixels there."""
    answer = served.send("POST", f"masks/{opened['image_sha256']}", prompt)
    assert answer.status_code == 200, answer.text
    pixels = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return json.loads(answer.headers["X-Mask"]), np.asarray(pixels) > 0


# Who may ask


@pytest.mark.parametrize("token", [None, "another-token-of-tests-01"])
def test_all_but_the_files_of_the_page_needs_the_token(folder: Path, token: str | None) -> None:
    with annotating(folder) as served:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        for method, path in (
            ("GET", "about"),
            ("GET", "images"),
            ("GET", "images/0/preview"),
            ("PUT", "images/0/draft"),
        ):
            answer = httpx.request(method, f"{served.url}{ROOT}/{path}", headers=headers, json={})
            assert answer.status_code == 401
        for path in ("/", "/main.js", "/annotate.css"):
            answer = httpx.get(f"{served.url}{path}")
            assert answer.status_code == 200
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert TOKEN not in answer.text


def test_pages_of_others_and_other_names_are_refused(folder: Path) -> None:
    with annotating(folder) as served:
        for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
            assert served.client.get(f"{ROOT}/images", headers=headers).status_code == 403


# The list


def test_the_list_is_handed_out_in_parts_and_searched(folder: Path) -> None:
    for number in range(30):
        (folder / f"IMG_{number:02}.png").write_bytes(b"")
    with annotating(folder) as served:
        part = served.get("images", search="img_1", first=8, count=5)
        assert [row["name"] for row in part["images"]] == ["IMG_18.png", "IMG_19.png"]
        assert (part["total"], part["all"]) == (10, {"images": 32, "done": 1})
        unfinished = served.get("images", unfinished="true", count=500)
        assert "b.jpg" not in [row["name"] for row in unfinished["images"]]
        assert served.send("GET", "images?count=501").status_code == 400


def test_the_next_image_is_the_next_that_is_looked_for(folder: Path) -> None:
    (folder / "c.jpg").write_bytes(b"")
    with annotating(folder) as served:
        assert served.get("images/0/neighbour")["image"]["name"] == "b.jpg"
        assert served.get("images/0/neighbour", unfinished="true") == {
            "image": {"number": 2, "name": "c.jpg", "progress": "new"},
            "index": 1,
        }
        assert served.get("images/2/neighbour", step=-1)["image"]["name"] == "b.jpg"
        assert served.get("images/2/neighbour") == {"image": None}


def test_folders_below_are_entered_only_if_that_is_wanted(folder: Path) -> None:
    for below in ("sub", "done", ".hidden"):
        (folder / below).mkdir()
        (folder / below / "c.jpg").write_bytes(b"")
    for recursive, names in ((False, ["a.jpg", "b.jpg"]), (True, ["a.jpg", "b.jpg", "sub/c.jpg"])):
        images = ImageFolder(folder, recursive=recursive)
        images.start(lambda _: False)
        assert images.wait(10)
        assert [row.name for row in images.rows(Question(), 0, 9).rows] == names


# Images and masks


def test_an_image_is_shown_in_the_frame_of_its_prompts(folder: Path) -> None:
    (folder / "a.jpg").write_bytes(turned_image(24, 32))
    with annotating(folder) as served:
        opened = served.get("images/0")
        assert (opened["width"], opened["height"]) == (24, 32)
        preview = served.client.get(f"{ROOT}/images/0/preview")
        assert preview.headers["content-type"] == "image/png"
        place, mask = mask_of(served, opened, {"box": {"x0": 1, "y0": 24, "x1": 23, "y1": 31}})
        assert place == {"left": 1, "top": 24, "masks": 1, "score": 0.5}
        assert mask.shape == (7, 22)
        assert mask.all()


def test_masks_of_a_large_image_are_in_the_frame_of_its_preview(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "PREVIEW_SIDE", 100)
    (folder / "a.jpg").write_bytes(encoded(blank_image(300, 1000), "JPEG"))
    with annotating(folder) as served:
        opened = served.get("images/0")
        assert (opened["preview_width"], opened["preview_height"]) == (100, 30)
        place, mask = mask_of(served, opened, {"box": {"x0": 500, "y0": 100, "x1": 1000, "y1": 300}})
        assert (place["left"], place["top"], mask.shape) == (50, 10, (20, 50))
        place, mask = mask_of(served, opened, {"points": [{"x": 999, "y": 299, "label": 1}]})
        assert (place["left"], place["top"], mask.shape) == (99, 29, (1, 1))


@pytest.mark.parametrize("model", ["support.fakes:kept", "support.fakes:boxes", "grabcut"])
def test_each_prompt_gets_a_mask_whether_the_model_keeps_embeddings_or_not(folder: Path, model: str) -> None:
    with annotating(folder, model=model) as served:
        opened = served.get("images/0")
        served.send("POST", "images/1/prepare")
        for _ in range(3):
            assert mask_of(served, opened, BOX)[1].size


def test_words_have_a_mask_of_all_that_they_name(folder: Path) -> None:
    with annotating(folder, model="support.fakes:words") as served:
        assert "text" in served.get("about")["kinds"]
        place, mask = mask_of(served, served.get("images/0"), {"text": "cat dog"})
        assert (place["masks"], place["score"], mask.shape) == (2, 0.9, (2, 32))


def test_a_prompt_that_is_wrong_names_its_field(folder: Path) -> None:
    with annotating(folder) as served:
        digest = served.get("images/0")["image_sha256"]
        answer = served.send("POST", f"masks/{digest}", {"points": [{"x": 99, "y": 0, "label": 1}]})
        assert answer.status_code == 422
        assert "points[0]: (99, 0) lies outside the image of 32x24 pixels" in answer.json()["message"]
        assert served.send("POST", f"masks/{'0' * 64}", BOX).json()["code"] == "image-unknown"


def test_the_page_opens_images_while_the_model_is_being_loaded(folder: Path) -> None:
    with annotating(folder, loads=True) as served:
        opened = served.get("images/0")
        answer = served.send("POST", f"masks/{opened['image_sha256']}", BOX)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert "the model is being loaded" in answer.json()["message"]


def test_an_image_that_was_dropped_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampoll.app.annotate.opened_images.PIXEL_BYTES", 0)
    with annotating(folder, model="support.fakes:boxes") as served:
        opened = served.get("images/0")
        served.get("images/1")
        answer = served.send("POST", f"masks/{opened['image_sha256']}", BOX)
        assert answer.json()["code"] == "image-unknown"
        mask_of(served, served.get("images/0"), BOX)


def test_an_image_that_is_worked_on_is_not_dropped_for_those_that_are_prepared(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampoll.app.annotate.opened_images.KEPT", 2)
    (folder / "c.jpg").write_bytes(encoded(image_of(seed=3), "JPEG"))
    with annotating(folder) as served:
        opened = served.get("images/0")
        for number in (1, 2):
            served.send("POST", f"images/{number}/prepare")
            mask_of(served, opened, BOX)


def test_an_image_is_embedded_when_it_is_opened_and_the_next_one_ahead(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "embedded"
    monkeypatch.setenv("FAKES_EMBEDDED", str(log))

    def embedded() -> int:
        return log.read_text().count("\n") if log.exists() else 0

    with annotating(folder, model="support.fakes:counted") as served:
        opened = served.get("images/0")
        until(lambda: embedded() == 1, "the embedding of the image")
        served.send("POST", "images/1/prepare")
        until(lambda: embedded() == 2, "the embedding of the next one")
        mask_of(served, opened, BOX)
        mask_of(served, served.get("images/1"), BOX)
        assert embedded() == 2


def test_a_click_does_not_wait_while_the_next_image_is_embedded(
    folder: Path, gate: tuple[Path, Path]
) -> None:
    started, go = gate
    for seed, name in enumerate(("b.jpg", "c.jpg")):
        (folder / name).write_bytes(encoded(image_of(POISON_HEIGHT, seed=seed), "JPEG"))
    with annotating(folder, model="support.fakes:kept_waiting") as served:
        opened = served.get("images/0")
        mask_of(served, opened, BOX)
        served.send("POST", "images/1/prepare")
        until(started.exists, "the embedding of the next image")
        served.send("POST", "images/2/prepare")
        mask_of(served, opened, {"points": [{"x": 3, "y": 3, "label": 1}]})
        assert not go.exists()
        go.touch()


# Drafts


def test_a_draft_is_on_disk_for_this_user_alone_and_is_found_again(folder: Path) -> None:
    with annotating(folder) as served:
        unmarked = [*BOX_PROMPT, {"label": "dog"}]
        answer = served.send("PUT", "images/0/draft", draft_of(served.get("images/0"), unmarked))
        assert answer.json() == {"revision": 1}
    place = folder / f".sampoll-annotate-{os.geteuid()}"
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    with annotating(folder) as served:
        opened = served.get("images/0")
        assert (opened["revision"], opened["prompts"]) == (1, unmarked)
        assert served.get("images")["images"][0]["progress"] == "draft"
        assert names_in(folder) == ["a.jpg", "b.jpg", "b.json"]


def test_a_second_window_does_not_replace_what_the_first_has_saved(folder: Path) -> None:
    with annotating(folder) as served:
        opened = served.get("images/0")
        assert served.send("PUT", "images/0/draft", draft_of(opened, BOX_PROMPT)).status_code == 200
        for method, path in (("PUT", "draft"), ("POST", "done"), ("DELETE", "draft")):
            answer = served.send(method, f"images/0/{path}", draft_of(opened, []))
            assert answer.json()["code"] == "draft-changed"
        assert served.get("images/0")["prompts"] == BOX_PROMPT


def test_a_discarded_draft_leaves_what_was_published(folder: Path) -> None:
    with annotating(folder) as served:
        served.send("PUT", "images/1/draft", draft_of(served.get("images/1"), BOX_PROMPT))
        assert (
            served.send("DELETE", "images/1/draft", draft_of(served.get("images/1"), [])).status_code == 204
        )
        assert served.get("images/1")["prompts"] == [BOX]
        assert served.get("images")["images"][1]["progress"] == "done"


def test_drafts_of_a_folder_that_cannot_be_written_are_kept_elsewhere(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (folder / f".sampoll-annotate-{os.geteuid()}").write_bytes(b"in the way")
    place = drafts.Drafts(folder).place
    assert place.is_relative_to(tmp_path / "state" / "sampoll" / "annotate")
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "must be a JSON object"),
        ({}, "revision: must be a whole number"),
        ({"revision": 0, "image_sha256": "", "prompts": [1]}, "prompts: must be a list of objects"),
    ],
)
def test_a_draft_that_is_none_is_refused(folder: Path, body: object, message: str) -> None:
    with annotating(folder) as served:
        answer = served.send("PUT", "images/0/draft", body)
        assert answer.status_code == 400
        assert message in answer.json()["message"]


# Done


def prompts_in(path: Path) -> Any:
    return json.loads(path.read_bytes())["prompts"]


def publish(served: Served, number: int, prompts: object) -> httpx.Response:
    return served.send("POST", f"images/{number}/done", draft_of(served.get(f"images/{number}"), prompts))


def test_done_writes_the_prompt_file_of_the_pair(folder: Path) -> None:
    with annotating(folder) as served:
        served.send("PUT", "images/0/draft", draft_of(served.get("images/0"), BOX_PROMPT))
        answer = publish(served, 0, BOX_PROMPT)
        assert answer.json()["prompt_file"] == "a.json"
        assert served.get("images")["images"][0]["progress"] == "done"
    assert json.loads((folder / "a.json").read_bytes()) == {"prompts": BOX_PROMPT}
    assert not (folder / f".sampoll-annotate-{os.geteuid()}").exists()


def test_a_name_may_have_any_bytes(folder: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b'\xff "\n.jpg')
    (folder / "a.jpg").rename(folder / name)
    with annotating(folder, output=tmp_path / "out") as served:
        [number] = [row["number"] for row in served.get("images")["images"] if "b.jpg" not in row["name"]]
        served.send("PUT", f"images/{number}/draft", draft_of(served.get(f"images/{number}"), BOX_PROMPT))
        assert publish(served, number, BOX_PROMPT).json()["trouble"] is None
    assert prompts_in(folder / name.replace("jpg", "json")) == BOX_PROMPT
    assert (tmp_path / "out" / name.replace("jpg", "png")).exists()


def test_a_prompt_file_is_shown_and_corrected_with_all_that_a_page_does_not_edit(folder: Path) -> None:
    mask = base64.b64encode(encoded(np.zeros((256, 256), np.uint8))).decode()
    rich = [
        {"mask": mask, "refine": 2, "id": "7", "label": "cat"},
        {"everything": {"points_per_side": 2}},
    ]
    (folder / "b.json").unlink()
    (folder / "b.prompt").write_text(json.dumps({"$schema": "prompt.schema.json", "prompts": rich}))
    with annotating(folder) as served:
        shown = served.get("images/1")["prompts"]
        assert [each.get("label") for each in shown] == ["cat", None]
        assert publish(served, 1, [*shown, *BOX_PROMPT]).json()["prompt_file"] == "b.prompt"
        written = json.loads((folder / "b.prompt").read_bytes())
        assert written == {"$schema": "prompt.schema.json", "prompts": [*shown, *BOX_PROMPT]}
        assert shown[0] == rich[0]


def test_a_prompt_file_of_someone_else_is_never_replaced(folder: Path) -> None:
    with annotating(folder) as served:
        new, corrected = served.get("images/0"), served.get("images/1")
        for name, number, opened in (("a.json", 0, new), ("b.json", 1, corrected)):
            (folder / name).write_text("of someone else")
            answer = served.send("POST", f"images/{number}/done", draft_of(opened, BOX_PROMPT))
            assert answer.status_code == 409
            assert answer.json()["code"] == "output-exists"
            assert name in answer.json()["message"]
            assert (folder / name).read_text() == "of someone else"


def test_what_cannot_be_published_is_said_when_an_image_is_opened(folder: Path) -> None:
    (folder / "b.json").write_text('{"points": []}')
    (folder / "b.png").write_bytes(encoded(image_of()))
    with annotating(folder) as served:
        notes = "\n".join(served.get("images/1")["notes"])
        assert "b.png has the same prompt file" in notes
        assert "b.json: " in notes
        assert "until then, this image cannot be done" in notes
        assert publish(served, 1, BOX_PROMPT).json()["code"] == "ambiguous-pair"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image: image.unlink(), "a.jpg: has gone"),
        (lambda image: image.write_bytes(encoded(image_of(seed=9), "JPEG")), "a.jpg: has another content"),
        (lambda image: image.write_bytes(b"no image"), "a.jpg: is no image"),
    ],
)
def test_an_image_that_has_changed_or_gone_is_said_and_its_draft_stays(
    folder: Path, change: Any, message: str
) -> None:
    with annotating(folder) as served:
        served.send("PUT", "images/0/draft", draft_of(served.get("images/0"), BOX_PROMPT))
        opened = served.get("images/0")
        change(folder / "a.jpg")
        answer = served.send("POST", "images/0/done", draft_of(opened, BOX_PROMPT))
        assert message in answer.json()["message"]
        assert not (folder / "a.json").exists()
        assert len(list((folder / f".sampoll-annotate-{os.geteuid()}").iterdir())) == 1


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "a.json: nothing is marked"),
        ([{"label": "cat"}], "a.json: prompts[0]"),
        (
            [{"box": {"x0": 99, "y0": 0, "x1": 100, "y1": 9}}],
            "a.json: prompts[0].box: lies outside the image",
        ),
    ],
)
def test_prompts_that_no_run_would_take_are_not_published(
    folder: Path, prompts: object, message: str
) -> None:
    with annotating(folder) as served:
        answer = publish(served, 0, prompts)
        assert answer.status_code == 422
        assert message in answer.json()["message"]
        assert not (folder / "a.json").exists()


@pytest.mark.parametrize("has_output", [False, True])
def test_prompts_for_another_model_are_published_if_they_are_not_segmented(
    folder: Path, tmp_path: Path, has_output: bool
) -> None:
    prompts = [*BOX_PROMPT, {"text": "cat", "label": "cat"}]
    with annotating(folder, output=tmp_path / "out" if has_output else None) as served:
        answer = publish(served, 0, prompts)
        assert (answer.status_code, (folder / "a.json").exists()) == (
            (422, False) if has_output else (200, True)
        )


# Results


def test_results_are_those_of_a_run_and_are_replaced_by_corrected_ones(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with annotating(folder, output=output, format=("png", "coco")) as served:
        assert publish(served, 0, BOX_PROMPT * 2).json()["files"] == ["a.0.png", "a.1.png", "a.json"]
        assert publish(served, 0, BOX_PROMPT).json()["files"] == ["a.png", "a.json"]
        record = json.loads((output / "a.json").read_bytes())
        assert json.loads(record["meta"]["prompts"]) == BOX_PROMPT
        assert record["meta"]["image_file"] == "a.jpg"
    assert names_in(output) == ["a.json", "a.png"]


def test_a_run_may_take_the_pair_as_soon_as_its_prompt_file_is_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(results: ResultDirectory, *result: Any) -> Any:
        (folder / "a.json").rename(tmp_path / "taken.json")
        return written(results, *result)

    written = ResultDirectory.write
    monkeypatch.setattr(ResultDirectory, "write", write)
    with annotating(folder, output=tmp_path / "out") as served:
        answer = publish(served, 0, BOX_PROMPT)

    assert answer.status_code == 200
    assert answer.json()["file_sha256"] == sha256((tmp_path / "taken.json").read_bytes()).hexdigest()
    assert names_in(tmp_path / "out") == ["a.json", "a.png"]


@pytest.mark.parametrize("name", ["a.json", "a.png"])
def test_a_file_that_is_no_result_is_not_replaced_by_one(folder: Path, tmp_path: Path, name: str) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / name).write_text("of someone else")
    with annotating(folder, output=output) as served:
        answer = publish(served, 0, BOX_PROMPT)
        assert answer.json()["code"] == "output-exists"
        assert name in answer.json()["message"]
    assert (output / name).read_text() == "of someone else"
    assert not (folder / "a.json").exists()


def test_results_beside_the_images_and_missing_folders_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="must not be equal"), annotating(folder, output=folder):
        pass
    with pytest.raises(InputUnavailable, match="no directory"), annotating(folder / "missing"):
        pass
