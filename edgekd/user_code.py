"""Load a user's function from "package.module:function" or "path/to/file.py:function".

A user's file is run under a module name made from its path, so that two files called `model.py`
live side by side. While it runs, and only then, its folder is first on `sys.path`: it may import
its neighbours as if it were started as a script.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import hashlib
import importlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from edgekd.errors import EdgekdError, ModelError
from edgekd.store import digest, file_sha256, locate

_EDGEKD = Path(__file__).parent
_neighbours: dict[str, Path] = {}  # modules that users' files imported from beside them -> folder


MODULE, FUNCTION = "given.module", "given.function"
"""In place of a module's name: an object of the caller, a network or a function."""


@dataclass(frozen=True)
class Given:
    """An object of the caller that stands for a function in a file."""

    name: str
    """For messages and folders; letters, digits and underscores."""
    function: Callable[..., Any]
    """What `resolve` returns."""
    sha256: str
    """Of its content: equal values, equal results."""
    is_trained: bool = False
    """Whether it is a network with the weights it is to keep."""

    @property
    def spec(self) -> str:
        """What a recipe has in its place."""
        kind = MODULE if self.is_trained else FUNCTION
        return f"{kind}:{self.name}_{self.sha256[:8]}"


_given: dict[str, Given] = {}


@contextlib.contextmanager
def giving(objects: Iterable[Given]) -> Iterator[None]:
    """Let `resolve` find these meanwhile."""
    before = dict(_given)
    _given.update({given.spec: given for given in objects})
    try:
        yield
    finally:
        _given.clear()
        _given.update(before)


def title(spec: str) -> str:
    """Return how messages call a function: an object of the caller by its own name."""
    return spec.rpartition(":")[2].rpartition("_")[0] if is_given(spec) else spec


def is_given(spec: str) -> bool:
    """Whether it stands for an object of the caller, here or in another process."""
    return spec.rpartition(":")[0] in (MODULE, FUNCTION)


def resolve(spec: str, *, root: Path) -> Callable[..., Any]:
    """Return the function (or class) that `spec` names.

    Args:
        spec: "package.module:function", importable from here, or "path/to/file.py:function".
        root: the folder that a relative path starts from.

    Raises:
        ModelError: it cannot be found, cannot be imported, or cannot be called.
    """
    if spec in _given:
        return _given[spec].function
    where, colon, name = spec.rpartition(":")
    if is_given(spec):
        raise ModelError(
            f"{title(spec)} was an object of the Python program that began this run, "
            "and is not here: make it again in the same way and call edgekd.compress with it"
        )
    if not (colon and where and name):
        raise ModelError(
            f"{spec!r} is not a function; write 'package.module:function' "
            "or 'path/to/file.py:function'"
        )
    is_file = where.endswith(".py") or "/" in where or "\\" in where
    module = _from_file(where, root) if is_file else _from_name(where)
    return _callable(module, name, spec)


def source_file(spec: str, *, root: Path) -> Path | None:
    """Return the .py file of "path/to/file.py:function", if `spec` names one that is there."""
    path = locate(spec.rpartition(":")[0], root=root)
    return path if path.suffix == ".py" and path.is_file() else None


def hash_source(spec: str, *, root: Path) -> str | None:
    """Return a hash of the .py file that `spec` names and of all it imports from beside it.

    Imports are followed from file to file, at the top and in functions. None:
    `spec` does not name a file that is there.
    """
    if spec in _given:
        return _given[spec].sha256
    first = source_file(spec, root=root)
    if first is None:
        return None
    found: dict[str, str] = {}
    todo = [first]
    while todo:
        path = todo.pop()
        name = path.relative_to(first.parent).as_posix()
        if name not in found:
            found[name] = file_sha256(path)
            todo += _imported_files(path, first.parent)
    return digest(found)


