"""Base64 as senders write it: with line breaks and spaces, or without."""

import base64
import string


def without_whitespace(text: str) -> bytes:
    """ValueError if it is not ASCII."""
    return text.encode("ascii").translate(None, string.whitespace.encode())


def decoded(text: str) -> bytes:
    """What the text stands for; ValueError if it is not base64. Whitespace is ignored."""
    return base64.b64decode(without_whitespace(text), validate=True)
