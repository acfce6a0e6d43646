"""A cluster of Ray for one run: one that is there, or one of this machine's own, which only it can reach."""

import ctypes
import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any

from sampoll.core.errors import ConfigurationError, ServerUnavailable
from sampoll.files.cores import usable_cores

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
CONNECT_SECONDS = 5.0
SIGACTION_BYTES = 1024
"""More than a struct sigaction takes anywhere."""
OBJECT_STORE_BYTES = 128 * 2**20
"""What a local cluster keeps of memory for objects: they are names, and no pixels."""


@contextmanager
def connected(address: str | None, actors: int) -> Iterator[Any]:
    """The module ray, connected to the cluster at `address`, or to a new one on this machine for so many
    actors. ConfigurationError without the package, ServerUnavailable if no cluster is there."""
    if find_spec("ray") is None or find_spec("pyarrow") is None:
        raise ConfigurationError("--ray-actors needs the package ray: pip install 'sampoll[ray]'")
    with ExitStack() as stack:
        stack.enter_context(_environment(QUIET if address else QUIET | _of_local_cluster()))
        import ray
        import ray.data  # which sets its own level

        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what ends the run is raised, too
        stack.callback(ray.shutdown)
        if address is not None:
            with _own_handler_of_sigterm():
                _connect(ray, address)
        else:
            directory = tempfile.mkdtemp(prefix="sampoll-ray-")
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            stack.callback(ray.shutdown)
            with _own_handler_of_sigterm():
                _start(ray, directory, actors)
        yield ray


def _of_local_cluster() -> dict[str, str]:
    return {
        # All its servers listen on 127.0.0.1, and no other user of the machine can use them.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_worker_niceness": "0",
    }


def _start(ray: Any, directory: str, actors: int) -> None:
    try:
        _start_in(ray, directory, actors)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ServerUnavailable(f"no cluster of Ray could be started here: {reason}") from error


def _start_in(ray: Any, directory: str, actors: int) -> None:
    ray.init(
        address="local",
        # What Ray counts, and not what actors use: those share the cores, also if there are more of them.
        num_cpus=max(usable_cores(), actors),
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
        _temp_dir=directory,
    )


def _connect(ray: Any, address: str) -> None:
    if "://" in address:
        raise ConfigurationError(
            f"--ray-address {address}: start sampoll on a machine of the cluster, by ray job submit for "
            "example, and give auto, or HOST:PORT"
        )
    host, _, port = address.rpartition(":")
    if address != "auto":
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        except (OSError, ValueError) as error:  # Ray itself would try for minutes
            raise ServerUnavailable(
                f"--ray-address {address}: no cluster of Ray that can be used: {error}"
            ) from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ServerUnavailable(
            f"--ray-address {address}: no cluster of Ray that can be used: {reason}"
        ) from error


@contextmanager
def _own_handler_of_sigterm() -> Iterator[None]:
    """Puts the handler of SIGTERM back that Ray's C++ code replaces: its own prints the stack, and has the
    process aborted three seconds later. Python could do it in the main thread only."""
    library, handler = ctypes.CDLL(None), ctypes.create_string_buffer(SIGACTION_BYTES)
    library.sigaction(signal.SIGTERM, None, handler)
    try:
        yield
    finally:
        library.sigaction(signal.SIGTERM, handler, None)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """These variables of the environment; those that are set stay as they are."""
    own = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)
