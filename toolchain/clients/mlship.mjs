// Loads a web bundle that mlship built, and takes pixels to pixels as its manifest declares.
//
//   import * as tf from '@tensorflow/tfjs';
//   import { Model } from './depth-web/mlship.mjs';
//
//   const model = await Model.load(tf, './depth-web/');
//   const { outputs, placement } = await model.run({ image: canvasContext.getImageData(...) });
//   const picture = model.picture('depth', outputs.depth, placement);   // ImageData-like, RGBA
//
// A model with state (`state` in the manifest) remembers: call run() for each frame, reset() before
// the first of another video.
//
// Pictures are {width, height, data} with RGBA bytes. Tensors are {shape, data} in PyTorch's
// layout (1, C, H, W), whatever the layout of the file. Resizing is bit for bit what Python's
// Pillow computes, so that a mask on the web is the mask that was tested.

const PRECISION = 22;
const KINDS = { int32: Int32Array, bool: Uint8Array };

const triangle = (x) => Math.max(0, 1 - Math.abs(x));
const box = (x) => (x > -0.5 && x <= 0.5 ? 1 : 0);
const cubic = (x) => {
  const a = -0.5;
  const t = Math.abs(x);
  if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
};
const FILTERS = {
  bilinear: { support: 1, weight: triangle },
  bicubic: { support: 2, weight: cubic },
  area: { support: 0.5, weight: box },
};

// For each output position the first input position and the weights from there on.
function taps(from, to, { support, weight }) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const narrow = 1 / stretch;
  const reach = support * stretch;
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const last = Math.min(from, Math.trunc(centre + reach + 0.5));
    const weights = [];
    for (let x = first; x < last; x++) weights.push(weight((x - centre + 0.5) * narrow));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: sum === 0 ? weights : weights.map((w) => w / sum) };
  });
}

const round = (x) => Math.trunc(x < 0 ? x - 0.5 : x + 0.5);
const clip8 = (x) => (x < 0 ? 0 : x > 255 ? 255 : x);

// Bytes are summed in fixed point and rounded after each direction, floats are not.
function sums(bytes) {
  if (!bytes) return { prepare: (w) => w, start: 0, finish: Math.fround };
  return {
    prepare: (w) => round(w * 2 ** PRECISION),
    start: 2 ** (PRECISION - 1),
    finish: (x) => clip8(Math.floor(x / 2 ** PRECISION)),
  };
}

// One plane, along its rows: `steps` are where the next column and the next row lie.
function along(plane, from, to, lines, step, filter, bytes) {
  const result = bytes ? new Uint8Array(to * lines) : new Float32Array(to * lines);
  const { prepare, start, finish } = sums(bytes);
  const [inside, outside] = step === 'x' ? [1, from] : [lines, 1];
  const [write, next] = step === 'x' ? [1, to] : [lines, 1];
  taps(from, to, filter).forEach(({ first, weights }, i) => {
    const scaled = weights.map(prepare);
    for (let line = 0; line < lines; line++) {
      let sum = start;
      for (let k = 0; k < scaled.length; k++) {
        sum += plane[(first + k) * inside + line * outside] * scaled[k];
      }
      result[i * write + line * next] = finish(sum);
    }
  });
  return result;
}

// A plane of width x height, resized as Pillow's Image.resize does: along rows, then columns.
export function resize(plane, width, height, toWidth, toHeight, name) {
  if (width === toWidth && height === toHeight) return plane.slice();
  if (name === 'nearest') return nearest(plane, width, height, toWidth, toHeight);
  const filter = FILTERS[name];
  if (!filter) throw new Error(`unknown filter '${name}': use nearest, ${Object.keys(FILTERS)}`);
  const bytes = plane instanceof Uint8Array;
  const across = (p, lines) => (width === toWidth ? p : along(p, width, toWidth, lines, 'x', filter, bytes));
  const down = (p, lines) => (height === toHeight ? p : along(p, height, toHeight, lines, 'y', filter, bytes));
  return down(across(plane, height), toWidth);
}

// The positions that Pillow reads, which it finds by adding up.
function positions(from, to) {
  const found = [];
  for (let i = 0, at = (from / to) * 0.5; i < to; i++, at += from / to) found.push(Math.trunc(at));
  return found;
}

function nearest(plane, width, height, toWidth, toHeight) {
  const result = new plane.constructor(toWidth * toHeight);
  const columns = positions(width, toWidth);
  positions(height, toHeight).forEach((y, j) => {
    columns.forEach((x, i) => {
      result[j * toWidth + i] = plane[y * width + x];
    });
  });
  return result;
}

