"""What to do with a teacher, each with the measured number that is its reason.

The rules are those of the papers that they name. What they give is not measured yet;
`python -m edgekd.benchmarks.trials.teacher_advice` does it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from edgekd.evaluation.audit import Advice, Mistakes, StudentFacts, TeacherQuality, Together
from edgekd.evaluation.calibration import Temperature
from edgekd.evaluation.formatting import change, quality
from edgekd.evaluation.results import MetricInfo

POOR = 0.7
"""Share of the way from a guess to no mistake; below it a teacher is called poor."""
LARGE_GAP = 10.0
"""Times as many parameters or multiplications as the student has."""
LEAST_DOUBT = 1.0
"""Percent of the surer half; if surely more labels are contradicted, they are left out."""
_WEAK_SCALE = 1.25
"""A temperature nearer to 1 than this factor is left alone: it changes little."""


def advise(
    teacher: TeacherQuality,
    *,
    standing: str,
    standing_why: str,
    kind: str,
    softness: float | None,
    mistakes: Mistakes | None,
    student: StudentFacts | None,
) -> tuple[Advice, ...]:
    """Return advice for the step `distill`.

    Args:
        teacher: the first.
        standing: how it stands, and why.
        standing_why: in words.
        kind: of its output: classes, labels, values, ...
        softness: the temperature for soft targets (`soft_temperature`); None: not known.
        mistakes: the labels that it contradicts.
        student: None where it is not known.
    """
    if standing == "no better than a guess":
        return (
            Advice(
                do="Do not distil from this teacher: train the student on labels alone.",
                why=f"{standing_why}.",
                lines=("hard_weight = 1.0", "terms = []"),
            ),
        )
    if kind != "classes":
        return _without_classes(kind, standing, standing_why)
    found = [_loss(teacher, standing, standing_why, softness, student)]
    found += _temperature(teacher)
    if mistakes is not None:
        found.append(_labels(mistakes, standing))
    return tuple(found)


def _without_classes(kind: str, standing: str, why: str) -> tuple[Advice, ...]:
    if standing == "poor":
        return (
            Advice(
                do="Let labels and teacher weigh the same: this teacher errs too often to be "
                "followed alone.",
                why=f"{why}.",
                lines=(
                    "hard_weight = 1.0",
                    _terms({"kind": "soft-targets", "weight": 1.0}),
                ),
            ),
        )
    if kind not in ("labels", "values", "embedding"):
        return ()
    compares = "probability of each label" if kind == "labels" else "value of each output"
    return (
        Advice(
            do=f"Keep the default: soft targets compare the {compares}, without a temperature.",
            why=f"The outputs are of the kind {kind!r}, which other losses on outputs do not take.",
            lines=("hard_weight = 0.1", _terms({"kind": "soft-targets", "weight": 0.9})),
        ),
    )


def _loss(
    teacher: TeacherQuality,
    standing: str,
    standing_why: str,
    softness: float | None,
    student: StudentFacts | None,
) -> Advice:
    wrong, many = teacher.wrong, times_as_large(teacher, student)
    if standing == "poor":
        fading = {"kind": "cosine", "from": 1.0, "to": 0.0}
        return Advice(
            do="This teacher is poor. Let labels lead, follow it by DIST, and less and less.",
            why=f"{standing_why}. What a student follows to the end it cannot surpass (Cho and "
            "Hariharan 2019).",
            lines=(
                "hard_weight = 1.0",
                _terms({"kind": "dist", "weight": 1.0, "schedule": fading}),
            ),
        )
    if wrong is not None and wrong.smoothing is not None:
        sure = f" but is right in {100 * wrong.sure_accuracy:.1f} %" if wrong.sure_accuracy else ""
        return Advice(
            do="Compare by DIST, which learns correlations and not the values of probabilities.",
            why=f"The classes that the teacher does not choose look alike (evenness "
            f"{wrong.evenness:.2f} of 1), and in the half of the samples that it is surest of "
            f"it is sure to {100 * wrong.sure_confidence:.1f} %{sure}, as after training with "
            f"label smoothing of about {wrong.smoothing:.2f}. That erases what soft targets carry "
            "(Mueller et al. 2019).",
            lines=("hard_weight = 1.0", _terms({"kind": "dist", "weight": 2.0})),
        )
    if many is not None and many[0] >= LARGE_GAP:
        return Advice(
            do="Compare by DIST: so small a student can rank like the teacher, not copy it.",
            why=f"The teacher has {many[0]:.0f} times the {many[1]} of the student (Huang et al. "
            "2022).",
            lines=("hard_weight = 1.0", _terms({"kind": "dist", "weight": 2.0})),
        )
    term: dict[str, object] = {"kind": "soft-targets", "weight": 0.9}
    why = "Nothing was found that speaks against soft targets"
    if wrong is not None:
        why += (
            f": the classes that the teacher does not choose differ (evenness {wrong.evenness:.2f} "
            f"of 1, no sign of label smoothing)"
        )
    if softness is not None:
        term["temperature"] = softness
        why += (
            f". At a temperature of {softness:g} its answer keeps half of its lead over an even "
            "distribution, on training samples, so that the others count"
            if softness > 1
            else ". Its answer has less than half of the lead over an even distribution already, "
            "on training samples, so that a temperature of 1 is enough"
        )
    return Advice(do="Use soft targets.", why=f"{why}.", lines=("hard_weight = 0.1", _terms(term)))


def times_as_large(
    teacher: TeacherQuality, student: StudentFacts | None
) -> tuple[float, str] | None:
    """Return by how much the teacher is larger, and in what; None: it is not known."""
    if student is None:
        return None
    pairs = (
        ("parameters", teacher.parameters, student.parameters),
        ("multiplications", teacher.macs, student.macs),
    )
    known = [(its / own, what) for what, its, own in pairs if its and own]
    return max(known) if known else None


def scale_of(temperature: Temperature | None) -> float:
    """Return what the teacher's scores should be divided by; 1 where it changes little."""
    if temperature is None or not temperature.matters:
        return 1.0
    value = float(f"{temperature.value.value:.3g}")
    return 1.0 if 1 / _WEAK_SCALE < value < _WEAK_SCALE else value


