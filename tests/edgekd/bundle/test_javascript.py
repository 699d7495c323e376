"""`load.mjs`: the inputs of an app in JavaScript are those of training, to the last bit."""

from __future__ import annotations

import http.server
import itertools
import json
import os
import queue
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.bundle.loader import JAVASCRIPT
from edgekd.data.pictures import Form
from edgekd.data.preprocess import ImagePreprocess

Get = Callable[[str], Path]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
IN_NODE = """
import fs from "node:fs";
import { toTensor } from "./load.mjs";
const tried = JSON.parse(fs.readFileSync("tried.json"));
const found = tried.map(([picture, about]) => [...toTensor(picture, about).data]);
fs.writeFileSync("found.json", JSON.stringify(found));
"""
WITHOUT_A_FILE = """
import { openBundle } from "./load.mjs";
globalThis.fetch = async () => new Response("not found", { status: 404 });
const base = new URL("http://localhost/bundle/");
await openBundle({}, base).catch((error) => console.log(error.message));
"""
GOLDEN_ARRAYS = """
import fs from "node:fs";
import { readNpy, toInputs } from "./load.mjs";
const json = (name) => JSON.parse(fs.readFileSync(name));
const [about, manifest] = [json("preprocess.json"), json("manifest.json")];
const found = manifest.golden.samples.map((files) => {
  const arrays = {};
  for (const [name, file] of Object.entries(files)) {
    const { data, dims } = readNpy(fs.readFileSync(file));
    arrays[name] = { data, dims: dims.slice(1) };
  }
  const inputs = toInputs(arrays, about, manifest);
  return Object.entries(inputs).map(([name, { data, dims }]) => [name, [...data], dims]);
});
console.log(JSON.stringify(found));
"""
MADE_UP_ARRAYS = """
import { toInputs } from "./load.mjs";
const facts = [{ array: "wave", columns: [{ name: "area" }, { name: "wind" }] }];
const about = { arrays: ["wave"], names: ["x"], facts };
const tried = (dtype, shape, given) => {
  const manifest = { inputs: [{ name: "x", dtype, shape }] };
  try {
    const { type, data, dims } = toInputs(given, about, manifest).x;
    return [type, dims, [...data].map(Number)];
  } catch (error) {
    return error.message;
  }
};
const rows = [[1, 2.5], [3, -4]];
console.log(JSON.stringify([
  tried("float32", ["batch", "time", 2], { wave: rows }),
  tried("float32", ["batch", null, 2], Float32Array.of(1, 2.5, 3, -4)),
  tried("int64", [1, 2, 2], rows),
  tried("uint8", [null, 4], { wave: { data: [1, 2, 3, 4], dims: [4] } }),
  tried("bool", ["batch", 2], [0, 7]),
  tried("float32", ["batch", "time", 3], { wave: rows }),
  tried("float32", ["batch", 2], { wave: rows }),
  tried("float32", ["batch", 2, 2], [[1, 2], [3]]),
  tried("float32", ["batch", 2], { x: [1, 2] }),
  tried("float32", ["batch", 2], { wave: { wind: 7, area: 220.5, more: 1 } }),
  tried("float32", ["batch", 2], { wave: { area: 220.5 } }),
]));
"""
IN_BROWSER = """<script type="module">
const send = (body) => fetch("/", { method: "POST", body: JSON.stringify(body) });
try {
  const { decode, toTensor } = await import("./load.mjs");
  const json = async (name) => (await fetch(name)).json();
  const [about, manifest] = [await json("preprocess.json"), await json("manifest.json")];
  const found = [];
  for (const { image } of manifest.golden.samples) {
    const picture = await decode(await (await fetch(image)).blob(), about.picture);
    found.push([...toTensor(picture, about).data]);
  }
  await send(found);
} catch (error) {
  await send(String(error.stack));
}
</script>"""


def program(*names: str) -> str:
    found = next(filter(None, map(shutil.which, names)), None)
    if found is not None:
        return found
    reason = f"{names[0]} is not on PATH"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def cases() -> list[tuple[NDArray[np.uint8], ImagePreprocess]]:
    """Every way to resize, with odd sizes, both layouts, colours and kinds of numbers."""
    random, found = np.random.default_rng(0), []
    ways = itertools.product(
        ("crop", "stretch", "pad"), ("bilinear", "bicubic", "nearest"), (True, False)
    )
    for number, (resize, interpolation, antialias) in enumerate(ways):
        height, width, high, wide, small, narrow = map(int, random.integers(1, 60, 6))
        has, data, takes = random.choice([1, 3], 3).tolist()
        form = {
            **{"height": high, "width": wide, "channels": data, "resize": resize},
            **{"interpolation": interpolation, "antialias": antialias},
        }
        other = number % 2 == 0
        preprocess = ImagePreprocess(
            height=small if other else high,
            width=narrow if other else wide,
            channels=takes,
            mean=(123.4, 50.1, 7.0)[:takes],
            std=(57.3, 60.0, 11.7)[:takes],
            in_graph=number % 3 == 0,
            colours="bgr" if number % 4 == 0 else "rgb",
            picture=Form(**form),
        )
        picture = random.integers(0, 256, (height, width, has), dtype=np.uint8)
        found.append((picture, preprocess))
    return found


