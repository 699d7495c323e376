"""Run a step into a stage: a sealed folder, written once and reused by its key."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgekd.artifact import SEAL, WORK, Artifact, open_artifact, seal_artifact
from edgekd.data.preprocess import FILE, copy_preprocess
from edgekd.errors import EdgekdError, NothingToDo, one_line
from edgekd.step import BUILT, Context, Step
from edgekd.store import write_json
from edgekd.training.losses import keep_losses

SKIPPED = "skipped.json"
"""The only file in the stage of a step that had nothing to do: the reason."""


def run_step(step: Step, source: Artifact, context: Context, stages: Path) -> Artifact:
    """Return the result of `step`, from disk if it is there. The rename commits.

    Raises:
        NothingToDo: the step can change nothing in `source`. That is stored like a result.
    """
    key = step.key(source, context)
    done = stages / f"{step.name}-{key[:12]}"
    if done.exists():
        return _unless_skipped(open_artifact(done))
    environment = dict(step.environment(source, context))
    entry = {**step.model_dump(mode="json"), "key": key, "environment": environment}
    changed = _changed_environment(entry, stages)
    if changed:
        context.progress.say(f"{step.name} is made again, because of a change: {changed}")
    partial = done.with_name(done.name + ".partial")
    (partial / WORK).mkdir(parents=True, exist_ok=True)
    if (source.folder / FILE).exists():  # a new network brings its own
        copy_preprocess(source.folder, partial)
    try:
        step.apply(source, context.only(step.needed), partial)
        keep_losses(partial / WORK, stages.parent, done.name)
    except NothingToDo as signal:
        shutil.rmtree(partial)
        partial.mkdir()
        write_json(partial / SKIPPED, {"reason": one_line(signal)})
    except BaseException as error:
        left = {path.name for path in (partial / WORK).iterdir()}
        # what was refused comes back with other options: then only the network is of no use
        if not left or (isinstance(error, EdgekdError) and left == {BUILT}):
            shutil.rmtree(partial)
        raise
    return _unless_skipped(seal_artifact(partial, done, (*source.history, entry)))


def _unless_skipped(stage: Artifact) -> Artifact:
    if SKIPPED in stage.files:
        text = (stage.folder / SKIPPED).read_text(encoding="utf8")
        raise NothingToDo(json.loads(text)["reason"])
    return stage


def _changed_environment(entry: Mapping[str, Any], stages: Path) -> str:
    """Return how this machine differs from the one that made a stage of equal options; or ""."""
    own = {"key", "environment"}
    now: Mapping[str, str] = entry["environment"]
    for stage in sorted(stages.glob(f"{entry['name']}-*")):
        if not (stage / SEAL).is_file():
            continue
        *_, old = json.loads((stage / SEAL).read_text(encoding="utf8"))["history"]
        then: Mapping[str, str] = old["environment"]
        if then != now and all(old.get(name) == entry[name] for name in entry if name not in own):
            names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
            return ", ".join(f"{n} {then.get(n, 'none')} -> {now.get(n, 'none')}" for n in names)
    return ""
