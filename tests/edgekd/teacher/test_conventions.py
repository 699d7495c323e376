"""The scale of pixels is known, or tried and reported, or asked for; it is never guessed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from edgekd.data.augment import Augment
from edgekd.data.batches import Data
from edgekd.data.dataset import Arrays, Dataset
from edgekd.data.input_options import InputSpec
from edgekd.data.preprocess import ImagePreprocess, Preprocess
from edgekd.errors import ModelError
from edgekd.exporters.onnx_metadata import stated_scale
from edgekd.teacher.conventions import choose_convention, conventions

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 256, (400, 1, 1, 3), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
WEIGHT = RNG.normal(size=(3, 4))
Tried = dict[str, Preprocess]


def network(preprocess: Preprocess) -> Callable[[Arrays], Arrays]:
    """Four classes by the mean colour, as it comes out of the preprocessing, around `CENTRE`."""

    def run(inputs: Arrays) -> Arrays:
        colour = next(iter(inputs.values())).mean(axis=(2, 3))
        return {"logits": 8 * (colour - CENTRE) @ WEIGHT}

    return run


CENTRE = np.array([0.45, 0.5, 0.55])


def tried_on(
    label: Sequence[int] | None, image: np.ndarray = COLOURS, folders: tuple[str, ...] = ()
) -> tuple[Tried, Data]:
    targets = {} if label is None else {"label": np.asarray(label, np.int64)}
    names = () if label is None else ("a", "b", "c", "d")
    dataset = Dataset("image", {"image": image}, targets, names, folders=folders)
    data = Data(dataset, {"train": np.arange(len(image))}, augment=Augment(), seed=0)
    spec = InputSpec(in_graph=False)
    made = {
        title: data.choose_preprocess(one, root=Path())
        for title, one in conventions(spec, 3, in_colour=True).items()
    }
    return made, data


def answers(preprocess: Preprocess, image: np.ndarray = COLOURS) -> list[int]:
    scores = network(preprocess)(preprocess.encode({"image": image}))["logits"]
    found: list[int] = scores.argmax(axis=1).tolist()
    return found


@pytest.mark.parametrize(
    "title",
    [
        "pixels / 255, 0..1",
        "pixels / 127.5 - 1, -1..1",
        "ImageNet's mean and deviation",
        "pixels / 255, 0..1, blue first (BGR)",
        "ImageNet's mean and deviation, blue first (BGR)",
    ],
)
def test_the_convention_that_the_labels_fit_is_taken_and_reported(title: str) -> None:
    made, _ = tried_on(None)
    label = answers(made[title])
    made, data = tried_on(label)
    found, said = choose_convention(made, network, data, name="m.onnx", identity="a")
    assert found == made[title]
    assert f"{title}, fits: 100.0 % right" in said
    assert isinstance(found, ImagePreprocess)
    assert found.colours == ("bgr" if "BGR" in title else "rgb")


def test_a_network_is_tried_once_on_few_samples() -> None:
    made, _ = tried_on(None)
    made, data = tried_on(answers(made["pixels / 255, 0..1"]))
    seen = []

    def counting(preprocess: Preprocess) -> Callable[[Arrays], Arrays]:
        def run(inputs: Arrays) -> Arrays:
            seen.append(len(next(iter(inputs.values()))))
            return network(preprocess)(inputs)

        return run

    for _ in range(3):
        choose_convention(made, counting, data, name="m.onnx", identity="counted")
    assert sum(seen) <= 32 * len(made)


def test_without_labels_it_is_asked_for() -> None:
    made, data = tried_on(None)
    with pytest.raises(ModelError, match=r"without labels.*model\.input\.std in pixel units"):
        choose_convention(made, network, data, name="m.onnx", identity="a")


def test_where_none_stands_out_it_is_asked_for() -> None:
    made, data = tried_on((RNG.permutation(400) % 4).tolist())
    with pytest.raises(ModelError, match="no better than a guess") as caught:
        choose_convention(made, network, data, name="m.onnx", identity="a")
    assert "folders" not in str(caught.value)


def test_where_folders_that_are_no_classes_are_the_cause_the_way_out_is_said() -> None:
    made, data = tried_on((RNG.permutation(400) % 3).tolist(), folders=("mon", "tue", "wed"))
    said = r"3 folders mon, tue, wed were taken as classes; the model has 4\. .*reference"
    with pytest.raises(ModelError, match=said):
        choose_convention(made, network, data, name="m.onnx", identity="a")


def test_another_order_of_the_classes_is_not_taken_for_a_scale() -> None:
    made, _ = tried_on(None)
    label = 3 - np.array(answers(made["pixels / 255, 0..1"]))
    made, data = tried_on(label.tolist())
    with pytest.raises(ModelError, match=r"in reverse order it is right in 100\.0 %"):
        choose_convention(made, network, data, name="m.onnx", identity="a")


def test_blue_first_turns_the_channels_alone() -> None:
    pixels = RNG.integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    mean, std = (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)
    for in_graph in (True, False):
        form = ImagePreprocess(height=5, width=7, mean=mean, std=std, in_graph=in_graph)
        turned = form.model_copy(update={"colours": "bgr"})
        np.testing.assert_array_equal(
            turned.encode({"image": pixels})["image"],
            form.encode({"image": pixels[..., ::-1]})["image"],
        )


def test_what_metadata_states_is_known() -> None:
    imagenet = {"mean": "[0.485, 0.456, 0.406]", "std": "(0.229, 0.224, 0.225)"}
    mean, std, _ = stated_scale(imagenet) or pytest.fail("it is stated")
    assert mean == pytest.approx((123.675, 116.28, 103.53))
    assert std == pytest.approx((58.395, 57.12, 57.375))
    assert (stated_scale({"mean": "127.5", "std": "127.5"}) or ())[:2] == (127.5, 127.5)
    ultralytics = {"stride": "32", "names": "{0: 'a'}", "imgsz": "[64, 64]"}
    assert (stated_scale(ultralytics) or ())[:2] == (0.0, 255.0)
    assert stated_scale({"mean": "of the data"}) is None
