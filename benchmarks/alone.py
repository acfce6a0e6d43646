"""Runs a command, and prints its seconds, its peak memory in KiB and its exit code as JSON.

    python benchmarks/alone.py PROGRAM ARGUMENTS

A process of its own, because Linux counts the memory of the process that starts a command as memory of the
command; so this one must be small.
"""

import json
import os
import sys
import time

if __name__ == "__main__":
    begun = time.perf_counter()
    no_output = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
    process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=no_output)
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - begun
    print(json.dumps([seconds, usage.ru_maxrss, os.waitstatus_to_exitcode(status)]))
