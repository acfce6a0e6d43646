"""The encoder in int8, calibrated on given images: experimental, and only for OpenVINO.

https://github.com/openvinotoolkit/nncf
"""

import logging
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from sampoll.core.errors import ModelUnavailable
from sampoll.core.jobs import RgbImage
from sampoll.models.shared.conversion import prepared_photograph
from sampoll.models.shared.network import ImageRules
from sampoll.models.shared.openvino import OpenVinoEncoder
from sampoll.models.shared.openvino_graph import imported_openvino

if TYPE_CHECKING:
    import nncf
    import openvino

log = logging.getLogger(__name__)

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


def quantized_encoder(
    graph: "openvino.Model", rules: ImageRules, images: Sequence[T], read: Callable[[T], RgbImage]
) -> "openvino.Model":
    """The graph of an encoder in int8, which says in the log how far it is off on a photograph;
    ModelUnavailable if it computes no numbers."""

    def preprocessed(image: T) -> NDArray[np.float32]:
        prepared: NDArray[np.float32] = rules.prepared(read(image), torch.device("cpu"), exact=False).numpy()
        return prepared[None]

    model, probe = quantized(graph, images, preprocessed), prepared_photograph(rules)
    exact = OpenVinoEncoder(graph, rules.img_size, "fp32")(probe)
    rounded = OpenVinoEncoder(model, rules.img_size, "int8")(probe)
    errors = [float((r - e).norm() / e.norm()) for r, e in zip(rounded, exact, strict=True)]
    if not all(map(math.isfinite, errors)):
        raise ModelUnavailable("this encoder cannot be computed in int8: use --precision bf16 or fp32")
    log.info(
        "in int8, the encoder's output is %.1f %% off on a photograph; see `sampoll models compare`",
        100 * max(errors),
        extra={"event": "quantized", "relative_error": round(max(errors), 4)},
    )
    return model


def imported_nncf() -> "nncf":
    imported_openvino()  # disables the telemetry, which NNCF would use too
    try:
        import nncf
    except ImportError as error:
        raise ModelUnavailable("int8 needs NNCF: pip install 'sampoll[int8]'") from error
    return nncf
