"""The ids of jobs without a state: the same image and prompt under the same name are the same job."""

import hashlib
import os
import uuid

_NAMESPACE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")
"""That of OIDs, as RFC 9562 lists it."""


def job_id_of(name: str, *digests: str) -> str:
    """The id of the job with this name, and with content of these SHA-256, as 32 hexadecimal digits."""
    content = b"\0".join((os.fsencode(name), *(digest.encode("ascii") for digest in digests)))
    return uuid.uuid5(_NAMESPACE, f"sampoll:{hashlib.sha256(content).hexdigest()}").hex
