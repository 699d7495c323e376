"""Loaders of the file that ships in five languages, from its real names, shapes and types.

Each opens the file, makes an input of zeros, and prints the outputs: what an app begins with. In
this project's tests Python and JavaScript are executed and C++ goes through a compiler; Kotlin and
Swift are written by the documentation of ONNX Runtime, and say in their first line that nothing
compiled them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgekd.bundle.describe import Description
from edgekd.data.preprocess import ArrayPreprocess
from edgekd.data.text_preprocess import TextInputs
from edgekd.exporters.file_facts import Entry

FOLDER = "snippets"
_TOKENS = 16
_UNCOMPILED = "not compiled by edgekd: written by the documentation of ONNX Runtime"


@dataclass(frozen=True)
class Port:
    """An input of zeros, or an output, as a program takes it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    """Empty for outputs."""

    @property
    def count(self) -> int:
        """Number of its values."""
        found = 1
        for length in self.shape:
            found *= length
        return found


@dataclass(frozen=True)
class Program:
    """What all the languages say."""

    file: str
    inputs: Sequence[Port]
    outputs: Sequence[Port]
    classes: str
    """The output whose greatest value is the answer; empty if there is none."""

    def lacks(self, known: Mapping[str, str]) -> str:
        """Return the first type of an input or output that a language does not have; or ""."""
        ports = (*self.inputs, *self.outputs)
        return next((port.dtype for port in ports if port.dtype not in known), "")


def make_snippets(found: Description) -> dict[str, str]:
    """Return path in the bundle -> program; none in a language that lacks a type of the file."""
    program = _program(found)
    made = {f"{FOLDER}/{name}": write(program) for name, write in _LANGUAGES.items()}
    return {name: text for name, text in made.items() if text}


def _program(found: Description) -> Program:
    preprocess = found.shipped.preprocess
    texts = isinstance(preprocess, TextInputs)
    length = min(preprocess.max_length, _TOKENS) if isinstance(preprocess, TextInputs) else 1
    known: dict[str, Sequence[int]] = {}
    if isinstance(preprocess, ArrayPreprocess):
        names = preprocess.arrays or preprocess.names
        facts = {one.array: one.shape for one in preprocess.facts}
        known = {e.name: facts.get(n, ()) for e, n in zip(found.inputs, names, strict=False)}

    def port(entry: Entry) -> Port:
        usual = known.get(entry.name, ())
        shape = []
        for axis, side in enumerate(entry.shape):
            if isinstance(side, int):
                shape.append(side)
            elif axis == 0:
                shape.append(1)
            else:
                here = usual[axis - 1] if axis - 1 < len(usual) else 0
                shape.append(length if texts else here or 1)
        return Port(entry.name, entry.dtype, tuple(shape))

    classes = next((o.name for o in found.outputs if o.kind == "classes"), "")
    return Program(
        file=found.shipped.file,
        inputs=[port(entry) for entry in found.inputs],
        outputs=[Port(o.name, o.dtype, ()) for o in found.outputs],
        classes=classes,
    )


def _quoted(text: str) -> str:
    """Return a string literal of Python, JavaScript, C++ and, without a dollar, Kotlin."""
    return json.dumps(text, ensure_ascii=False)


def _python(p: Program) -> str:
    inputs = [f"    {_quoted(i.name)}: np.zeros({list(i.shape)}, {i.dtype!r})," for i in p.inputs]
    names = ", ".join(_quoted(o.name) for o in p.outputs)
    best = f"    if name == {_quoted(p.classes)}:\n        print('answer', value.argmax())\n"
    return (
        "# pip install numpy onnxruntime; run it in the folder of the bundle\n"
        "import numpy as np\nimport onnxruntime as ort\n\n"
        f"session = ort.InferenceSession({_quoted(p.file)}, providers=['CPUExecutionProvider'])\n"
        "inputs = {  # your numbers\n" + "\n".join(inputs) + "\n}\n"
        f"names = [{names}]\n"
        "for name, value in zip(names, session.run(names, inputs)):\n"
        "    print(name, value.dtype, list(np.shape(value)))\n" + (best if p.classes else "")
    )


_JAVASCRIPT = {
    **{"float32": "Float32Array", "float64": "Float64Array", "bool": "Uint8Array"},
    **{"int8": "Int8Array", "int16": "Int16Array", "int32": "Int32Array"},
    **{"int64": "BigInt64Array", "uint8": "Uint8Array", "uint16": "Uint16Array"},
    **{"uint32": "Uint32Array", "uint64": "BigUint64Array"},
}


