"""Does an app get the accuracy that the report promised?

    python -m edgekd.benchmarks.trials.app --json benchmarks/results/app.json

A small network learns from drawn photographs of many sizes, aspects, modes and kinds of files. Then
the loader of its bundle reads the 500 files of the test split one by one, where edgekd cannot be
imported, and its accuracy is held against the report's. With --web (the folder `dist` of the npm
package onnxruntime-web) the JavaScript loader does the same in headless Chromium.
"""

from __future__ import annotations

import argparse
import json
import queue
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from edgekd.benchmarks.trials.photographs import (
    CLASSES,
    list_photographs,
    share_right,
    write_photographs,
)
from edgekd.benchmarks.trials.report import conclude

ALLOWED = 0.5  # points between app and report
COUNTS = {"train": 2000, "val": 500, "test": 500}
RECIPE = """
name = "photographs"
[data]
path = "photographs"
size = 48
resize = "{resize}"
augment = {{ flip = true }}
[model]
build = "edgekd.models:convnet"
options = {{ widths = [16, 32, 64, 64], classes = 5, channels = 3, depth = 1 }}
train = {{ epochs = {epochs}, batch_size = 50, optimizer = "adamw", learning_rate = 0.003 }}
[budget]
max_drop = 3.0
[measure]
rounds = 3
blocks = 2
[[steps]]
name = "quantize"
gate = false
"""
ALONE = """
import runpy, sys
for name in ("edgekd", "torch", "onnx", "pydantic"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
PAGE = """<script type="module">
const send = (body) => fetch("/", { method: "POST", body: JSON.stringify(body) });
try {
  const ort = await import("/web/ort.wasm.bundle.min.mjs");
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = "/web/";
  const { openBundle } = await import("/bundle/load.mjs");
  const files = await (await fetch("/files.json")).json();
  const found = {};
  for (const model of MODELS) {
    const bundle = await openBundle(ort, new URL("/bundle/", location.href), model);
    found[model] = [];
    for (const file of files) {
      try {
        found[model].push((await bundle.answer(await (await fetch(file)).blob())).text);
      } catch (error) {
        if (file === files[0] && found[model].length) throw error;
        found[model].push(null);
      }
    }
  }
  await send(found);
} catch (error) {
  await send(String(error.stack));
}
</script>"""


def compress(place: Path, *, resize: str, epochs: int) -> Path:
    """Draw the photographs, run the recipe; return the run folder."""
    write_photographs(place / "photographs", COUNTS)
    (place / "recipe.toml").write_text(RECIPE.format(resize=resize, epochs=epochs))
    command = [sys.executable, "-m", "edgekd", "compress", "recipe.toml", "--out", "run"]
    subprocess.run(command, cwd=place, check=True)
    return place / "run"


def promised(run: Path) -> dict[str, float]:
    """Return model file -> top-1 on the test split, in percent, as the bundle states it."""
    manifest = json.loads((run / "bundle" / "manifest.json").read_text())
    return {
        model["file"]: model["measured"]["test"]["top-1"]["value"]
        for model in manifest["models"]
        if model["measured"] and model["measured"]["test"]
    }


def in_python(bundle: Path, model: str, files: Sequence[Path]) -> list[str]:
    """Return the answers of load.py, where edgekd cannot be imported."""
    command = [sys.executable, "-c", ALONE, "load.py", model, *map(str, files)]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=True)
    return [re.sub(r".*: (.+) [\d.]+$", r"\1", line) for line in done.stdout.splitlines()]


class _Server(SimpleHTTPRequestHandler):
    """Serves the place and what a page sends back."""

    sent: queue.Queue[str]

    def do_POST(self) -> None:
        self.sent.put(self.rfile.read(int(self.headers["content-length"])).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def in_browser(
    place: Path, bundle: Path, models: Sequence[str], files: Sequence[Path], *, web: Path
) -> Mapping[str, Sequence[str | None]]:
    """Return model -> the answers of load.mjs in headless Chromium; None: it cannot decode it."""
    for name, target in (("web", web.resolve()), ("bundle", bundle.resolve())):
        (place / name).unlink(missing_ok=True)
        (place / name).symlink_to(target)
    names = [path.relative_to(place).as_posix() for path in files]
    (place / "files.json").write_text(json.dumps(names))
    (place / "page.html").write_text(PAGE.replace("MODELS", json.dumps(list(models))))
    sent = queue.Queue[str]()
    handler = partial(type("Handler", (_Server,), {"sent": sent}), directory=str(place))
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        tempfile.TemporaryDirectory(prefix="edgekd-") as profile,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/page.html"
        quiet = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}")
        browser = subprocess.Popen(
            ["chromium", *quiet, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            found = json.loads(sent.get(timeout=300))
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()
    if not isinstance(found, dict):
        raise RuntimeError(found)
    return found


def compare(place: Path, run: Path, web: Path | None) -> list[dict[str, Any]]:
    """Return a row for each model and loader: promised and reached accuracy on the test files."""
    files, classes = list_photographs(place / "photographs" / "test")
    claims, rows = promised(run), []
    reached = {
        ("python", model): list[str | None](in_python(run / "bundle", model, files))
        for model in claims
    }
    if web is not None:
        browsed = in_browser(place, run / "bundle", list(claims), files, web=web)
        reached |= {("javascript", model): list(found) for model, found in browsed.items()}
    for (language, model), answers in reached.items():
        read = [(a, c) for a, c in zip(answers, classes, strict=True) if a is not None]
        same = reached["python", model]
        rows.append(
            {
                "loader": language,
                "model": model,
                "promised": claims[model],
                "reached": share_right([a for a, _ in read], [c for _, c in read]),
                "files": len(read),
                "unreadable": len(answers) - len(read),
                "unlike python": sum(a != b for a, b in zip(answers, same, strict=True) if a),
            }
        )
    return rows


def main() -> None:
    """Print the table, and leave with 1 if an app is further off than allowed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resize", default="crop", choices=("crop", "stretch", "pad"))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--web", type=Path, help="the folder dist of onnxruntime-web")
    parser.add_argument("--out", type=Path, help="keep photographs and run there")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgekd-") as name:
        place = (arguments.out or Path(name)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        run = compress(place, resize=arguments.resize, epochs=arguments.epochs)
        rows = compare(place, run, arguments.web)
    ok = all(abs(row["promised"] - row["reached"]) <= ALLOWED for row in rows)
    conclude(
        "accuracy on the test files, in percent",
        list(rows[0]),
        [
            [f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()]
            for row in rows
        ],
        {"ok": ok, "classes": CLASSES, "counts": COUNTS, "rows": rows},
        arguments.json,
    )
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
