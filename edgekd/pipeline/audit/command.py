"""`edgekd audit`: open the teacher, audit it, and write what was found; nothing is compressed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group

from edgekd.distill.step import AnotherTeacher, Distill
from edgekd.errors import RecipeError, require
from edgekd.evaluation.audit import PAGE, Audit
from edgekd.pipeline.audit.run import audit_teacher
from edgekd.pipeline.exported_stage import make_teacher
from edgekd.pipeline.run_folder import check_owner, claim
from edgekd.pipeline.setup import set_up
from edgekd.progress import Progress, Silent
from edgekd.recipe.recipe import Recipe
from edgekd.report.run.audit import shown
from edgekd.report.run.audit_page import write_page
from edgekd.report.run.notebook import as_plain_text
from edgekd.store import run_lock
from edgekd.wording import option, speaking_of


@dataclass(frozen=True, repr=False)
class AuditResult:
    """The result of an audit; `audit` has every number."""

    folder: Path
    audit: Audit

    @property
    def report(self) -> Path:
        """The page to show."""
        return self.folder / PAGE

    @property
    def lines(self) -> tuple[str, ...]:
        """What is advised, as lines of the step `distill`."""
        return self.audit.recipe_lines

    @property
    def ok(self) -> bool:
        """Whether the teacher is better than a guess, as far as that can be judged."""
        return self.audit.standing != "no better than a guess"

    def __rich__(self) -> Group:
        """Show it with `rich.print`."""
        return shown(self.audit)

    def __repr__(self) -> str:
        """Show it as text."""
        return f"{as_plain_text(shown(self.audit))}\nreport {self.report}"


def make_audit_table(table: Mapping[str, Any], *, student: str | None) -> dict[str, Any]:
    """Return the table of a recipe that only opens the model, and knows the student.

    Args:
        table: as flags make it for a whole job.
        student: a function that builds it; None: not known.

    Raises:
        RecipeError: the model would be trained first.
    """
    if "train" in table["model"]:
        raise RecipeError(
            f"{table['model']['build']} builds a network without trained weights, and an audit is "
            f"of a trained teacher; give them ({option('model.weights', 'weights.pt')})"
        )
    own = {"input": table["model"]["input"]} if "input" in table["model"] else {}
    learns = {"name": "distill", "student": {"build": student, **own}}
    return {
        **table,
        "budget": {"max_drop": 100.0},  # nothing is judged by it
        "steps": [] if student is None else [learns],
    }


def audit(
    recipe: Recipe,
    more: Sequence[str] = (),
    *,
    root: Path,
    out: Path,
    progress: Progress | None = None,
    command: str = "",
) -> AuditResult:
    """Audit the model of a recipe; its run folder is that of the later job.

    Args:
        recipe: its first step `distill` says what the student and the further teachers are.
        more: further teachers, ONNX files, beside those.
        root: the folder of the user's files.
        out: the run folder; a teacher that the recipe trains is trained there.
        progress: a listener.
        command: that repeats it.

    Raises:
        BadInput: the data or a model is wrong; nothing is half-written.
    """
    if recipe.trains:
        for package in ("torch", "onnxscript", "safetensors"):
            require(package, extra="train")
    names = [step.name for step in recipe.steps]
    with run_lock(out), speaking_of(names):
        check_owner(recipe, out)
        bench = set_up(recipe, root=root, folder=out, progress=progress or Silent(), export=False)
        claim(bench, command=command)
        teacher = make_teacher(bench)
        step = next((s for s in bench.recipe.working_steps if isinstance(s, Distill)), None)
        own = () if step is None else step.more_teachers
        others = [AnotherTeacher(onnx=path) for path in more]
        found = audit_teacher(bench, teacher, more=(*own, *others), step=step)
        write_page(found, out, name=recipe.name, command=command)
    return AuditResult(out, found)
