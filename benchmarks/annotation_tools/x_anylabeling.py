"""X-AnyLabeling's own client asks for shapes, without its window."""

import json
import subprocess
import tempfile
from pathlib import Path

from benchmarks.annotation_tools.running import TOKEN, clicks_row, image_in, installed, service

CLIENT = """
import json, sys, time
import anylabeling.config
anylabeling.config.current_config_file = sys.argv[1]
from PyQt6 import QtGui
from PyQt6.QtWidgets import QApplication
from anylabeling import __version__
from anylabeling.services.auto_labeling.remote_server import RemoteServer
application = QApplication([])
client = RemoteServer({"type": "remote_server", "display_name": "Remote-Server"}, print)
[model] = client.get_available_models()
client.set_model_id(model)
path, clicks = sys.argv[2], int(sys.argv[3])
image = QtGui.QImage(path)
def shapes(*marks):
    client.set_auto_labeling_marks(list(marks))
    result = client.predict_shapes(image, path)
    found = [(shape.label, shape.shape_type, len(shape.points), shape.score) for shape in result.shapes]
    return {"replace": result.replace, "shapes": found}
box = {"type": "rectangle", "data": [72, 10, 488, 392], "label": 1}
point = {"type": "point", "data": [280, 200], "label": 1}
figures = {"version": __version__, "model": client.models_info[model]["display_name"]}
figures["a box"] = shapes(box)
figures["a box that is none"] = shapes({**box, "data": [5, 5, 5, 5]})
figures["no marks"] = shapes()
seconds = []
for _ in range(clicks):
    began = time.perf_counter()
    shapes(point)
    seconds.append(time.perf_counter() - began)
figures["seconds"] = seconds
client.headers["Token"] = "wrong"
figures["a wrong token"] = shapes(box)
print(json.dumps(figures))
"""


def run(venvs: Path, flags: list[str], clicks: int) -> None:
    python = installed(venvs / "x-anylabeling", "x-anylabeling-cvhub[cpu]")
    with tempfile.TemporaryDirectory() as folder, service(flags, Path(folder)) as url:
        settings = Path(folder) / "xanylabeling.yaml"
        server = {"server_url": f"{url}/x-anylabeling", "api_key": TOKEN}
        settings.write_text(json.dumps({"remote_server_settings": server}))  # JSON is YAML
        asked = subprocess.run(
            [python, "-c", CLIENT, settings, image_in(Path(folder)), str(clicks)],
            capture_output=True,
            text=True,
            env={"QT_QPA_PLATFORM": "offscreen", "HOME": folder, "PATH": "/usr/bin:/bin"},
            check=False,
        )
    if asked.returncode:
        raise RuntimeError(asked.stderr)
    figures = json.loads(asked.stdout.splitlines()[-1])
    print(f"\nX-AnyLabeling {figures.pop('version')}:\n")
    seconds = figures.pop("seconds")
    for what, came in figures.items():
        print(f"- {what}: {came}")
    print(f"- a click, through its client: {clicks_row(seconds)}")
