"""What is said before any work."""

from __future__ import annotations

from edgekd.pipeline.preflight import describe_size
from edgekd.wording import speaking


def test_a_student_that_keeps_most_of_the_teacher_is_told_with_the_way_out() -> None:
    with speaking("flags", names=["student"]):
        cut = describe_size(146_499, 140_227, is_own=False)
        own = describe_size(1000, 1500, is_own=True)
    assert cut.startswith("warning: the student has 96 % of the teacher's parameters")
    assert "cannot be pruned; give a student of your own (--student net.py:build)" in cut
    assert "150 %" in own
    assert own.endswith("give a smaller one (--student net.py:build)")


def test_a_student_that_is_smaller_or_not_known_is_no_fault() -> None:
    assert describe_size(1000, 900, is_own=False) == ""
    assert describe_size(None, 900, is_own=False) == ""
    assert describe_size(1000, None, is_own=True) == ""