def _javascript(p: Program) -> str:
    if p.lacks(_JAVASCRIPT):
        return ""
    inputs = [
        f"  [{_quoted(i.name)}]: new ort.Tensor({_quoted(i.dtype)}, "
        f"new {_JAVASCRIPT[i.dtype]}({i.count}), {list(i.shape)}),"
        for i in p.inputs
    ]
    best = (
        f"const scores = Array.from(outputs[{_quoted(p.classes)}].data, Number);\n"
        'console.log("answer", scores.indexOf(Math.max(...scores)));\n'
    )
    return (
        "// npm install onnxruntime-node (or onnxruntime-web); run it in the folder of the bundle\n"
        'import * as ort from "onnxruntime-node";\n'
        'import { readFile } from "node:fs/promises";\n\n'
        f"const session = await ort.InferenceSession.create(await readFile({_quoted(p.file)}));\n"
        "const inputs = { // your numbers\n" + "\n".join(inputs) + "\n};\n"
        "const outputs = await session.run(inputs);\n"
        f"for (const name of [{', '.join(_quoted(o.name) for o in p.outputs)}])\n"
        "  console.log(name, outputs[name].type, outputs[name].dims);\n"
        + (best if p.classes else "")
    )


_CPP = {
    **{"float32": "float", "float64": "double", "bool": "bool"},
    **{f"{u}int{n}": f"{u}int{n}_t" for u in ("u", "") for n in (8, 16, 32, 64)},
    "float16": "Ort::Float16_t",
}


def _cpp(p: Program) -> str:
    if p.lacks(_CPP):
        return ""
    lines = [
        "// c++ -std=c++17 cpp.cpp -lonnxruntime; run it in the folder of the bundle",
        "#include <onnxruntime_cxx_api.h>",
        "#include <algorithm>",
        "#include <cstdint>",
        "#include <cstdio>",
        "#include <memory>",
        "#include <vector>",
        "",
        "int main() {",
        '  Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "app");',
        "  Ort::SessionOptions options;",
        f"  Ort::Session session(env, ORT_TSTR({_quoted(p.file)}), options);",
        "  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);",
        "  std::vector<Ort::Value> inputs;",
    ]
    for i, port in enumerate(p.inputs):
        kind = _CPP[port.dtype]
        shape = ", ".join(map(str, port.shape))
        lines += [
            f"  std::unique_ptr<{kind}[]> data{i}(new {kind}[{port.count}]());  // your numbers",
            f"  std::vector<int64_t> shape{i}{{{shape}}};",
            f"  inputs.push_back(Ort::Value::CreateTensor<{kind}>(",
            f"      memory, data{i}.get(), {port.count}, shape{i}.data(), shape{i}.size()));",
        ]
    ins = ", ".join(_quoted(i.name) for i in p.inputs)
    outs = ", ".join(_quoted(o.name) for o in p.outputs)
    lines += [
        f"  const char* input_names[] = {{{ins}}};",
        f"  const char* output_names[] = {{{outs}}};",
        "  std::vector<Ort::Value> outputs = session.Run(Ort::RunOptions{nullptr}, input_names,",
        f"      inputs.data(), inputs.size(), output_names, {len(p.outputs)});",
    ]
    for i, port in enumerate(p.outputs):
        kind = _CPP[port.dtype]
        lines += [
            f"  const {kind}* values{i} = outputs[{i}].GetTensorData<{kind}>();",
            f"  size_t count{i} = outputs[{i}].GetTensorTypeAndShapeInfo().GetElementCount();",
            f'  std::printf("%s: %zu values\\n", output_names[{i}], count{i});',
        ]
        if port.name == p.classes and port.dtype != "float16":
            best = f"std::max_element(values{i}, values{i} + count{i}) - values{i}"
            lines.append(f'  std::printf("answer %td\\n", {best});')
        else:
            lines.append(f"  (void)values{i};")
    return "\n".join([*lines, "  return 0;", "}", ""])


_KOTLIN: Mapping[str, tuple[str, str]] = {
    "float32": ("FloatBuffer", ""),
    "float64": ("DoubleBuffer", ""),
    "int16": ("ShortBuffer", ""),
    "int32": ("IntBuffer", ""),
    "int64": ("LongBuffer", ""),
    "int8": ("ByteBuffer", ", OnnxJavaType.INT8"),
    "uint8": ("ByteBuffer", ", OnnxJavaType.UINT8"),
    "bool": ("ByteBuffer", ", OnnxJavaType.BOOL"),
    "float16": ("ShortBuffer", ", OnnxJavaType.FLOAT16"),
}


