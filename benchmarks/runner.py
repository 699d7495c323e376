"""Time one model in one process; a board needs only this file, numpy and onnxruntime.

    python runner.py MODEL FEEDS.npz --threads 1                  serve commands on stdin
    python runner.py MODEL FEEDS.npz --outputs OUT.npz            run every feed once and stop
    python runner.py MODEL FEEDS.npz --engine E.py --build FILE   build what E runs, and stop
    python runner.py MODEL FEEDS.npz --profile FOLDER             run 50 calls under the profiler

FEEDS.npz contains one array per input, each with a leading axis of calls. Standard input takes one
command per line, standard output carries one answer per line and nothing else; both are JSON:

    {"ready": true}     -> {"ready"}                  all is imported; nothing is loaded yet
    {"load": true}      -> {"load_s", "first_s", "harness_s"}   the session, then the first call
    {"warm": seconds}   -> {"warm_s": [..]}           call after call, at least 2
    {"run": seconds}    -> {"block_s": [..], "elapsed_s", "cpu_s", "sample"}   one block, raw
    {"run": seconds, "rate_hz": f}   the same at a fixed rate, from the intended starts; no cpu_s
    {"parts": seconds}  -> {"parts_s": {"copy_in", "engine", "copy_out"}}   of calls end to end;
                           with --pipeline FILE.py also its preprocess and postprocess
    {"sample": true}    -> {"sample": {..}}           the machine's counters now
    {"quit": true}      -> {"peak_memory_bytes"}      and exit; so does the end of standard input

Whoever starts it decides when it works: between commands it sleeps. The first calls of every block
are made but not counted, because a process that slept finds cold caches and sleeping worker
threads. Python 3.8 is enough, and edgekd is not imported: boards run this file unchanged.
Another runtime is a file that defines `Engine` as the one below does (`--engine`).
"""

from __future__ import annotations

import argparse
import functools
import gc
import importlib.util
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import IO, Any

import numpy as np

REWARM_S = 0.002  # not counted at the start of a block; at least one call
REWARM_POOL_S = 0.008  # with several threads: until the scheduler has spread the woken workers
LEAST_CALLS = 2
MOST_CALLS = 1000  # per block in a closed loop: more would add nothing and fill the disk
MOST_FRAMES = 100_000  # per block at a fixed rate
SPIN_S = 0.0005  # before an intended start: sleep is not that exact
HARNESS_CALLS = 2000
PROFILED_CALLS = 50


class Engine:
    """ONNX Runtime. `calls` contains one function without arguments per feed and stream."""

    def __init__(self, arguments: Any, feeds: list[dict[str, Any]]) -> None:
        """Create the session with every option that changes speed stated."""
        import onnxruntime as ort

        self.version = "onnxruntime " + ort.__version__
        self.session = open_session(arguments)
        self.feeds = feeds
        self.names = [output.name for output in self.session.get_outputs()]

    def calls(self) -> list[Any]:
        """Bind inputs and outputs once: a timed call is the engine and little else."""
        return [self._bound(feed) for feed in self.feeds]

    def _bound(self, feed: dict[str, Any]) -> Any:
        binding = self.session.io_binding()
        for name, array in feed.items():
            binding.bind_cpu_input(name, array)
        for name in self.names:
            binding.bind_output(name, "cpu")  # overwritten by the next call of this feed
        return functools.partial(self.session.run_with_iobinding, binding)

    def parts(self, index: int) -> dict[str, float]:
        """Run one feed end to end, as an app does: copy in, run, copy the outputs out."""
        import onnxruntime as ort

        clock = time.perf_counter
        start = clock()
        values = {n: ort.OrtValue.ortvalue_from_numpy(a) for n, a in self.feeds[index].items()}
        copied = clock()
        outputs = self.session.run_with_ort_values(self.names, values)
        ran = clock()
        for value in outputs:
            value.numpy()
        return {"copy_in": copied - start, "engine": ran - copied, "copy_out": clock() - ran}

    def outputs(self, feed: dict[str, Any]) -> dict[str, Any]:
        """Run once and return the outputs by name."""
        rows = self.session.run(self.names, feed)
        return {name: rows[index] for index, name in enumerate(self.names)}


