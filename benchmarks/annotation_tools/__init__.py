"""The real annotation tools against the real service: `python -m benchmarks.annotation_tools`.

Each tool is installed from PyPI into a virtual environment of its own, below --venvs, where it is found
again. Everything runs on loopback. It prints what each tool got, and how long it took.
"""