// Python rounds halves to the even neighbour.
function rint(x) {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest === 0.5 ? floor + (floor % 2) : Math.round(x);
}

// Where a picture lies in a plane: the part `source` of it fills the part `target`.
export function place(width, height, toWidth, toHeight, resizing) {
  const size = [width, height];
  const plane = [toWidth, toHeight];
  if (resizing === 'stretch') {
    return { size, plane, source: [0, 0, width, height], target: [0, 0, toWidth, toHeight] };
  }
  if (resizing === 'crop') {
    const scale = Math.max(toWidth / width, toHeight / height);
    const w = Math.min(width, Math.max(1, rint(toWidth / scale)));
    const h = Math.min(height, Math.max(1, rint(toHeight / scale)));
    const [left, top] = [Math.floor((width - w) / 2), Math.floor((height - h) / 2)];
    const source = [left, top, left + w, top + h];
    return { size, plane, source, target: [0, 0, toWidth, toHeight] };
  }
  if (resizing !== 'letterbox') throw new Error(`unknown resize rule '${resizing}'`);
  const scale = Math.min(toWidth / width, toHeight / height);
  const [w, h] = [Math.max(1, rint(width * scale)), Math.max(1, rint(height * scale))];
  const [left, top] = [Math.floor((toWidth - w) / 2), Math.floor((toHeight - h) / 2)];
  return { size, plane, source: [0, 0, width, height], target: [left, top, left + w, top + h] };
}

function cut(plane, width, [left, top, right, bottom]) {
  const result = new plane.constructor((right - left) * (bottom - top));
  for (let y = top; y < bottom; y++) {
    result.set(plane.subarray(y * width + left, y * width + right), (y - top) * (right - left));
  }
  return result;
}

function paste(part, [left, top, right, bottom], plane, width) {
  for (let y = top; y < bottom; y++) {
    const row = part.subarray((y - top) * (right - left), (y - top + 1) * (right - left));
    plane.set(row, y * width + left);
  }
}

// The three planes of a picture, transparency laid over white, as Pillow blends it.
function planes({ width, height, data }) {
  if (data.length !== width * height * 4) {
    throw new Error(`a picture of ${width} x ${height} has ${width * height * 4} bytes (RGBA)`);
  }
  return [0, 1, 2].map((channel) => {
    const plane = new Uint8Array(width * height);
    for (let i = 0; i < plane.length; i++) {
      const alpha = data[4 * i + 3];
      const value = data[4 * i + channel];
      plane[i] = alpha === 255 ? value : over(value, alpha);
    }
    return plane;
  });
}

// Pillow's alpha_composite over opaque white, in its own fixed point.
function over(value, alpha) {
  const blend = 255 * (255 - alpha);
  const total = alpha * 255 + blend;
  const share = Math.trunc((alpha * 255 * 255 * 128) / total);
  const sum = value * share + 255 * (255 * 128 - share);
  const rounded = sum + (0x80 << 7);
  return ((rounded >> 8) + rounded) >> 8 >> 7;
}

function grey([red, green, blue]) {
  return red.map((r, i) => (r * 19595 + green[i] * 38470 + blue[i] * 7471 + 0x8000) >> 16);
}

// The tensor of a picture, by the pre-processing that its specification declares.
export function toTensor(picture, spec) {
  const rule = spec.preprocess;
  if (!rule) throw new Error(`'${spec.name}' takes no picture: pass a tensor`);
  const [, channels, height, width] = spec.shape;
  const placement = place(picture.width, picture.height, width, height, rule.resize);
  const [left, top, right, bottom] = placement.source;
  const [x0, y0, x1, y1] = placement.target;
  const filled = planes(picture).map((plane) => {
    const part = cut(plane, picture.width, placement.source);
    const resized = resize(part, right - left, bottom - top, x1 - x0, y1 - y0, rule.filter);
    const whole = new Uint8Array(width * height).fill(rule.pad);
    paste(resized, placement.target, whole, width);
    return whole;
  });
  const ordered = { RGB: filled, BGR: filled.slice().reverse() }[rule.colour] ?? [grey(filled)];
  const data = new Float32Array(channels * width * height);
  ordered.forEach((plane, c) => {
    const [mean, std] = [Math.fround(rule.mean[c]), Math.fround(rule.std[c])];
    plane.forEach((value, i) => {
      data[c * plane.length + i] = Math.fround(value - mean) / std;
    });
  });
  return { tensor: { shape: spec.shape, data }, placement };
}

