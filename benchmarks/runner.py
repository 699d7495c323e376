"""Time one ONNX file in one process; the only file that a board needs beside numpy and onnxruntime.

    python runner.py MODEL FEEDS.npz --threads 1                  serve commands on stdin
    python runner.py MODEL FEEDS.npz --outputs OUT.npz            run every feed once and stop

FEEDS.npz holds one array per input, each with a leading axis of calls. Standard output carries one
JSON document per line and nothing else. Commands, one JSON document per line on standard input:

    {"load": true}      -> {"load_s", "first_s"}   create the session, then the first inference
    {"warm": seconds}   -> {"warm_s": [..]}        call after call, at least 3
    {"run": seconds}    -> {"block_s": [..]}       one block: raw seconds of every call, at least 3
    {"quit": true}      -> {"peak_memory_bytes"}   and exit; so does the end of standard input

Whoever starts it decides when it works: between commands it sleeps on standard input. The first
calls of every block are made but not counted, because a process that slept finds cold caches and
sleeping worker threads. Python 3.8 is enough, and nothing of edgekd is imported: boards run this
file as it is.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
import traceback
from typing import IO, Any

import numpy as np
import onnxruntime as ort

REWARM_S = 0.002  # not counted at the start of a block; at least one call
REWARM_POOL_S = 0.008  # with several threads: until the scheduler has spread the woken workers
LEAST_CALLS = 3
MOST_CALLS = 1000  # per block: more would tell nothing and fill the disk


def open_session(model: str, provider: str, threads: int) -> Any:
    """Create the session with every option that changes speed stated."""
    if provider not in ort.get_available_providers():
        known = ", ".join(ort.get_available_providers())
        raise ValueError(f"this onnxruntime has no provider {provider}; it has {known}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=[provider])
    if session.get_providers()[0] != provider:  # onnxruntime falls back without an error
        raise ValueError(f"{provider} could not be started; got {session.get_providers()[0]}")
    return session


def read_feeds(path: str) -> list[dict[str, Any]]:
    """Return one dict of input arrays per call."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    counts = {array.shape[0] if array.ndim else 0 for array in arrays.values()}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"every array of {path} needs the same, non-empty leading axis of calls")
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return [  # views, not copies: peak memory is to tell about the model
        {name: array[call : call + 1].reshape(array.shape[1:]) for name, array in arrays.items()}
        for call in range(counts.pop())
    ]


