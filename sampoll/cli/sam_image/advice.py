"""Messages of sampoll in the words of a command of the SAM image: settings have the names of its flags."""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from sampoll.config.fields import FLAG, all_settings
from sampoll.core.errors import SampollError, reworded

_SETTING = re.compile(rf"{FLAG}|\b(redis-url)\b")


@dataclass(frozen=True)
class Advice:
    """`flags` are those of a command, by the keys of the settings that they stand for. All other settings are
    environment variables there."""

    flags: Mapping[str, str]

    def __call__(self, text: str) -> str:
        return _SETTING.sub(self._own_name, text)

    @contextmanager
    def in_errors(self) -> Iterator[None]:
        """Errors that are raised inside have messages in the command's words."""
        try:
            yield
        except SampollError as error:
            raise reworded(error, self) from error

    @contextmanager
    def in_logs(self) -> Iterator[None]:
        """What is logged inside is in the command's words."""
        handlers = list(logging.getLogger().handlers)
        for handler in handlers:
            handler.addFilter(self._reword)
        try:
            yield
        finally:
            for handler in handlers:
                handler.removeFilter(self._reword)

    def _reword(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self(record.getMessage()), ()
        return True

    def _own_name(self, found: re.Match[str]) -> str:
        key = found[1] or found[2]
        variables = {setting.key: setting.variable for setting in all_settings()}
        return self.flags.get(key) or variables.get(key) or found[0]