// An output as a picture over its source, by the post-processing that its specification declares.
export function toPicture({ shape, data }, rule, placement) {
  const [, channels, height, width] = shape;
  const [fullWidth, fullHeight] = placement.size;
  const [sx, sy] = [width / placement.plane[0], height / placement.plane[1]];
  const [l, t, r, b] = placement.target;
  const [x, y] = [rint(l * sx), rint(t * sy)];
  const inner = [x, y, Math.max(x + 1, rint(r * sx)), Math.max(y + 1, rint(b * sy))];
  const [left, top, right, bottom] = placement.source;
  const shown = Array.from({ length: channels }, (_, c) => {
    const plane = data.subarray(c * width * height, (c + 1) * width * height);
    const part = cut(plane, width, inner);
    const [w, h] = [inner[2] - inner[0], inner[3] - inner[1]];
    const whole = new Float32Array(fullWidth * fullHeight);
    paste(resize(part, w, h, right - left, bottom - top, rule.filter), placement.source, whole, fullWidth);
    return whole;
  });
  return { width: fullWidth, height: fullHeight, data: toBytes(shown, rule) };
}

function toBytes(shown, rule) {
  const extreme = (best) => shown.reduce((a, plane) => plane.reduce((m, v) => best(m, v), a), shown[0][0]);
  const [low, high] = [rule.low ?? extreme(Math.min), rule.high ?? extreme(Math.max)];
  const [floor, span] = [Math.fround(low), high > low ? Math.fround(high - low) : 1];
  const order = { RGB: [0, 1, 2], BGR: [2, 1, 0], GRAY: [0, 0, 0] }[rule.colour];
  const bytes = new Uint8ClampedArray(shown[0].length * 4).fill(255);
  order.forEach((from, c) => {
    shown[from].forEach((value, i) => {
      const share = Math.min(Math.max(Math.fround(Math.fround(value - floor) / span), 0), 1);
      bytes[4 * i + c] = rint(Math.fround(share * 255));
    });
  });
  return bytes;
}

// A logical tensor in the order of the file's axes, or back.
function transpose({ shape, data }, axes) {
  const to = axes.map((axis) => shape[axis]);
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
  const steps = axes.map((axis) => strides[axis]);
  const result = new Float32Array(data.length);
  const index = new Uint32Array(to.length);
  for (let i = 0, at = 0; i < result.length; i++) {
    result[i] = data[at];
    for (let k = to.length - 1; k >= 0; k--) {
      at += steps[k];
      if (++index[k] < to[k]) break;
      at -= steps[k] * to[k];
      index[k] = 0;
    }
  }
  return { shape: to, data: result };
}

// An error unless these bytes are the bundle's file of that name, as its manifest lists it.
export async function check(manifest, name, bytes) {
  if (!globalThis.crypto?.subtle) {
    throw new Error('digests need https or localhost, or Model.load(tf, base, {check: false})');
  }
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  if (found !== manifest.files[name]?.sha256) throw new Error(`${name} is not the file of the manifest`);
}

// A fetch that hands on no file before it is checked.
function checked(manifest, base) {
  return async (url, init) => {
    const response = await fetch(url, init);
    if (!response.ok) return response;
    const bytes = await response.arrayBuffer();
    await check(manifest, decodeURIComponent(url.slice(base.length)), bytes);
    return new Response(bytes);
  };
}

const inverse = (axes) => axes.map((_, i) => axes.indexOf(i));

export class Model {
  // `base` is the bundle's address or, where `io` is given, only a name; `io` is a tf.io handler.
  // `size` is one of the bundle's, '512x384' (height x width); the default where it is left out.
  // Files are held to the manifest's digests; what `io` reads itself it may hold to them by `check`.
  // That needs https or localhost: with `check: false` a page of another kind loads, unchecked.
  static async load(tf, base, { manifest, io, size, check: wanted = true } = {}) {
    const read = manifest ?? (await (await fetch(new URL('manifest.json', address(base)))).json());
    const seen = size ? atSize(read, size) : read;
    const graph = seen.artifact.entry || 'model.json';
    const path = io ?? new URL(`${read.artifact.path}/${graph}`, address(base)).href;
    const options = wanted && !io ? { fetchFunc: checked(read, address(base).href) } : {};
    return new Model(tf, seen, await tf.loadGraphModel(path, options));
  }

  constructor(tf, manifest, graph) {
    // `held` are the tensors that the last call left for the next, by the input that they become.
    Object.assign(this, { tf, manifest, graph, held: {} });
  }