class Timer:
    """One session and its inputs, bound once: a timed call is the engine and little else."""

    def __init__(self, arguments: Any, feeds: list[dict[str, Any]]) -> None:
        """Create the session and make the first call; both are timed."""
        threads = arguments.threads
        start = time.perf_counter_ns()
        self.session = open_session(arguments.model, arguments.provider, threads)
        self.load_s = (time.perf_counter_ns() - start) * 1e-9
        self.bindings = [self._bind(feed) for feed in feeds]
        self.turn = 0
        self.rewarm_s = REWARM_S if threads == 1 else REWARM_POOL_S
        self.has_pool = threads != 1
        self.first_s = self._call() * 1e-9
        self.call_s = self.first_s

    def _bind(self, feed: dict[str, Any]) -> Any:
        binding = self.session.io_binding()
        for name, array in feed.items():
            binding.bind_cpu_input(name, array)
        for output in self.session.get_outputs():
            binding.bind_output(output.name, "cpu")  # overwritten by the next call of this feed
        return binding

    def _call(self) -> int:
        """Run the next feed; nanoseconds."""
        binding = self.bindings[self.turn]
        self.turn = (self.turn + 1) % len(self.bindings)
        start = time.perf_counter_ns()
        self.session.run_with_iobinding(binding)
        return time.perf_counter_ns() - start

    def _settle(self) -> None:
        """Wait until idle worker threads sleep, so that they do not slow whoever is timed next.

        A pool of onnxruntime spins for about 40 ms after its last call. Forbidding that
        (allow_spinning=0) makes small models 1.2 to 2 times slower; waiting changes nothing.
        """
        for _ in range(100 if self.has_pool else 0):
            busy = time.process_time_ns()
            time.sleep(0.002)
            if time.process_time_ns() - busy < 500_000:
                return

    def warm(self, seconds: float) -> list[float]:
        """Call for `seconds`, at least 3 times; learns how long a call takes."""
        limit = time.perf_counter_ns() + int(seconds * 1e9)
        times = [self._call()]
        while len(times) < LEAST_CALLS or time.perf_counter_ns() < limit:
            times.append(self._call())
        self.call_s = sorted(times)[len(times) // 2] * 1e-9
        self._settle()
        return [t * 1e-9 for t in times]

    def block(self, seconds: float) -> list[float]:
        """Return the seconds of each call of a block that takes about `seconds`."""
        call_s = max(self.call_s, 1e-7)
        count = min(max(LEAST_CALLS, round(seconds / call_s)), MOST_CALLS)
        turn = self.turn
        for _ in range(min(max(1, round(self.rewarm_s / call_s)), MOST_CALLS)):
            self._call()
        self.turn = turn  # re-warming must not shift which feeds are counted
        times = [self._call() for _ in range(count)]
        self.call_s = sorted(times)[count // 2] * 1e-9
        self._settle()
        return [round(t * 1e-9, 9) for t in times]


def peak_memory_bytes() -> int:
    """Return the largest resident size of this process, interpreter and runtime included.

    Linux keeps ru_maxrss across exec: the child of a big parent would report the parent. VmHWM
    belongs to the new program alone.
    """
    try:
        with open("/proc/self/status") as status:  # noqa: PTH123
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def write_outputs(arguments: Any, feeds: list[dict[str, Any]], out: IO[str]) -> None:
    """Run every feed once and write output i as "arr_i", stacked along a leading axis of calls.

    The names travel in the JSON line: an output may be called what an argument of savez is.
    """
    session = open_session(arguments.model, arguments.provider, arguments.threads)
    names = [output.name for output in session.get_outputs()]
    rows = [session.run(names, feed) for feed in feeds]
    arrays = []
    for index, name in enumerate(names):
        shapes = sorted({row[index].shape for row in rows})
        if len(shapes) > 1:
            raise ValueError(f"output {name!r} has a different shape in different calls: {shapes}")
        arrays.append(np.stack([row[index] for row in rows]))
    np.savez(arguments.outputs, *arrays)
    say(out, {"outputs": names})


def say(out: IO[str], document: dict[str, Any]) -> None:
    """Write one line of JSON."""
    out.write(json.dumps(document) + "\n")
    out.flush()


def serve(arguments: Any, feeds: list[dict[str, Any]], out: IO[str]) -> None:
    """Answer commands until told to quit or until whoever asks is gone."""
    say(out, {"ready": True, "runtime": "onnxruntime " + ort.__version__})
    timer = None
    gc.collect()
    gc.disable()  # a collection inside a timed call would be counted as the model's
    for line in sys.stdin:
        command = json.loads(line)
        if "load" in command:
            timer = Timer(arguments, feeds)
            say(out, {"load_s": timer.load_s, "first_s": timer.first_s})
        elif "quit" in command:
            break
        elif timer is None:
            raise ValueError("load comes first")
        elif "warm" in command:
            say(out, {"warm_s": timer.warm(command["warm"])})
        elif "run" in command:
            say(out, {"block_s": timer.block(command["run"])})
        else:
            raise ValueError("unknown command: " + line.strip())
    say(out, {"peak_memory_bytes": peak_memory_bytes()})


def main() -> int:
    """Parse the command line and work; every failure is one {"error": ...} line and exit code 1."""
    parser = argparse.ArgumentParser(description="Time one ONNX file in one process.")
    parser.add_argument("model")
    parser.add_argument("feeds")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--provider", default="CPUExecutionProvider")
    parser.add_argument("--outputs")
    arguments = parser.parse_args()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a native library prints must not end up between the JSON lines
    try:
        feeds = read_feeds(arguments.feeds)
        if arguments.outputs:
            write_outputs(arguments, feeds, out)
        else:
            serve(arguments, feeds, out)
    except Exception as error:  # noqa: BLE001  whatever it was, the parent must hear of it
        traceback.print_exc()
        say(out, {"error": f"{type(error).__name__}: {error}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
