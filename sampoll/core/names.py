"""Makes names of files safe to display, and builds the paths of results."""

from collections.abc import Collection

RECORD_SUFFIX = ".json"
"""Suffix of the record, NAME.json, which commits a result."""


def printable(text: str) -> str:
    r"""`text` with control and direction characters, and bytes that are not UTF-8, as \x and \u escapes.

    The result is one line of valid Unicode for any file name.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def unicode_name(name: str) -> str:
    r"""`name` with bytes that are not UTF-8 as \x escapes, as JSON needs it, and else unchanged: so that
    programs find the file by it."""
    return "".join(
        _escaped(character) if "\ud800" <= character <= "\udfff" else character for character in name
    )


def folder_of(path: str) -> str:
    """The folder of a relative path, "" for none."""
    return path.rpartition("/")[0]


def base_name(path: str) -> str:
    return path.rpartition("/")[2]


def result_path(name: str, suffix: str) -> str:
    """The path of a result's file below the output: `name` is the result's own path, and a suffix may begin
    with a folder: ("sub/cat", ".png") -> "sub/cat.png", ("sub/cat", "png8/.png") -> "png8/sub/cat.png"."""
    folder, slash, ending = suffix.rpartition("/")
    return f"{folder}{slash}{name}{ending}"


def kept_image(name: str, image_file: str) -> str:
    """The path of a result's image below the directory of finished inputs, which get the names of their
    results: ("sub/cat~2", "cat.JPG") -> "sub/cat~2.JPG"."""
    dot = image_file.rfind(".")
    return name + image_file[dot:] if dot > 0 else name


def result_suffix(path: str, name: str) -> str | None:
    """The inverse of `result_path`: the suffix of `path`; None if it is not a file of the result `name`."""
    folder, slash, rest = path.partition("/")
    for before, after in (("", path), (folder + slash, rest)):
        ending = after.removeprefix(name)
        if ending.startswith(".") and "/" not in ending and ending != after:
            return before + ending
    return None


def has_other_owners(path: str, format_folders: Collection[str] | None = None) -> bool:
    """Whether another result, whose record has another name, could have a file of this path. Suffixes begin
    with a dot or a folder: "a.0.png" is a file of "a" or of "a.0", "png8/a.png" one of "a" or of "png8/a",
    and "a.png" one of "a" only. `format_folders` are those with which suffixes begin, if they are known."""
    folder, slash, _ = path.partition("/")
    if slash and (format_folders is None or folder in format_folders):
        return True
    return base_name(path).count(".") > 1


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that os.fsdecode could not decode
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