  // Inputs by name: pictures for those that declare pre-processing, else {shape, data} tensors.
  // Those that the manifest calls state may be left out: they are what the last call put out, and
  // zeros at first. `wanted` names the outputs that are read back, all if there is none: state
  // that is not wanted never leaves the backend.
  async run(inputs, wanted = null) {
    const { inputs: specs, outputs: made, artifact, state = {} } = this.manifest;
    const unknown = wanted?.find((name) => !made.some((spec) => spec.name === name));
    if (unknown) throw new Error(`there is no output '${unknown}'`);
    const { inputs: fed, outputs: fetched } = this.graph.modelSignature;
    let placement = null;
    const [feeds, own] = [{}, []];
    let results = [];
    try {
      for (const spec of specs) {
        const given = inputs[spec.name];
        const port = artifact.inputs.find((p) => p.name === spec.name);
        const node = fed[port.stored_as].name;
        if (!given && !(spec.name in state)) throw new Error(`input '${spec.name}' is missing`);
        if (!given && this.held[spec.name]) {
          feeds[node] = this.held[spec.name];
          continue;
        }
        const read = given && 'width' in given ? toTensor(given, spec) : { tensor: given };
        placement ??= read.placement ?? null;
        feeds[node] = given ? this.#stored(read.tensor, port) : this.tf.zeros(port.shape, port.dtype);
        own.push(feeds[node]);
      }
      const nodes = artifact.outputs.map((port) => fetched[port.stored_as].name);
      results = [this.graph.execute(feeds, nodes)].flat();
      this.#hold(state, results);
      const outputs = {};
      for (const [i, port] of artifact.outputs.entries()) {
        if (wanted && !wanted.includes(port.name)) continue;
        const stored = { shape: results[i].shape, data: await results[i].data() };
        outputs[port.name] = transpose(stored, inverse(port.axes));
      }
      return { outputs, placement };
    } finally {
      this.tf.dispose([results, own]);
    }
  }

  // The next call is the first again: its state is zeros.
  reset() {
    this.tf.dispose(Object.values(this.held));
    this.held = {};
  }

  #stored(tensor, port) {
    const stored = transpose(tensor, port.axes);
    const data = KINDS[port.dtype]?.from(stored.data) ?? stored.data;
    return this.tf.tensor(data, stored.shape, port.dtype);
  }

  // Keeps the outputs that are the next call's inputs, in the layout of these, on the backend.
  #hold(state, results) {
    const { inputs, outputs } = this.manifest.artifact;
    const next = {};
    for (const [name, source] of Object.entries(state)) {
      const [to, i] = [inputs.find((p) => p.name === name), outputs.findIndex((p) => p.name === source)];
      const order = to.axes.map((axis) => outputs[i].axes.indexOf(axis));
      const same = order.every((axis, k) => axis === k);
      // A clone shares the numbers; the result itself is let go with all others.
      next[name] = same ? this.tf.clone(results[i]) : this.tf.transpose(results[i], order);
    }
    this.reset();
    this.held = next;
  }

  // An output of `run` as an RGBA picture of the source's size.
  picture(name, tensor, placement) {
    const spec = this.manifest.outputs.find((s) => s.name === name);
    if (!spec?.postprocess) throw new Error(`output '${name}' is no picture`);
    return toPicture(tensor, spec.postprocess, placement);
  }

  dispose() {
    this.reset();
    this.graph.dispose();
  }
}

// What a bundle's sizes are called, the default first; none where it has one.
export function sizesOf(manifest) {
  const sized = manifest.inputs.find((spec) => spec.sizes?.length);
  return (sized?.sizes ?? []).map((size) => size.join('x'));
}

// The manifest as if that size were the only one.
export function atSize(manifest, size) {
  const names = sizesOf(manifest);
  const index = names.indexOf(size);
  if (index < 0) throw new Error(`there is no size ${size}, but ${names.join(', ') || 'one alone'}`);
  if (index === 0) return manifest;
  const { stored_as: entry, inputs, outputs } = manifest.artifact.entries.find((e) => e.name === size);
  const shaped = (specs, ports) =>
    specs.map((spec) => {
      const { shape, axes } = ports.find((port) => port.name === spec.name);
      return { ...spec, shape: axes.map((_, i) => shape[axes.indexOf(i)]) };
    });
  return {
    ...manifest,
    inputs: shaped(manifest.inputs, inputs),
    outputs: shaped(manifest.outputs, outputs),
    artifact: { ...manifest.artifact, entry, inputs, outputs },
  };
}

function address(base) {
  const here = typeof document === 'undefined' ? import.meta.url : document.baseURI;
  return new URL(base.endsWith('/') ? base : `${base}/`, here);
}
