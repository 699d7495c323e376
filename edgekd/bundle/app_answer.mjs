/** Name the answer: the class and its score, or the labels that are there, or the numbers. */
export function explain(values, kind, labels) {
  const row = Array.from(values, Number);
  const label = (i) => (labels ? labels[i] : `class ${i}`);
  if (kind === "classes" && row.length > 1) {
    const sum = (list) => list.reduce((a, b) => a + b, 0);
    const most = Math.max(...row);
    const isShare = Math.min(...row) >= 0 && Math.abs(sum(row) - 1) <= 1e-3;
    const share = isShare ? row : row.map((x) => Math.exp(x - most));
    const best = row.indexOf(most);
    return { index: best, score: share[best] / sum(share), text: label(best) };
  }
  if (kind !== "labels") return { values: row, text: row.slice(0, 12).join(" ") };
  const scores = row.map((x) => 1 / (1 + Math.exp(-x)));
  const there = scores.flatMap((score, i) => (score > 0.5 ? [label(i)] : []));
  return { scores, text: there.join(", ") || "no label" };
}

/** Open the bundle at `base`, a URL; `file` names another of its models than the one that ships. */
export async function openBundle(ort, base, file) {
  const read = async (name) => {
    const url = new URL(name, base);
    if (url.protocol !== "file:") {
      const got = await fetch(url);
      if (!got.ok) throw new Error(`${url} cannot be read: HTTP ${got.status}`);
      return new Uint8Array(await got.arrayBuffer());
    }
    return new Uint8Array(await (await import("node:fs/promises")).readFile(url));
  };
  const json = async (name) => JSON.parse(new TextDecoder().decode(await read(name)));
  const [about, manifest] = [await json("preprocess.json"), await json("manifest.json")];
  const labels = manifest.labels ? await json(manifest.labels) : null;
  const session = await ort.InferenceSession.create(await read(file ?? manifest.shipped.file));
  const inputsOf = async (sample) => toInputs(sample, about, manifest);
  const answer = async (sample) => {
    const feeds = {};
    let batch = 1;
    for (const [name, { type, data, dims }] of Object.entries(await inputsOf(sample))) {
      const { shape } = manifest.inputs.find((entry) => entry.name === name);
      batch = Number(shape[0]) || 1; // more where the file fixes it
      const all = new data.constructor(batch * data.length);
      for (let i = 0; i < batch; i++) all.set(data, i * data.length);
      feeds[name] = new ort.Tensor(type, all, [batch, ...dims.slice(1)]);
    }
    const outputs = await session.run(feeds);
    const { name, kind } = manifest.outputs[0];
    const values = outputs[name].data.slice(0, outputs[name].data.length / batch);
    return { ...explain(values, kind, labels), outputs };
  };
  return { about, manifest, labels, session, inputsOf, answer };
}
