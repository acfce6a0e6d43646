from sampoll.core.filenames import is_ignored, is_image, is_prompt, split_name, versioned
from sampoll.spool.scan import Readiness, Scan, Sighting, Signature, observe, scan

SETTLING = Readiness(settle_seconds=1.0)


def listed(**sizes: int) -> list[tuple[str, Signature]]:
    """Files by name (__ for a dot) with their sizes."""
    return [(name.replace("__", "."), Signature(size, size, hash(name))) for name, size in sizes.items()]


def after(*looks: tuple[float, list[tuple[str, Signature]]], readiness: Readiness = SETTLING) -> Scan:
    """The result of the last of several scans, each at its own time."""
    sightings: dict[str, Sighting] = {}
    for now, listing in looks:
        sightings = observe(listing, sightings, now)
    return scan(sightings, looks[-1][0], readiness)


def stems(result: Scan) -> list[str]:
    return [group.stem for group in result.ready]


PAIR = listed(a__jpg=5, a__json=2)


def test_a_pair_is_ready_once_neither_file_changed_for_the_settle_time() -> None:
    assert stems(after((0, PAIR))) == []
    assert stems(after((0, PAIR), (0.9, PAIR))) == []
    assert stems(after((0, PAIR), (1.0, PAIR))) == ["a"]


def test_a_change_starts_the_settle_time_again() -> None:
    grown = listed(a__jpg=9, a__json=2)

    assert stems(after((0, PAIR), (0.9, grown), (1.5, grown))) == []
    assert stems(after((0, PAIR), (0.9, grown), (1.9, grown))) == ["a"]


def test_a_file_that_was_replaced_by_one_of_the_same_size_has_changed() -> None:
    replaced = [(name, Signature(s.size, s.mtime_ns, s.inode + 1)) for name, s in PAIR]

    assert stems(after((0, PAIR), (1.0, replaced))) == []


def test_a_scan_gives_the_next_moment_at_which_a_pair_may_be_ready() -> None:
    assert after((0, PAIR), (0.25, PAIR)).next_ready_in == 0.75
    assert after((0, PAIR), (1.0, PAIR)).next_ready_in is None


def test_halves_wait_for_their_other_half_in_either_order() -> None:
    image, prompt = listed(a__jpg=5), listed(b__prompt=2)

    result = after((0, image + prompt), (5, image + prompt))

    assert stems(result) == []
    assert result.half == 2
    assert stems(after((0, image), (5, PAIR), (6, PAIR))) == ["a"]


def test_an_empty_file_is_not_there_yet() -> None:
    empty = listed(a__jpg=0, a__json=2)

    result = after((0, empty), (5, empty))

    assert (stems(result), result.settling, result.half) == ([], 0, 1)


def test_two_images_of_one_stem_are_one_ambiguous_group() -> None:
    files = listed(a__jpg=5, a__png=5, a__json=2)

    [group] = after((0, files), (1, files)).ready

    assert sorted(group.signatures) == ["a.jpg", "a.json", "a.png"]


def test_in_a_one_shot_run_a_half_has_waited_since_its_file_was_last_changed() -> None:
    half = [("a.jpg", Signature(5, 0, 1, ctime=1000.0))]

    def stems_at(epoch_seconds: float) -> list[str]:
        one_shot = Readiness(1.0, pair_timeout_seconds=60.0, clock_offset=epoch_seconds - 7.0)
        return stems(after((7.0, half), readiness=one_shot))

    assert stems_at(1059.0) == []
    assert stems_at(1060.0) == ["a"]
    assert stems_at(900.0) == []  # the clock of the storage is ahead


MARKED = Readiness(settle_seconds=1.0, ready_suffix=".ready")


def test_with_a_ready_suffix_only_the_marker_makes_a_pair_ready_and_at_once() -> None:
    marked = PAIR + listed(a__ready=0)

    assert (
        stems(after((0, PAIR), (9, PAIR), readiness=MARKED)),
        after((9, PAIR), readiness=MARKED).half,
    ) == ([], 1)
    assert stems(after((0, marked), readiness=MARKED)) == ["a"]
    assert stems(after((0, PAIR), (9, PAIR + listed(a__READY=3)), readiness=MARKED)) == ["a"]
    assert stems(after((0, listed(a__jpg=5, a__ready=0)), readiness=MARKED)) == []


