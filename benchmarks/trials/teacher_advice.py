"""Does the advice of `edgekd audit` help? Three teachers, each followed and not.

    python -m edgekd.benchmarks.trials.teacher_advice --out runs/teacher-advice \
        --json benchmarks/results/teacher-advice.json

One network is trained three times on the same data: as usual (good), with label smoothing of 0.1
(smoothed), and for a tenth of the epochs (weak). From each, ResNet-8 learns in equal epochs on
labels alone, with the default of `distill`, and with the lines that the audit of that teacher
advises, for every seed. Given is the accuracy on the test split after the last epoch.

Every training is a stage in the folder `--out`: what is finished is read back, so that a stopped
trial goes on. `--data mnist5k --teacher-epochs 10 --epochs 6` is a small one.
"""

from __future__ import annotations

import argparse
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from edgekd.artifact import FP32, Artifact
from edgekd.benchmarks.trials.report import conclude
from edgekd.cli.terminal import Terminal
from edgekd.data.preprocess import read_preprocess
from edgekd.distill.step import Distill
from edgekd.evaluation.reduced import reduce_split
from edgekd.exporters.ort_session import batch_size, predictor
from edgekd.networks.trainable import open_model
from edgekd.pipeline.audit.run import audit_teacher
from edgekd.pipeline.bench import Bench
from edgekd.pipeline.exported_stage import make_stage, make_teacher
from edgekd.pipeline.run_folder import claim
from edgekd.pipeline.setup import set_up
from edgekd.recipe.recipe import parse_recipe
from edgekd.tasks.classification import Classification

SMOOTHING = 0.1
WEAK_SHARE = 0.1
TEACHERS = ("good", "smoothed", "weak")
HERE = "edgekd.benchmarks.trials.teacher_advice"


class Smoothed(Classification):
    """Classification whose loss smooths its labels."""

    def loss(
        self, outputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(
            outputs["logits"].float(),
            targets["label"],
            reduction="none",
            label_smoothing=SMOOTHING,
        )


def table_of(
    name: str, data: str, model: Mapping[str, Any], *, task: str, seed: int
) -> dict[str, Any]:
    """Return a recipe without steps."""
    augment = {"crop": 4, "flip": True} if data == "cifar10" else {"shift": 2}
    return {
        "name": name,
        "seed": seed,
        "task": task,
        "data": {"name": data, "validation": 0.1, "augment": augment},
        "model": model,
        "budget": {"max_drop": 100.0},
    }


def build(data: str, name: str) -> dict[str, Any]:
    """Return how a network of this name is built for this data."""
    channels = 3 if data == "cifar10" else 1
    return {
        "build": f"edgekd.models:{name}",
        "options": {"classes": 10, "channels": channels},
    }


def training(epochs: int) -> dict[str, Any]:
    """Return the options of every training of this trial."""
    return {"epochs": epochs, "batch_size": 128, "learning_rate": 0.1}


def opened(table: Mapping[str, Any], folder: Path) -> tuple[Bench, Artifact]:
    """Return a run and its teacher, trained if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = parse_recipe(table, origin="this trial")
    bench = set_up(recipe, root=Path.cwd(), folder=folder, progress=Terminal(), export=False)
    claim(bench, command="")
    return bench, make_teacher(bench)


def train_teacher(kind: str, asked: argparse.Namespace) -> Path:
    """Return a file of weights of one of TEACHERS."""
    epochs = asked.teacher_epochs
    epochs = max(1, round(WEAK_SHARE * epochs)) if kind == "weak" else epochs
    task = f"{HERE}:Smoothed" if kind == "smoothed" else "classification"
    model = {**build(asked.data, asked.teacher), "train": training(epochs)}
    folder: Path = asked.out / f"teacher-{kind}"
    bench, teacher = opened(
        table_of(f"teacher-{kind}", asked.data, model, task=task, seed=0), folder
    )
    weights = folder / "weights.pt"
    if not weights.exists():
        body = open_model(teacher.folder, root=bench.root).body
        partial = weights.with_suffix(".partial")
        torch.save(body.state_dict(), partial)
        partial.replace(weights)
    return weights


def losses(lines: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the options of `distill` that are compared."""
    return {
        "labels alone": {"hard_weight": 1.0, "terms": []},
        "default": {},
        "advised": tomllib.loads("\n".join(lines)),
    }


def accuracy(bench: Bench, stage: Artifact) -> float:
    """Return the share of the test split that a student answers rightly, in percent."""
    path = stage.onnx(FP32)
    found = reduce_split(
        predictor(path),
        bench.task,
        bench.test,
        "test",
        read_preprocess(stage.folder),
        size=batch_size(path),
        teacher=None,
    )
    return bench.task.metrics[0].of(found.arrays)


def follow(kind: str, seed: int, weights: Path, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each loss, of students of one teacher and seed."""
    model = {**build(asked.data, asked.teacher), "weights": str(weights.absolute())}
    name = f"{kind}-{seed}"
    table = table_of(name, asked.data, model, task="classification", seed=seed)
    bench, teacher = opened({**table, "allow_poor_teacher": True}, asked.out / name)
    audit = audit_teacher(bench, teacher, more=(), step=None)
    rows = []
    for title, options in losses(audit.recipe_lines).items():
        if title == "labels alone" and kind != TEACHERS[0]:
            continue  # it does not depend on the teacher
        student = {
            "name": "distill",
            "student": build(asked.data, asked.student),
            "train": training(asked.epochs),
        }
        step = Distill.model_validate({**student, **options})
        stage = make_stage(bench, step, teacher, bench.context(teacher))
        rows.append(
            {
                "teacher": kind,
                "teacher top-1, validation": audit.first.metrics["top-1"].value,
                "standing": audit.standing,
                "smoothing": audit.first.wrong and audit.first.wrong.smoothing,
                "loss": title,
                "options": options,
                "seed": seed,
                "top-1, test": accuracy(bench, stage),
            }
        )
    return rows


def summary(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return a row for each teacher and loss: mean and deviation over seeds."""
    found = []
    for kind, loss in dict.fromkeys((row["teacher"], row["loss"]) for row in rows):
        values = [r["top-1, test"] for r in rows if (r["teacher"], r["loss"]) == (kind, loss)]
        deviation = statistics.stdev(values) if len(values) > 1 else 0.0
        teacher = "none" if loss == "labels alone" else kind
        found.append([teacher, loss, f"{statistics.mean(values):.2f} ± {deviation:.2f}"])
        found[-1].append(str(len(values)))
    return found


def main() -> None:
    """Train what is not trained yet, and print the table after every teacher and seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="cifar10", choices=("cifar10", "mnist5k"))
    parser.add_argument("--teacher", default="resnet20", help="function of edgekd.models")
    parser.add_argument("--student", default="resnet8", help="function of edgekd.models")
    parser.add_argument("--teacher-epochs", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/teacher-advice"))
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    weights = {kind: train_teacher(kind, asked) for kind in TEACHERS}
    for seed in range(asked.seeds):
        for kind in TEACHERS:
            rows += follow(kind, seed, weights[kind], asked)
            asked_for = {k: str(v) for k, v in vars(asked).items() if k not in ("json", "out")}
            conclude(
                f"{asked.student} of three teachers ({asked.data}), test split",
                ("teacher", "loss", "top-1 %", "seeds"),
                summary(rows),
                {"asked": asked_for, "rows": rows},
                asked.json,
            )


if __name__ == "__main__":
    main()
