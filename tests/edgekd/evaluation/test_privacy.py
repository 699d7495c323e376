"""No path of this machine leaves it."""

from __future__ import annotations

import pytest

from edgekd.evaluation.privacy import without_paths


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("edgekd compress /home/alice/r.toml --out /srv/x/run", "edgekd compress r.toml --out run"),
        ("edgekd compress --out=/home/alice/run r.toml", "edgekd compress --out=run r.toml"),
        ("edgekd compress '/home/alice b/my r.toml' -x", "edgekd compress 'my r.toml' -x"),
        ("edgekd compress '--out=/home/al b/run' -x", "edgekd compress '--out=run' -x"),
        ("/home/alice/my data/cifar10", "cifar10"),
        ("/home/alice/net.py:build", "net.py:build"),
        ("--out /home/alice --seed 1", "--out ~ --seed 1"),
        ("cd /root then", "cd ~ then"),
        ("~alice/runs/x and ~/y/z", "x and z"),
        (r"edgekd compress C:\Users\alice\r.toml", "edgekd compress r.toml"),
        (r"--out=C:\Users\alice", "--out=~"),
        ("file:///home/alice/x.html", "x.html"),
        ("failed (/tmp/a/b.onnx), see", "failed (b.onnx), see"),
        ("cache:/home/alice/w.pt", "cache:w.pt"),
        ("steps[0]: /home/alice/a.py: no such file", "steps[0]: a.py: no such file"),
    ],
)
def test_absolute_paths_are_cut_to_their_last_part(text: str, shown: str) -> None:
    assert without_paths(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "edgekd compress recipes/mnist.toml --out runs/mnist",
        "see https://example.org/a/b for more",
        "1/2 of 10 km/h, and/or </b> a / b",
        "data:image/png;base64,iVBORw0KGgo/AAA/BBB+/C==",
        "top-1, %",
        "",
    ],
)
def test_what_is_no_absolute_path_stays(text: str) -> None:
    assert without_paths(text) == text