def open_session(arguments: Any, profile: str = "") -> Any:
    """Create a session of ONNX Runtime with every option that changes speed stated.

    Within edgekd `exporters/ort_session.py` opens sessions; this file travels alone to a device.
    """
    import onnxruntime as ort

    provider = arguments.provider or "CPUExecutionProvider"
    if provider not in ort.get_available_providers():
        known = ", ".join(ort.get_available_providers())
        raise ValueError(f"this onnxruntime does not have the provider {provider}; it has {known}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    if arguments.streams > 1:  # callers bring threads of their own, and idle pools would fight
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    for pair in arguments.option:
        key, _, value = pair.partition("=")
        options.add_session_config_entry(key, value)
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    session = ort.InferenceSession(arguments.model, options, providers=[provider])
    if session.get_providers()[0] != provider:  # onnxruntime falls back without an error
        raise ValueError(f"{provider} could not be started; got {session.get_providers()[0]}")
    return session


def load_file(path: str) -> Any:
    """Return a Python file as a module."""
    spec = importlib.util.spec_from_file_location("loaded", path)
    if spec is None or spec.loader is None:
        raise ValueError("cannot load Python code from " + path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_feeds(path: str) -> list[dict[str, Any]]:
    """Return one dict of input arrays per call."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    counts = {array.shape[0] if array.ndim else 0 for array in arrays.values()}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"every array of {path} needs the same, non-empty leading axis of calls")
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return [  # views, not copies: peak memory must be that of the model
        {name: array[call : call + 1].reshape(array.shape[1:]) for name, array in arrays.items()}
        for call in range(counts.pop())
    ]


def time_calls(calls: list[Any], turn: int, count: int) -> list[int]:
    """Call `count` times, in turn, and return nanoseconds; nothing is allocated but integers."""
    clock, size = time.perf_counter_ns, len(calls)
    times = [0] * count
    for i in range(count):
        call = calls[(turn + i) % size]
        start = clock()
        call()
        times[i] = clock() - start
    return times


def time_frames(calls: list[Any], turn: int, rate_hz: float, count: int) -> list[int]:
    """Start call i at i / rate_hz, late if the last one is not done; nanoseconds since then.

    No frame is left out: what a stall delays is counted for every frame that had to wait, which a
    closed loop hides (coordinated omission; G. Tene, wrk2).
    """
    clock, size = time.perf_counter_ns, len(calls)
    period, spin = 1e9 / rate_hz, int(SPIN_S * 1e9)
    times = [0] * count
    begin = clock() + spin
    for i in range(count):
        intended = begin + int(i * period)
        ahead = intended - clock()
        if ahead > spin:
            time.sleep((ahead - spin) * 1e-9)
        while clock() < intended:
            pass
        calls[(turn + i) % size]()
        times[i] = clock() - intended
    return times


class Timer:
    """One engine and its inputs, bound once."""

    def __init__(self, engine_class: Any, arguments: Any, feeds: list[dict[str, Any]]) -> None:
        """Create the session and make the first call; both are timed."""
        start = time.perf_counter_ns()
        self.engine = engine_class(arguments, feeds)
        self.load_s = (time.perf_counter_ns() - start) * 1e-9
        self.streams = [self.engine.calls() for _ in range(arguments.streams)]
        self.feeds = feeds
        self.pipeline = load_file(arguments.pipeline) if arguments.pipeline else None
        self.raw = list(self.pipeline.inputs()) if self.pipeline else []
        self.turn = 0
        self.has_pool = arguments.threads != 1
        self.rewarm_s = REWARM_POOL_S if self.has_pool else REWARM_S
        self.first_s = self._count(1)[0] * 1e-9
        self.call_s = self.first_s
        nothing = [_nothing] * len(feeds)
        self.harness_s = sorted(time_calls(nothing, 0, HARNESS_CALLS))[HARNESS_CALLS // 2] * 1e-9

    def _count(self, count: int) -> list[int]:
        """Make `count` calls on the first stream; nanoseconds of each."""
        times = time_calls(self.streams[0], self.turn, count)
        self.turn = (self.turn + count) % len(self.streams[0])
        return times

    def _settle(self) -> None:
        """Wait until idle worker threads sleep, so that they do not slow the next process.

        A pool of onnxruntime spins for about 40 ms after its last call. Forbidding that
        (allow_spinning=0) makes small models 1.2 to 2 times slower; waiting changes nothing.
        """
        for _ in range(100 if self.has_pool else 0):
            busy = time.process_time_ns()
            time.sleep(0.002)
            if time.process_time_ns() - busy < 500_000:
                return

    def warm(self, seconds: float) -> list[float]:
        """Call for `seconds`, at least twice; learns how long a call takes."""
        limit = time.perf_counter_ns() + int(seconds * 1e9)
        times = self._count(1)
        while len(times) < LEAST_CALLS or time.perf_counter_ns() < limit:
            times += self._count(1)
        self.call_s = sorted(times)[len(times) // 2] * 1e-9
        self._settle()
        return [t * 1e-9 for t in times]

    def block(self, seconds: float, rate_hz: float | None) -> dict[str, Any]:
        """Return the seconds of each call of a block that takes about `seconds`."""
        call_s = max(self.call_s, 1e-7)
        turn = self.turn
        self._count(min(max(1, round(self.rewarm_s / call_s)), MOST_CALLS))
        self.turn = turn  # re-warming must not shift which feeds are counted
        own = time.process_time_ns()
        start = time.perf_counter_ns()
        if rate_hz:
            frames = min(max(LEAST_CALLS, round(seconds * rate_hz)), MOST_FRAMES)
            times = time_frames(self.streams[0], turn, rate_hz, frames)
        else:
            count = min(max(LEAST_CALLS, round(seconds / call_s)), MOST_CALLS)
            times = self._count(count) if len(self.streams) == 1 else self._together(count)
        elapsed_s = (time.perf_counter_ns() - start) * 1e-9
        own_s = (time.process_time_ns() - own) * 1e-9
        if not rate_hz:  # at a fixed rate the times include waiting
            self.call_s = sorted(times)[len(times) // 2] * 1e-9 / len(self.streams)
        self._settle()
        found = {"block_s": [round(t * 1e-9, 9) for t in times], "elapsed_s": elapsed_s}
        return found if rate_hz else {**found, "cpu_s": own_s}

    def _together(self, count: int) -> list[int]:
        """Share the calls of a block among all streams, which run at the same time."""
        times: list[list[int]] = [[] for _ in self.streams]
        each = max(LEAST_CALLS, count // len(self.streams))
        barrier = threading.Barrier(len(self.streams))

        def work(index: int) -> None:
            barrier.wait()
            times[index] = time_calls(self.streams[index], self.turn, each)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(self.streams))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [t for stream in times for t in stream]

    def parts(self, seconds: float) -> dict[str, list[float]]:
        """Return the seconds of each part of an inference end to end."""
        self._end_to_end(0)  # the first is a warm-up
        limit = time.perf_counter() + seconds
        rows = [self._end_to_end(0)]
        while len(rows) < LEAST_CALLS or time.perf_counter() < limit:
            rows.append(self._end_to_end(len(rows)))
        self._settle()
        return {name: [round(row[name], 9) for row in rows] for name in rows[0]}

    def _end_to_end(self, index: int) -> dict[str, float]:
        """Run one feed as an app does; seconds of each part in the order of an app."""
        index %= len(self.feeds)
        parts: dict[str, float] = self.engine.parts(index)
        if self.pipeline is None:
            return parts
        outputs = self.engine.outputs(self.feeds[index])
        raw = self.raw[index % len(self.raw)]
        start = time.perf_counter()
        self.pipeline.preprocess(raw)
        between = time.perf_counter()
        self.pipeline.postprocess(outputs)
        after_s = time.perf_counter() - between
        return {"preprocess": between - start, **parts, "postprocess": after_s}


def _nothing() -> None:
    """Stand in for a model, to time the harness alone."""


def read_number(path: str) -> float | None:
    """Return the first number of a file of the kernel; None where there is none."""
    try:
        with Path(path).open() as file:
            return float(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def sensor_files(pattern: str) -> list[str]:
    """Return the files below /sys that fit."""
    return sorted(str(path) for path in Path("/sys").glob(pattern))


class Sensors:
    """The sensors of the machine; found once, read between blocks."""

    def __init__(self) -> None:
        """Find the sensors of this machine."""
        cpu = "devices/system/cpu/cpu[0-9]*/"
        self.clocks = sensor_files(cpu + "cpufreq/scaling_cur_freq")
        self.throttles = sensor_files(cpu + "thermal_throttle/core_throttle_count")
        self.temperatures = sensor_files("class/thermal/thermal_zone*/temp")
        # Only packages: they include their cores and memory.
        self.energies = sensor_files("class/powercap/intel-rapl:[0-9]/energy_uj")
        self.ranges = [read_number(p[:-9] + "max_energy_range_uj") or 0.0 for p in self.energies]
        self.tick_s = 1.0 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01
        self.last = [0.0] * len(self.energies)
        self.wraps = [0.0] * len(self.energies)

    def sample(self) -> dict[str, float | None]:
        """Return the counters of `edgekd.benchmarks.measurement.Sample`."""
        clocks = [c for c in map(read_number, self.clocks) if c is not None]
        temperatures = [t for t in map(read_number, self.temperatures) if t is not None]
        throttled = [t for t in map(read_number, self.throttles) if t is not None]
        busy_s, steal_s = self._cpu()
        return {
            "at_s": time.monotonic(),
            "own_s": time.process_time(),
            "busy_s": busy_s,
            "steal_s": steal_s,
            "clock_hz": 1e3 * sum(clocks) / len(clocks) if clocks else None,
            "temperature_c": max(temperatures) / 1000 if temperatures else None,
            "throttled": int(sum(throttled)) if throttled else None,
            "energy_j": self._energy_j(),
        }

    def _cpu(self) -> tuple[float | None, float | None]:
        """Seconds that all cores worked, and that the hypervisor kept from them."""
        try:
            with Path("/proc/stat").open() as file:
                ticks = [int(word) for word in file.readline().split()[1:9]]
        except (OSError, ValueError):
            return None, None
        user, nice, system, _idle, _wait, irq, softirq, steal = ticks
        return (user + nice + system + irq + softirq) * self.tick_s, steal * self.tick_s

    def _energy_j(self) -> float | None:
        total = 0.0
        for i, path in enumerate(self.energies):
            now = read_number(path)
            if now is None:  # only root may read it on most machines
                return None
            if now < self.last[i]:
                self.wraps[i] += self.ranges[i]
            self.last[i] = now
            total += now + self.wraps[i]
        return total * 1e-6 if self.energies else None


def peak_memory_bytes() -> int:
    """Return the largest resident size of this process, interpreter and runtime included.

    Linux keeps ru_maxrss across exec: the child of a big parent would report the parent. VmHWM
    belongs to the new program alone.
    """
    try:
        with Path("/proc/self/status").open() as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    if sys.platform == "win32":
        return windows_peak_bytes()
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def windows_peak_bytes() -> int:
    """Return PeakWorkingSetSize, of which no standard module of Python knows."""
    import ctypes

    word = ctypes.sizeof(ctypes.c_size_t)
    counters = (ctypes.c_size_t * 10)()  # PROCESS_MEMORY_COUNTERS: 8 bytes, then eight words
    kernel: Any = getattr(ctypes, "windll").kernel32  # noqa: B009  # on Windows alone
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(kernel.GetCurrentProcess())
    kernel.K32GetProcessMemoryInfo(process, ctypes.byref(counters), 8 + 8 * word)
    return counters[8 // word]


def write_outputs(engine: Any, arguments: Any, feeds: list[dict[str, Any]], out: IO[str]) -> None:
    """Run every feed once and write output i as "arr_i", stacked along a leading axis of calls.

    The names travel in the JSON line: an output may be called what an argument of savez is.
    """
    running = engine(arguments, feeds)
    rows = [running.outputs(feed) for feed in feeds]
    names = list(rows[0])
    arrays = []
    for name in names:
        shapes = sorted({row[name].shape for row in rows})
        if len(shapes) > 1:
            raise ValueError(f"output {name!r} has a different shape in different calls: {shapes}")
        arrays.append(np.stack([row[name] for row in rows]))
    np.savez(arguments.outputs, *arrays)
    say(out, {"outputs": names})


def write_profile(arguments: Any, feeds: list[dict[str, Any]], out: IO[str]) -> None:
    """Run calls under ONNX Runtime's profiler; the answer names the file that it wrote."""
    session = open_session(arguments, profile=str(Path(arguments.profile) / "profile"))
    for i in range(PROFILED_CALLS):
        session.run(None, feeds[i % len(feeds)])
    say(out, {"profile": session.end_profiling(), "calls": PROFILED_CALLS})


def say(out: IO[str], document: dict[str, Any]) -> None:
    """Write one line of JSON."""
    out.write(json.dumps(document) + "\n")
    out.flush()


def serve(engine: Any, arguments: Any, feeds: list[dict[str, Any]], out: IO[str]) -> None:
    """Answer commands until the command to quit, or until the parent process is gone."""
    sensors = Sensors()
    timer = None
    gc.collect()
    gc.disable()  # a collection inside a timed call would be counted as the model's
    for line in sys.stdin:
        command = json.loads(line)
        if "ready" in command:
            say(out, {"ready": True})
        elif "load" in command:
            timer = Timer(engine, arguments, feeds)
            told = {name: getattr(timer, name) for name in ("load_s", "first_s", "harness_s")}
            say(out, {**told, "runtime": timer.engine.version})
        elif "quit" in command:
            break
        elif "sample" in command:
            say(out, {"sample": sensors.sample()})
        elif timer is None:
            raise ValueError("the command `load` must come first")
        elif "warm" in command:
            say(out, {"warm_s": timer.warm(command["warm"])})
        elif "run" in command:
            block = timer.block(command["run"], command.get("rate_hz"))
            say(out, {**block, "sample": sensors.sample()})
        elif "parts" in command:
            say(out, {"parts_s": timer.parts(command["parts"])})
        else:
            raise ValueError("unknown command: " + line.strip())
    say(out, {"peak_memory_bytes": peak_memory_bytes()})


def parse() -> Any:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Time one model in one process.")
    parser.add_argument("model")
    parser.add_argument("feeds")
    parser.add_argument("--threads", type=int, default=1, help="0: as many as the runtime likes")
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--provider", default="")
    parser.add_argument("--option", action="append", default=[], help="KEY=VALUE of the runtime")
    parser.add_argument("--engine", default="", help="a file with another Engine")
    parser.add_argument("--pipeline", default="", help="a file with the app's own steps")
    for name in ("--outputs", "--build", "--profile"):  # where to, instead of serving
        parser.add_argument(name)
    return parser.parse_args()


def main() -> int:
    """Work; every failure is one {"error": ...} line and exit code 1."""
    arguments = parse()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a native library prints must not end up between the JSON lines
    try:
        feeds = read_feeds(arguments.feeds)
        engine = load_file(arguments.engine).Engine if arguments.engine else Engine
        if not arguments.engine:
            import onnxruntime  # noqa: F401  imported here, so that "ready" means ready
        if arguments.profile:
            write_profile(arguments, feeds, out)
        elif arguments.build:
            load_file(arguments.engine).build_file(arguments, feeds)
            say(out, {"built": arguments.build})
        elif arguments.outputs:
            write_outputs(engine, arguments, feeds, out)
        else:
            serve(engine, arguments, feeds, out)
    except Exception as error:  # noqa: BLE001  whatever it was, the parent must hear of it
        traceback.print_exc()
        say(out, {"error": f"{type(error).__name__}: {error}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
