"""Words are encoded once a run, and what is kept is bounded."""

import torch

from sampoll.models.shared.kept_words import KeptWords


def test_a_text_is_encoded_once_as_long_as_it_is_kept() -> None:
    encoded: list[str] = []
    words: KeptWords[str] = KeptWords(torch.device("cpu"), at_most=2)

    def of(text: str) -> str:
        def encode() -> str:
            encoded.append(text)
            return text.upper()

        return words.of(text, encode)

    assert [of(text) for text in ("a", "b", "a", "c", "a", "b")] == ["A", "B", "A", "C", "A", "B"]
    assert encoded == ["a", "b", "c", "b"]


def test_what_cannot_be_encoded_is_not_kept() -> None:
    words: KeptWords[int] = KeptWords(torch.device("cpu"))

    for _ in range(2):
        try:
            words.of("a", lambda: 1 // 0)
        except ZeroDivisionError:
            continue
    assert words.of("a", lambda: 1) == 1
