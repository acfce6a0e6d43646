"""The parser of the commands of the SAM image."""

import re
from argparse import ArgumentParser
from typing import NoReturn

from sampoll.cli.output import presentable


class Parser(ArgumentParser):
    """A parser whose errors are escaped, and do not repeat the value of a flag for a password."""

    def error(self, message: str) -> NoReturn:
        super().error(re.sub(r"(--\w*pass\w*[= ])\S+", r"\1***", presentable(message)))
