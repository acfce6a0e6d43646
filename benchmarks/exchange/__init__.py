"""Data sets between sampoll and other tools, in both directions: `python -m benchmarks.exchange`.

It prints what each installed tool reads of what sampoll exports, and what `sampoll prompts import` reads of
what each tool writes. Tools that are not installed are left out, unless `--tools` names them.
"""