def test_the_marker_belongs_to_the_group_of_its_pair() -> None:
    [group] = after((0, PAIR + listed(a__ready=0)), readiness=MARKED).ready

    assert sorted(group.signatures) == ["a.jpg", "a.json", "a.ready"]


def test_a_half_times_out_only_with_pair_timeout_and_once_it_is_unchanged_for_so_long() -> None:
    half, grown = listed(a__jpg=5), listed(a__jpg=9)
    patient = Readiness(settle_seconds=1.0, pair_timeout_seconds=60.0)

    assert stems(after((0, half), (1e6, half))) == []
    assert after((0, half), (59, half), readiness=patient).half == 1
    assert stems(after((0, half), (60, half), readiness=patient)) == ["a"]
    assert stems(after((0, half), (59, grown), (60, grown), readiness=patient)) == []
    assert stems(after((0, listed(a__jpg=0)), (99, listed(a__jpg=0)), readiness=patient)) == []


def test_pairs_of_one_name_in_two_folders_are_two_pairs() -> None:
    def inside(folder: str) -> list[tuple[str, Signature]]:
        return [(f"{folder}/{name}", signature) for name, signature in PAIR]

    files = inside("x") + inside("y") + [("x.jpg/a.jpg", Signature(1, 1, 1))]

    assert stems(after((0, files), (1, files))) == ["x/a", "y/a"]


def test_the_oldest_pairs_are_processed_first() -> None:
    b = listed(b__jpg=1, b__json=1)

    assert stems(after((0, b), (0.5, b + PAIR), (5, PAIR + b))) == ["b", "a"]
    assert stems(after((0, b + PAIR), (5, b + PAIR))) == ["a", "b"]


def test_the_name_decides_what_a_file_is() -> None:
    assert all(map(is_image, ["a.jpg", "a.JPG", "a.JpEg", "a.b.png", "a.tif", "a.tiff", "a.webp", "a.bmp"]))
    assert all(map(is_prompt, ["a.prompt", "a.json", "a.JSON"]))
    assert not any(map(is_image, ["a.gif", "jpg", ".jpg", "a.jpg.bak"]))
    assert all(
        map(is_ignored, [".a.jpg", "._a.jpg", "~a.jpg", "a.jpg.tmp", "a.jpg.PART", "a.json.crdownload"])
    )
    assert not any(map(is_ignored, ["a.jpg", "done.jpg"]))
    assert split_name("a.b.JPG") == ("a.b", ".jpg")
    assert [versioned("a", v) for v in (1, 2, 3)] == ["a", "a~2", "a~3"]


ONE_SHOT = Readiness(settle_seconds=1.0, default_after_seconds=0.0)
SERVICE = Readiness(settle_seconds=1.0, default_after_seconds=10.0)


def test_an_image_that_can_do_without_a_prompt_is_ready_once_it_has_settled() -> None:
    image = listed(a__jpg=5)

    assert stems(after((0, image), (0.9, image), readiness=ONE_SHOT)) == []
    assert stems(after((0, image), (1, image), readiness=ONE_SHOT)) == ["a"]


def test_a_service_waits_for_the_prompt_of_an_image_that_can_do_without() -> None:
    image = listed(a__jpg=5)

    waiting = after((0, image), (9, image), readiness=SERVICE)

    assert (stems(waiting), waiting.half, waiting.next_ready_in) == ([], 0, 1.0)
    assert stems(after((0, image), (10, image), readiness=SERVICE)) == ["a"]
    [pair] = after((0, image), (9, PAIR), (10, PAIR), readiness=SERVICE).ready
    assert sorted(pair.signatures) == ["a.jpg", "a.json"]


def test_an_image_whose_prompt_is_being_written_does_not_get_the_default_one() -> None:
    begun = listed(a__jpg=5, a__json=0)

    result = after((0, begun), (20, begun), readiness=ONE_SHOT)

    assert (stems(result), result.half) == ([], 1)


def test_a_prompt_alone_gets_nothing_by_default() -> None:
    prompt = listed(a__json=5)

    assert stems(after((0, prompt), (20, prompt), readiness=ONE_SHOT)) == []


def test_an_image_without_a_prompt_needs_its_marker() -> None:
    readiness = Readiness(settle_seconds=1.0, ready_suffix=".ok", default_after_seconds=0.0)
    image, marked = listed(a__jpg=5), listed(a__jpg=5, a__ok=0)

    assert stems(after((0, image), (9, image), readiness=readiness)) == []
    assert stems(after((0, marked), readiness=readiness)) == ["a"]
