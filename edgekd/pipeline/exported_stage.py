"""A step and the export that follows every network."""

from __future__ import annotations

from edgekd.artifact import Artifact
from edgekd.pipeline.bench import Bench
from edgekd.pipeline.export import Export
from edgekd.pipeline.stage import run_step
from edgekd.step import Context, Step


def make_stage(bench: Bench, step: Step, source: Artifact, context: Context) -> Artifact:
    """Run a step, and export the network where it makes one, with previews of what may ship."""
    with bench.log.spend("train" if step.training else "quantize"):
        after = run_step(step, source, context, bench.stages)
    if not step.makes_network:
        return after
    export = Export(opset=bench.recipe.export.opset, early=bench.recipe.early)
    with bench.log.spend("export"):
        return run_step(export, after, context, bench.stages)


def make_teacher(bench: Bench) -> Artifact:
    """Run the first stage."""
    nothing = Artifact(bench.folder, {})
    return make_stage(bench, bench.recipe.working_teacher, nothing, bench.context(None))
