"""The thread pools of the libraries that models compute with."""

import sys


def limit_threads(cores: int) -> None:
    """At most so many threads in the pools of OpenCV and of torch, if a model has imported it. They do not
    know of the limits of cgroups; a size that is smaller already, by OMP_NUM_THREADS for example, stays."""
    import cv2

    cv2.setNumThreads(min(cv2.getNumThreads(), cores))
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(min(torch.get_num_threads(), cores))
