"""sam_predict_poll with a segmenter that needs no weights, for tests that start the process."""

import os
import sys
from unittest import mock

from support import BoxSegmenter

from sampoll.drop_in.predict_poll import parser, predict

if __name__ == "__main__":
    with mock.patch("sampoll.app.find_factory", return_value=lambda _: BoxSegmenter()):
        sys.exit(predict(parser().parse_args(), {**os.environ, "SAMPOLL_SETTLE": "0"}))
