"""The encoder in int8, calibrated on given images: experimental, and only for OpenVINO.

https://github.com/openvinotoolkit/nncf
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from sampoll.core.errors import ModelUnavailable
from sampoll.models.shared.openvino import imported_openvino

if TYPE_CHECKING:
    import nncf
    import openvino

T = TypeVar("T")


def quantized(
    model: "openvino.Model", images: Sequence[T], preprocessed: Callable[[T], NDArray[np.float32]]
) -> "openvino.Model":
    """The same graph with its matrix products in int8.

    The ranges of values are those that `images` show, each `preprocessed` to (1, 3, 1024, 1024); the largest
    channels are evened out first (SmoothQuant). Takes several times the memory of the model.
    """
    nncf = imported_nncf()
    dataset = nncf.Dataset(images, preprocessed)
    return nncf.quantize(model, dataset, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(images))


def imported_nncf() -> "nncf":
    imported_openvino()  # disables the telemetry, which NNCF would use too
    try:
        import nncf
    except ImportError as error:
        raise ModelUnavailable("int8 needs NNCF: pip install 'sampoll[int8]'") from error
    return nncf
