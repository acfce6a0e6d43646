"""Names of files and servers as people may safely see them."""

from urllib.parse import urlsplit


def printable(text: str) -> str:
    r"""`text` with control and direction characters, and bytes that are no UTF-8, as \x, \u escapes.

    What comes out is one line of valid Unicode, whatever a file is called.
    """
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that os.fsdecode could not decode
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def redacted(url: str) -> str:
    """The URL without its password, and without anything after the question mark."""
    address = url.partition("?")[0]
    user, at, _ = urlsplit(address).netloc.rpartition("@")
    return address.replace(f":{user.partition(':')[2]}@", ":***@", 1) if at and ":" in user else address
