"""Azurite, which imitates Azure Blob Storage, on loopback: installed by npm, so for campaigns only."""

import base64
import hashlib
import hmac
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Of every Azurite: https://learn.microsoft.com/azure/storage/common/storage-use-azurite"""
PORT = 10000
CONTAINER = "container"
ENVIRONMENT: Mapping[str, str] = {
    "AZURE_STORAGE_USE_EMULATOR": "true",
    "AZURE_ALLOW_HTTP": "true",
    "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
    "AZURE_STORAGE_ACCOUNT_KEY": KEY,
}


@contextmanager
def azure_container(directory: Path) -> Iterator[str]:
    """The address of an empty container, while the server runs."""
    subprocess.run(["npm", "install", "--silent", "--prefix", directory, "azurite"], check=True, timeout=300)
    flags = (
        "--location",
        directory / "data",
        "--blobPort",
        PORT,
        "--skipApiVersionCheck",
        "--disableTelemetry",
    )
    command = [directory / "node_modules" / ".bin" / "azurite-blob", *flags]
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            assert any("successfully listens" in line for line in server.stdout)
            _create_container()
            yield f"az://{CONTAINER}"
        finally:
            server.terminate()


def _create_container() -> None:
    """https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key"""
    headers = f"x-ms-date:{formatdate(usegmt=True)}\nx-ms-version:2021-08-06"
    resource = f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    signed = "\n".join(["PUT", *[""] * 11, headers, resource])
    signature = hmac.digest(base64.b64decode(KEY), signed.encode(), hashlib.sha256)
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/{ACCOUNT}/{CONTAINER}?restype=container",
        method="PUT",
        headers={
            **dict(line.split(":", 1) for line in headers.splitlines()),
            "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 201