def _imported_files(path: Path, folder: Path) -> list[Path]:
    """Return the files below `folder` that `path` imports, as if `folder` were on sys.path."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # what is wrong with it is said when it is run
        return []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(folder).parts[: -node.level] if node.level else ()
            module = ".".join([*package, *filter(None, [node.module])])
            names |= {module, *(f"{module}.{alias.name}".lstrip(".") for alias in node.names)}
    parts = [name.split(".") for name in names if name]
    prefixes = {".".join(p[:n]) for p in parts for n in range(1, len(p) + 1)}
    files = [f for name in prefixes for f in _files_of(name.replace(".", "/"), folder)]
    return [file for file in files if file.is_file()]


def blame(error: BaseException) -> str:
    """Return "file:line" of where `error` arose, in the user's code if any of it was running.

    The calls of edgekd around it are not: an `nn.Sequential` fails in a line of torch.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_users(frame.filename)]
    last = (own or frames)[-1]
    return f"{last.filename}:{last.lineno}"


def _is_users(filename: str) -> bool:
    """Whether a file is no library's; the networks that edgekd brings count as the user's."""
    path = Path(filename)
    if filename.startswith("<"):
        return False
    if path.is_relative_to(_EDGEKD / "models"):
        return True
    libraries = [Path(sysconfig.get_path(kind)) for kind in ("stdlib", "purelib", "platlib")]
    return not any(path.is_relative_to(folder) for folder in [*libraries, _EDGEKD])


def _from_name(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _import_failed(name, error) from error  # what it imports is missing, not itself
        raise ModelError(
            f"there is no module {name!r} ({error.name!r} is not installed here); install its "
            "package, or name the file instead: 'path/to/file.py:function'"
        ) from error
    except (Exception, SystemExit) as error:
        raise _import_failed(name, error) from error


def _from_file(where: str, root: Path) -> ModuleType:
    path = locate(where, root=root).resolve()
    if not path.is_file():
        raise ModelError(
            f"there is no file {path} (from {where!r}, relative to {root}); "
            "correct the path, or move the file there"
        )
    if path.suffix != ".py":
        raise ModelError(f"{path} is not a Python file; write 'path/to/file.py:function'")
    name = f"edgekd_file_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    source = path.read_bytes()
    version = hashlib.sha256(source).hexdigest()
    known = sys.modules.get(name)
    if known is not None and known.__dict__.get("__version_sha256__") == version:
        return known  # run once: a second run would make second, unequal classes
    return _run_file(path, name, source, version)


def _run_file(path: Path, name: str, source: bytes, version: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ModelError(f"Python cannot import {path}; give a plain .py file")
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__version_sha256__"] = version
    sys.modules[name] = module  # before it runs: dataclasses look their module up there
    try:
        with _first_on_path(path.parent):
            # compiled here, not by the loader, whose cache misses an edit within the same second
            exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, EdgekdError) or not isinstance(error, (Exception, SystemExit)):
            raise
        raise _import_failed(str(path), error) from error
    return module


@contextlib.contextmanager
def _first_on_path(folder: Path) -> Iterator[None]:
    """Let imports find the modules in `folder`, not those of that name beside another file."""
    for name, home in list(_neighbours.items()):
        if home != folder and any(path.exists() for path in _files_of(name, folder)):
            for loaded in [key for key in sys.modules if f"{key}.".startswith(f"{name}.")]:
                del sys.modules[loaded]
            del _neighbours[name]
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()  # a neighbour may have been written a moment ago
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the file may have edited the path itself
            sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file) in _files_of(name, folder):
                _neighbours[name] = folder


def _files_of(name: str, folder: Path) -> tuple[Path, Path]:
    return folder / f"{name}.py", folder / name / "__init__.py"


def _import_failed(what: str, error: BaseException) -> ModelError:
    return ModelError(
        f"importing {what} failed at {blame(error)} with {type(error).__name__}: {error}; "
        "correct it there (python can run the file alone to show the same error)"
    )


def _callable(module: ModuleType, name: str, spec: str) -> Callable[..., Any]:
    found = getattr(module, name, None)
    if callable(found):
        return found  # type: ignore[no-any-return]  # callable() is all that can be known of it
    public = sorted(
        key for key, value in vars(module).items() if callable(value) and not key.startswith("_")
    )
    close = difflib.get_close_matches(name, public, n=3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    fault = "it does not exist" if found is None else f"it is {type(found).__name__}"
    raise ModelError(
        f"{spec!r} must name a function, but {fault} in {module.__file__}; {hint}"
        f"it contains: {', '.join(public[:20]) or 'no functions'}"
    )