def _kotlin(p: Program) -> str:
    lacking = next((i.dtype for i in p.inputs if i.dtype not in _KOTLIN), "")
    if lacking:
        return ""
    inputs = []
    for port in p.inputs:
        buffer, kind = _KOTLIN[port.dtype]
        make = "allocateDirect" if buffer == "ByteBuffer" else "allocate"
        shape = ", ".join(map(str, port.shape))
        inputs.append(
            f"        {_dollars(port.name)} to OnnxTensor.createTensor(env, "
            f"{buffer}.{make}({port.count}), longArrayOf({shape}){kind}), // your numbers"
        )
    answer = (
        f"        val found = outputs[{_dollars(p.classes)}].get().value\n"
        "        val scores = (found as Array<FloatArray>)[0]\n"
        '        println("answer ${scores.indices.maxByOrNull { scores[it] }}")\n'
        if any(o.name == p.classes and o.dtype == "float32" for o in p.outputs)
        else ""
    )
    names = ", ".join(_dollars(o.name) for o in p.outputs)
    return (
        f"// {_UNCOMPILED}\n"
        "// build.gradle: implementation("
        '"com.microsoft.onnxruntime:onnxruntime-android:latest.release")\n'
        "import ai.onnxruntime.*\nimport java.nio.*\n\n"
        f"fun run(model: ByteArray) {'{'} // the bytes of {_comment(p.file)}, as from assets\n"
        "    val env = OrtEnvironment.getEnvironment()\n"
        "    val session = env.createSession(model, OrtSession.SessionOptions())\n"
        "    val inputs = mapOf(\n" + "\n".join(inputs) + "\n    )\n"
        "    session.run(inputs).use { outputs ->\n"
        f"        for (name in listOf({names}))\n"
        '            println("$name ${outputs[name].get().info}")\n' + answer + "    }\n}\n"
    )


def _dollars(text: str) -> str:
    return _quoted(text).replace("$", "\\$")


def _comment(text: str) -> str:
    return " ".join(text.split())


_SWIFT = {
    **{"float32": ("float", 4), "int8": ("int8", 1), "uint8": ("uInt8", 1)},
    **{"int32": ("int32", 4), "uint32": ("uInt32", 4), "int64": ("int64", 8)},
    "uint64": ("uInt64", 8),
}


def _swift(p: Program) -> str:
    if any(port.dtype not in _SWIFT for port in (*p.inputs, *p.outputs)):
        return ""
    inputs = []
    for port in p.inputs:
        kind, size = _SWIFT[port.dtype]
        inputs.append(
            f"    {_quoted(port.name)}: try ORTValue( // your numbers\n"
            f"        tensorData: NSMutableData(length: {port.count * size})!,\n"
            f"        elementType: .{kind}, shape: {list(port.shape)}),"
        )
    names = ", ".join(_quoted(o.name) for o in p.outputs)
    answer = (
        f"let bytes = try outputs[{_quoted(p.classes)}]!.tensorData() as Data\n"
        "let scores = bytes.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }\n"
        'print("answer", scores.indices.max { scores[$0] < scores[$1] }!)\n'
        if any(o.name == p.classes and o.dtype == "float32" for o in p.outputs)
        else ""
    )
    return (
        f"// {_UNCOMPILED}\n"
        "// package: https://github.com/microsoft/onnxruntime-swift-package-manager\n"
        "import Foundation\nimport OnnxRuntimeBindings\n\n"
        "let env = try ORTEnv(loggingLevel: .warning)\n"
        f"let path = {_quoted(p.file)}\n"
        "let session = try ORTSession(env: env, modelPath: path, sessionOptions: nil)\n"
        "let inputs = [\n" + "\n".join(inputs) + "\n]\n"
        f"let names: Set<String> = [{names}]\n"
        "let outputs = try session.run(withInputs: inputs, outputNames: names, runOptions: nil)\n"
        "for (name, value) in outputs {\n"
        "    print(name, try value.tensorTypeAndShapeInfo().shape)\n}\n" + answer
    )


_LANGUAGES: Mapping[str, Callable[[Program], str]] = {
    "python.py": _python,
    "javascript.mjs": _javascript,
    "cpp.cpp": _cpp,
    "kotlin.kt": _kotlin,
    "swift.swift": _swift,
}


def describe_snippets(names: Sequence[str]) -> str:
    """Return what the card says of the snippets, in Markdown."""
    listed = ", ".join(f"`{name}`" for name in names)
    return (
        f"{listed}: a program that loads the file that ships and runs it on zeros, with its real "
        "names, shapes and types. edgekd's tests execute the ones in Python and JavaScript and "
        "check C++ with a compiler; Kotlin and Swift were not compiled."
    )
