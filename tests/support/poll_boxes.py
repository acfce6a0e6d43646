"""sam_predict_poll with a segmenter that needs no weights, for tests that start the process."""

import os
import sys
from unittest import mock

from sampoll.cli.sam_image.predict_poll import parser, predict
from support.segmenters import BoxSegmenter

if __name__ == "__main__":
    with mock.patch("sampoll.app.run.find_factory", return_value=lambda _: BoxSegmenter()):
        sys.exit(predict(parser().parse_args(), {**os.environ, "SAMPOLL_SETTLE": "0"}))
