// Run the model of this bundle in a browser or in Node.
//
//   import * as ort from "onnxruntime-web";
//   import { openBundle } from "./load.mjs";
//   const bundle = await openBundle(ort, new URL("./", import.meta.url)); // the bundle's folder
//   const { text } = await bundle.answer({ x: values }); // one sample: the arrays by name
//
// An array has no batch axis. It is a list of lists of numbers, a typed array in the order of the
// model's shape, { data, dims }, or of a table { column: number }. Values are those of the training data, as for load.py.

const TYPES = {
  ...{ float32: Float32Array, float64: Float64Array, bool: Uint8Array },
  ...{ int8: Int8Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array },
  ...{ uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array },
};

/** Read an .npy file (Uint8Array), such as a golden one, which has the batch axis: { data, dims }. */
export function readNpy(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = bytes[6] > 1 ? 12 : 10;
  const end = start + (bytes[6] > 1 ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder().decode(bytes.subarray(start, end));
  const [, kind, size] = header.match(/'descr': '[<|]([fiub])(\d)'/) ?? [];
  const name = { f: "float", i: "int", u: "uint" }[kind] + 8 * size;
  const type = kind === "b" ? Uint8Array : TYPES[name];
  if (!type || header.includes("'fortran_order': True")) throw new Error(`cannot read ${header}`);
  const [, shape] = header.match(/'shape': \(([^)]*)\)/);
  const dims = shape.split(",").filter((part) => part.trim()).map(Number);
  return { data: new type(new Uint8Array(bytes.subarray(end)).buffer), dims };
}

/** Return input name -> { type, data, dims } with a batch of 1; a single array needs no name. */
export function toInputs(arrays, about, manifest) {
  const names = about.arrays.length ? about.arrays : about.names;
  const isBare = Array.isArray(arrays) || ArrayBuffer.isView(arrays);
  const given = isBare ? { [names[0]]: arrays } : arrays;
  const found = manifest.inputs.map(({ name, dtype, shape }, i) => {
    const array = names[i];
    if (given[array] === undefined) throw new Error(`'${array}' is missing; give ${names.join(", ")}`);
    const wanted = shape.slice(1);
    const { data, dims } = measure(inOrder(given[array], array, about), wanted);
    const same = (n, k) => n === wanted[k] || !Number.isInteger(wanted[k]); // or a free axis
    if (dims.length !== wanted.length || !dims.every(same))
      throw new Error(`'${array}' has the shape [${dims}] and the model takes [${wanted}]`);
    if (dims.reduce((a, b) => a * b, 1) !== data.length)
      throw new Error(`'${array}' has ${data.length} values, which do not fill [${dims}]`);
    if (!TYPES[dtype]) throw new Error(`'${array}' is ${dtype}, which JavaScript does not have`);
    const isBig = dtype.endsWith("int64");
    const convert = isBig ? (v) => (typeof v === "bigint" ? v : BigInt(Math.trunc(v))) : Number;
    const values = TYPES[dtype].from(data, dtype === "bool" ? (v) => (v ? 1 : 0) : convert);
    return [name, { type: dtype, data: values, dims: [1, ...dims] }];
  });
  return Object.fromEntries(found);
}

/** Return the numbers of a row { column: number } in the order of the model's input. */
function inOrder(row, array, about) {
  const columns = about.facts?.find((one) => one.array === array)?.columns ?? [];
  const isRow = !Array.isArray(row) && !ArrayBuffer.isView(row) && !row.dims;
  if (!isRow || !columns.length) return row;
  const absent = columns.filter(({ name }) => row[name] === undefined).map(({ name }) => name);
  if (absent.length) throw new Error(`'${array}' lacks the columns ${absent.join(", ")}`);
  return columns.map(({ name }) => row[name]);
}

/** Return { data, dims } of an array; a typed array gets the model's shape. */
function measure(value, wanted) {
  if (value.dims) return value;
  if (ArrayBuffer.isView(value)) {
    const known = wanted.filter(Number.isInteger).reduce((a, b) => a * b, 1);
    return { data: value, dims: wanted.map((n) => (Number.isInteger(n) ? n : value.length / known)) };
  }
  const dims = [];
  for (let inner = value; Array.isArray(inner); inner = inner[0]) dims.push(inner.length);
  return { data: dims.length ? value.flat(dims.length) : [value], dims };
}
