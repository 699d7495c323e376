// Run the model of this bundle in a browser, or in Node with a decoder of your own.
//
//   import * as ort from "onnxruntime-web";
//   import { openBundle } from "./load.mjs";
//   const bundle = await openBundle(ort, new URL("./", import.meta.url)); // the bundle's folder
//   const { text } = await bundle.answer(file); // a File or Blob, say of <input type="file">
//
// In Node give pixels instead of a file: { height, width, channels, data }, 8 bits, upright, with 1
// (grey), 3 (RGB) or 4 (RGBA) channels. The arithmetic is that of load.py, to the last bit.

/** Decode a picture file as the browser does: upright, RGB, over the background of `form`. */
export async function decode(blob, form) {
  const bitmap = await createImageBitmap(blob, {
    imageOrientation: "from-image",
    colorSpaceConversion: "none",
  });
  const { height, width } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = `rgb(${form.background} ${form.background} ${form.background})`;
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { height, width, channels: 4, data: context.getImageData(0, 0, width, height).data };
}

/** Bring { height, width, channels, data } to `channels`: grey is repeated, RGB becomes its luma. */
export function toChannels(picture, channels, background = 255) {
  const { height, width, channels: have, data } = picture;
  if (have === channels) return picture;
  const found = new Uint8Array(height * width * channels);
  for (let i = 0, from = 0, to = 0; i < height * width; i++, from += have, to += channels) {
    let [red, green, blue] = have < 3 ? [data[from], data[from], data[from]] : data.slice(from, from + 3);
    if (have === 4 && data[from + 3] < 255) {
      const alpha = data[from + 3];
      const over = (c) => Math.floor((c * alpha + background * (255 - alpha) + 127) / 255);
      [red, green, blue] = [over(red), over(green), over(blue)];
    }
    if (channels === 1) found[to] = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16;
    else [found[to], found[to + 1], found[to + 2]] = [red, green, blue];
  }
  return { height, width, channels, data: found };
}

/** Bring a whole picture to the height and width of `form`. */
export function fit(picture, form) {
  const { height, width } = picture;
  const wider = width * form.height > height * form.width;
  const half = (a, b) => Math.max(1, Math.floor((2 * a + b) / (2 * b))); // a / b, rounded
  if (form.resize === "stretch") return resize(picture, form.height, form.width, form);
  if (form.resize === "crop") {
    const high = wider ? height : half(width * form.height, form.width);
    const wide = wider ? half(height * form.width, form.height) : width;
    return resize(cut(picture, high, wide), form.height, form.width, form);
  }
  const high = wider ? half(height * form.width, width) : form.height;
  const wide = wider ? form.width : half(width * form.height, height);
  return put(resize(picture, high, wide, form), form);
}

function cut(picture, high, wide) {
  const { height, width, channels, data } = picture;
  const top = Math.floor((height - high) / 2);
  const left = Math.floor((width - wide) / 2);
  const found = new Uint8Array(high * wide * channels);
  for (let y = 0; y < high; y++) {
    const from = ((top + y) * width + left) * channels;
    found.set(data.subarray(from, from + wide * channels), y * wide * channels);
  }
  return { height: high, width: wide, channels, data: found };
}

function put(picture, form) {
  const { height, width, channels, data } = picture;
  const top = Math.floor((form.height - height) / 2);
  const left = Math.floor((form.width - width) / 2);
  const found = new Uint8Array(form.height * form.width * channels).fill(form.pad_value);
  for (let y = 0; y < height; y++) {
    const row = data.subarray(y * width * channels, (y + 1) * width * channels);
    found.set(row, ((top + y) * form.width + left) * channels);
  }
  return { height: form.height, width: form.width, channels, data: found };
}

/** Resize to exactly this height and width, first along the rows, then along the columns. */
export function resize(picture, high, wide, form) {
  const { height, width, channels } = picture;
  let data = picture.data;
  if (form.interpolation === "nearest" && (height !== high || width !== wide)) {
    const found = new Uint8Array(high * wide * channels);
    for (let y = 0, to = 0; y < high; y++) {
      const row = Math.floor(((2 * y + 1) * height) / (2 * high));
      for (let x = 0; x < wide; x++) {
        const from = (row * width + Math.floor(((2 * x + 1) * width) / (2 * wide))) * channels;
        for (let c = 0; c < channels; c++) found[to++] = data[from + c];
      }
    }
    return { height: high, width: wide, channels, data: found };
  }
  if (width !== wide) data = blend(data, height, width, wide, channels, weights(width, wide, form));
  if (height !== high) data = blend(data, 1, height, high, wide * channels, weights(height, high, form));
  return { height: high, width: wide, channels, data };
}

/** Of `lines` lines of `old` items of `step` bytes make `size` items each. */
function blend(data, lines, old, size, step, mix) {
  const found = new Uint8Array(lines * size * step);
  for (let line = 0, to = 0; line < lines; line++) {
    for (const { first, shares } of mix) {
      for (let c = 0; c < step; c++) {
        let sum = 2097152; // 2 ** 21
        let from = (line * old + first) * step + c;
        for (let k = 0; k < shares.length; k++, from += step) sum += shares[k] * data[from];
        found[to++] = Math.min(255, Math.max(0, Math.floor(sum / 4194304))); // 2 ** 22
      }
    }
  }
  return found;
}

/** For each of `size` new items: the first old one that counts, and shares in 2 ** -22. */
function weights(old, size, form) {
  const cubic = form.interpolation === "bicubic";
  const scale = old / size;
  const stretch = form.antialias ? Math.max(scale, 1) : 1;
  const reach = (cubic ? 2 : 1) * stretch;
  const linear = (x) => Math.max(1 - x, 0);
  const keys = (x) =>
    x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
  return Array.from({ length: size }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(old, Math.trunc(centre + reach + 0.5));
    const raw = [];
    let total = 0;
    for (let k = first; k < end; k++) {
      const weight = (cubic ? keys : linear)(Math.abs((k - centre + 0.5) * (1 / stretch)));
      raw.push(weight);
      total += weight;
    }
    const shares = raw.map((w) => Math.trunc((w / total) * 4194304 + (w / total < 0 ? -0.5 : 0.5)));
    return { first, shares };
  });
}

/** Return { type, data, dims }: the model's input, with a batch of 1. */
export function toTensor(picture, about) {
  const form = about.picture;
  if (!ArrayBuffer.isView(picture.data)) picture = { ...picture, data: Uint8Array.from(picture.data) };
  let pixels = fit(toChannels(picture, form.channels, form.background), form);
  pixels = resize(toChannels(pixels, about.channels), about.height, about.width, form);
  const { height, width, channels } = pixels;
  const planes = about.layout === "nchw";
  const data = about.in_graph ? new Uint8Array(pixels.data.length) : new Float32Array(pixels.data.length);
  for (let i = 0, from = 0; i < height * width; i++) {
    for (let c = 0; c < channels; c++, from++) {
      const to = about.colours === "bgr" ? channels - 1 - c : c;
      const place = planes ? to * height * width + i : i * channels + to;
      const centred = Math.fround(pixels.data[from] - Math.fround(about.mean[to]));
      data[place] = about.in_graph ? pixels.data[from] : centred / Math.fround(about.std[to]);
    }
  }
  const dims = planes ? [1, channels, height, width] : [1, height, width, channels];
  return { type: about.in_graph ? "uint8" : "float32", data, dims };
}

/** Return the model's input for a file, or for { height, width, channels, data }. */
export async function toInputs(picture, about) {
  const pixels = picture.data ? picture : await decode(picture, about.picture);
  return { [about.name]: toTensor(pixels, about) };
}