def _temperature(teacher: TeacherQuality) -> list[Advice]:
    found = teacher.temperature
    if found is None:
        return []
    value = found.value
    error = f"from {found.error_before:.1f} to {found.error_after:.1f} %"
    if scale_of(found) == 1:
        return [
            Advice(
                do="Leave the teacher's scores as they are.",
                why=f"The temperature that fits the validation labels best is {quality(value)}: it "
                f"changes the calibration error {error}.",
            )
        ]
    sure = "too sure" if value.value > 1 else "less sure than it may be"
    return [
        Advice(
            do="Divide the teacher's scores by the temperature that fits the validation labels.",
            why=f"The teacher is {sure}: the temperature is {quality(value)}, and with it the "
            f"calibration error goes {error} (negative log-likelihood {found.nll_before:.3f} to "
            f"{found.nll_after:.3f}). A student takes over what its teacher is sure of.",
            lines=(f"teacher_temperature = {scale_of(found):g}",),
        )
    ]


def _labels(mistakes: Mistakes, standing: str) -> Advice:
    said = (
        f"In the half of the validation samples that the teacher is surest of, it contradicts "
        f"{mistakes.sure} of {mistakes.sure_of} labels, {quality(mistakes.sure_rate)} %"
    )
    if standing == "poor":
        why = f"{said}: so poor a teacher errs itself, and proves no label wrong."
        return Advice(do="Let all labels count.", why=why)
    if mistakes.sure_rate.low <= LEAST_DOUBT:
        return Advice(do="Let all labels count.", why=f"{said}: too few to be a fault of the data.")
    limit = min(0.999, max(0.5, mistakes.from_confidence))
    return Advice(
        do="Look at the contradicted labels, and leave them out of the loss meanwhile.",
        why=f"{said}: these labels are wrong, or the classes cannot be told apart.",
        lines=(f"distrust_labels = {limit:.3g}",),
    )


def advise_together(
    together: Together, metric: MetricInfo, others: Sequence[tuple[str, float]]
) -> Advice | None:
    """Return whether several teachers should teach together.

    Args:
        together: what their mean is worth.
        metric: that decides.
        others: file and weight of each further teacher.
    """
    gain = together.gain
    if gain is None:
        return None
    said = f"Their mean is {change(gain)} {metric.points()} from {together.best} alone"
    files = [{"onnx": path, "weight": weight} for path, weight in others]
    if gain.low > 0:
        return Advice(
            do="Teach with the mean of all teachers.",
            why=f"{said}.",
            lines=(f"more_teachers = {_inline(files)}",),
        )
    return Advice(
        do=f"Teach with {together.best} alone.",
        why=f"{said}: no gain is proven, and it costs time.",
    )


def _terms(*terms: dict[str, object]) -> str:
    return f"terms = {_inline(list(terms))}"


def _inline(value: object) -> str:
    """Return a value as TOML on one line."""
    if isinstance(value, dict):
        inner = ", ".join(f"{key} = {_inline(one)}" for key, one in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_inline, value))}]"
    return json.dumps(value, ensure_ascii=False)
