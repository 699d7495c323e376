"""Labels of channels: equal labels must be removed together.

Every index of every dimension of a parameter is an atom. Layers unite atoms: what a convolution
writes is what the norm after it scales and the next convolution reads. Atom 0 is what stays.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Atoms = NDArray[np.int64]
"""One atom per index of a dimension."""
Labels = dict[int, Atoms]
"""Dimension of a tensor -> its atoms. A dimension without an entry has no channels to cut."""
FIXED = 0


class Union:
    """Disjoint sets of atoms (Tarjan 1975). The set of atom 0 stays; each set keeps why."""

    def __init__(self) -> None:
        """Begin with only atom 0."""
        self._parent = [FIXED]
        self._reasons: dict[int, str] = {FIXED: "it is not a channel of a layer"}

    def new(self, count: int) -> Atoms:
        """Return `count` atoms that are united with nothing."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count, dtype=np.int64)

    def root(self, atom: int) -> int:
        """Return the representative of an atom's set; 0 for everything that stays."""
        top = atom
        while self._parent[top] != top:
            top = self._parent[top]
        while self._parent[atom] != top:
            self._parent[atom], atom = top, self._parent[atom]
        return top

    def roots(self, atoms: Atoms) -> Atoms:
        """Return the representatives, in the same shape."""
        unique, inverse = np.unique(atoms, return_inverse=True)
        found = np.array([self.root(int(atom)) for atom in unique], np.int64)
        return found[inverse].reshape(atoms.shape)

    def unite(self, left: Atoms, right: Atoms) -> None:
        """Unite atoms in pairs; the arrays broadcast against each other."""
        pairs = np.stack(np.broadcast_arrays(left, right), -1).reshape(-1, 2)
        for one, other in np.unique(pairs, axis=0).tolist():
            self._join(one, other)

    def fix(self, atoms: Atoms, reason: str) -> None:
        """Let atoms stay; of several reasons for one set the first counts."""
        for atom in np.unique(atoms).tolist():
            root = self.root(atom)
            if root != FIXED:
                self._reasons.setdefault(atom, reason)
                self._reasons.setdefault(root, reason)
                self._join(root, FIXED)

    def fix_all(self, labels: Iterable[Labels], reason: str) -> None:
        """Let every channel of some tensors stay."""
        for label in labels:
            for atoms in label.values():
                self.fix(atoms, reason)

    def reason(self, atoms: Atoms) -> str:
        """Return why the first of these atoms stays, as far as it is known."""
        known = (self._reasons[a] for a in atoms.tolist() if a in self._reasons)
        return next(known, "it goes together with channels that stay")

    def _join(self, one: int, other: int) -> None:
        low, high = sorted((self.root(one), self.root(other)))
        if low == high:
            return
        self._parent[high] = low  # the smaller number leads, so 0 leads wherever it is
        if low == FIXED:  # both atoms and the set now stay for the reason of the one that did
            known = (self._reasons.get(atom) for atom in (one, other) if atom != FIXED)
            reason = next((text for text in known if text), None)
            for atom in (one, other, high) if reason else ():
                self._reasons.setdefault(atom, str(reason))
