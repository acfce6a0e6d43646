"""What actors are given, and what they check first."""

from pathlib import Path
from typing import Any

import pytest

from sampoll.app.ray.engine import resources_of, rows_per_block
from sampoll.app.ray.order import Order, check_stores, check_version, portable, sign_in
from sampoll.config.resolve import resolve
from sampoll.config.settings import Settings
from sampoll.core.errors import ConfigurationError
from sampoll.files.stores.directory import DirectoryStore
from sampoll.formats.options import FormatOptions
from sampoll.transports.batch.transport import BatchOptions


def settings_of(**flags: Any) -> Settings:
    return resolve({key.replace("_", "-"): value for key, value in flags.items()}, {}).settings


def order_of(settings: Settings, tmp_path: Path, **changes: Any) -> Order:
    given = {"sign": "sign", "first_image": "a.jpg", **changes}
    return Order(settings, tmp_path, tmp_path, BatchOptions(), FormatOptions(), {}, **given)


def test_actors_without_gpus_share_the_cores_of_their_hosts() -> None:
    found = resources_of(settings_of(ray_actors=4), 4, [{"CPU": 8.0}, {"CPU": 16.0}])

    assert (found.device, found.cpus, found.gpus, found.actors_per_host) == ("cpu", 4, 0, 2)


def test_actors_have_a_gpu_each_where_there_are_any() -> None:
    found = resources_of(settings_of(ray_actors=8), 8, [{"CPU": 8.0, "GPU": 4.0}] * 2)

    assert (found.device, found.gpus, found.actors_per_host) == ("cuda", 1, 4)


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_actors_cannot_have_is_refused(device: str) -> None:
    with pytest.raises(ConfigurationError, match="GPU"):
        resources_of(settings_of(ray_actors=2, device=device), 2, [{"CPU": 8.0}])


def test_blocks_are_small_where_images_take_long_and_all_actors_have_some() -> None:
    assert rows_per_block("cpu", 1000, 2) == 8
    assert rows_per_block("cuda", 100_000, 8) == 64
    assert rows_per_block("cuda", 64, 8) == 2
    assert rows_per_block("cpu", 10_000_000, 8) == 500


def test_another_version_of_sampoll_is_refused(tmp_path: Path) -> None:
    order = order_of(settings_of(), tmp_path, version="0.0.1")

    with pytest.raises(ConfigurationError, match=r"gpu-1 has sampoll .*, and the driver 0\.0\.1"):
        check_version(order, "gpu-1")


@pytest.mark.parametrize(("missing", "named"), [("a.jpg", "SOURCE"), ("sign", "--output")])
def test_a_host_that_does_not_see_a_tree_is_refused(missing: str, named: str, tmp_path: Path) -> None:
    for name in {"a.jpg", "sign"} - {missing}:
        (tmp_path / name).write_bytes(b"content")
    store = DirectoryStore(tmp_path)

    with pytest.raises(ConfigurationError, match=f"gpu-1 does not see {missing} .*mount {named} there"):
        check_stores(order_of(settings_of(), tmp_path), store, store, "gpu-1")


def test_a_run_leaves_no_sign_in_the_output(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"content")
    with sign_in(store) as sign:
        check_stores(order_of(settings_of(), tmp_path, sign=sign), store, store, "gpu-1")

    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.jpg"]


def test_paths_of_the_model_are_the_same_wherever_an_actor_starts() -> None:
    assert portable(settings_of(checkpoint="vit_b.pth")).model.checkpoint == Path("vit_b.pth").absolute()
