import pytest

from sampoll.core.addresses import is_address, redacted, split_login, without_logins

CLEAR = [
    ("redis://host", "redis://host"),
    ("redis://host:1/2", "redis://host:1/2"),
    ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock"),
    ("redis://user:secret@host:6379/0?password=secret", "redis://***@host:6379/0"),
    ("rediss://:secret@[::1]:5", "rediss://***@[::1]:5"),
    ("redis://user:secret@secret@host", "redis://***@host"),
    ("redis://user:%secret@host", "redis://***@host"),
    ("redis://host?password=secret", "redis://host"),
    ("https://secret@host/folder", "https://***@host/folder"),
]
UNCLEAR = [
    "redis://user:secret/secret@host",
    "redis://user:secret#secret@host",
    "redis://user:secret?secret@host",
    "redis://user:secret@secret/secret@host",
    "redis://12:34/secret@host",
    "redis://host/0?password=secret@secret",
    "redis://:secret",
    "redis://user:secret secret@host",
    "redis://user:secret\nsecret@host",
    "redis://a:secret@host1,redis://b:secret@host2",
    "redis:/user:secret@host",
    "//user:secret@host",
    "user:secret@host",
    " redis://user:secret@host",
]


@pytest.mark.parametrize(("address", "shown"), CLEAR)
def test_an_address_is_shown_without_its_login(address: str, shown: str) -> None:
    assert is_address(address)
    assert redacted(address) == shown


@pytest.mark.parametrize("address", UNCLEAR)
def test_nothing_of_an_address_is_shown_if_its_login_may_end_anywhere(address: str) -> None:
    assert not is_address(address)
    assert redacted(address) in ("redis://***", "***")


@pytest.mark.parametrize("address", ["redis://u:p@host:99999", "redis://u:p[@host", "redis://u:p\u2100@host"])
def test_what_no_parser_takes_is_no_address(address: str) -> None:
    assert not is_address(address)
    assert redacted(address).startswith("redis://***@host")


def test_addresses_in_a_text_lose_their_logins() -> None:
    text = "'redis://u:secret@host:1/0', (http://u:secret/secret@host) of me@host, see https://host/a#b"

    assert without_logins(text) == "'redis://***@host:1/0', (http://*** of me@host, see https://host/a#b"


def test_a_login_is_decoded_when_it_is_split_off() -> None:
    assert split_login("https://a%40b:p%2Fw@host:1/x") == ("https://host:1/x", ("a@b", "p/w"))
    assert split_login("https://token@host/x") == ("https://host/x", ("token", ""))
    assert split_login("https://host/x") == ("https://host/x", None)
