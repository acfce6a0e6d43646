"""Measurements, one command each: `python -m benchmarks.pipeline`. They print markdown, and write JSON.

Every figure stands beside that of a reference loop which is run in turns with it, in the same process: only
the ratio means anything on another machine, or on this one tomorrow.
"""