def test_the_arithmetic_is_the_same_in_node(bundles: Get, tmp_path: Path) -> None:
    node, tried = program("node", "nodejs"), cases()
    shutil.copy(bundles("pixels") / JAVASCRIPT, tmp_path)
    described = [
        (
            {
                "height": picture.shape[0],
                "width": picture.shape[1],
                "channels": picture.shape[2],
                "data": picture.ravel().tolist(),
            },
            preprocess.model_dump(mode="json"),
        )
        for picture, preprocess in tried
    ]
    (tmp_path / "tried.json").write_text(json.dumps(described))
    (tmp_path / "try.mjs").write_text(IN_NODE)
    subprocess.run([node, "try.mjs"], cwd=tmp_path, check=True, timeout=60)
    found = json.loads((tmp_path / "found.json").read_text())
    for (picture, preprocess), values in zip(tried, found, strict=True):
        wanted = preprocess.encode({"image": picture[None]})["image"].ravel()
        np.testing.assert_array_equal(np.array(values, wanted.dtype), wanted, str(preprocess))


def test_a_file_that_the_server_does_not_give_is_named(bundles: Get, tmp_path: Path) -> None:
    node = program("node", "nodejs")
    shutil.copy(bundles("pixels") / JAVASCRIPT, tmp_path)
    (tmp_path / "try.mjs").write_text(WITHOUT_A_FILE)
    command = [node, "try.mjs"]
    said = subprocess.run(command, cwd=tmp_path, check=True, timeout=60, capture_output=True).stdout
    assert re.search(rb"http://localhost/bundle/\w+\.json cannot be read: HTTP 404", said)


def printed_by_node(script: str, folder: Path) -> Any:
    """Run a module beside the loader; return the JSON that it prints."""
    (folder / "try.mjs").write_text(script)
    command = [program("node", "nodejs"), "try.mjs"]
    done = subprocess.run(command, cwd=folder, check=True, timeout=60, capture_output=True)
    return json.loads(done.stdout)


def test_golden_arrays_become_their_tensors_in_node(copy: Get) -> None:
    folder = copy("array")
    found = printed_by_node(GOLDEN_ARRAYS, folder)
    stored = np.load(folder / "golden" / "inputs.npz")
    assert len(found) == len({key.partition("/")[0] for key in stored.files})
    for i, inputs in enumerate(found):
        assert [name for name, _, _ in inputs] == ["x", "text"]
        for name, values, dims in inputs:
            wanted = stored[f"{i}/{name}"]
            np.testing.assert_array_equal(np.array(values, wanted.dtype).reshape(dims), wanted)


def test_arrays_get_the_type_and_the_shape_of_the_model(copy: Get) -> None:
    assert printed_by_node(MADE_UP_ARRAYS, copy("array")) == [
        ["float32", [1, 2, 2], [1, 2.5, 3, -4]],
        ["float32", [1, 2, 2], [1, 2.5, 3, -4]],
        ["int64", [1, 2, 2], [1, 2, 3, -4]],
        ["uint8", [1, 4], [1, 2, 3, 4]],
        ["bool", [1, 2], [0, 1]],
        "'wave' has the shape [2,2] and the model takes [time,3]",
        "'wave' has the shape [2,2] and the model takes [2]",
        "'wave' has 3 values, which do not fill [2,2]",
        "'wave' is missing; give wave",
        ["float32", [1, 2], [220.5, 7]],
        "'wave' lacks the columns wind",
    ]


class Catcher(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and keeps what a page sends back."""

    sent: queue.Queue[str]

    def do_POST(self) -> None:
        self.sent.put(self.rfile.read(int(self.headers["content-length"])).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def sent_by_page(folder: Path, page: str, profile: Path) -> str:
    """Open a page of a folder in headless Chromium; return what it sends back."""
    browser = program(*BROWSERS)
    sent = queue.Queue[str]()
    handler = type("Handler", (Catcher,), {"sent": sent})
    serve = partial(handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run")
        address = f"http://127.0.0.1:{server.server_port}/{page}"
        command = [browser, *quiet, f"--user-data-dir={profile}", address]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            return sent.get(timeout=60)
        finally:
            process.terminate()
            process.wait()
            server.shutdown()


@pytest.mark.parametrize("kind", ["pixels", "planes"])
def test_golden_files_become_their_tensors_in_a_browser(
    copy: Get, tmp_path: Path, kind: str
) -> None:
    """To the last bit, the JPEG on its side too: Chromium and Pillow use the same decoder."""
    folder = copy(kind)
    (folder / "page.html").write_text(IN_BROWSER)
    found = json.loads(sent_by_page(folder, "page.html", tmp_path / "profile"))
    stored = np.load(folder / "golden" / "inputs.npz")
    for i, values in enumerate(found):
        wanted = stored[f"{i}/image"].ravel()
        np.testing.assert_array_equal(np.array(values, wanted.dtype), wanted)
