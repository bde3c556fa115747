// What a backend's frame offers to the host: open, run and close models by number.
//
// An engine has `load(url, entry)`, which answers a model: { inputs, outputs, run(arrays), dispose() };
// inputs and outputs are { name: { shape, dtype } }, arrays { name: typed array }.

const ARRAYS = { float32: Float32Array, int32: Int32Array, bool: Uint8Array };

// All that the server answers lies below the page, which is above a frame.
export function at(path) {
  return new URL(`../${path}`, location).href;
}

export function size(shape) {
  return shape.reduce((product, n) => product * n, 1);
}

export async function fetchBytes(url) {
  const response = await fetch(url).catch(() => null);
  if (!response) throw new Error(`cannot fetch ${url}`);
  if (!response.ok) throw new Error(`${url.split('/').pop()} is missing (${response.status})`);
  return response.arrayBuffer();
}

function split(bytes, tensors) {
  let offset = 0;
  return Object.fromEntries(
    tensors.map(({ name, dtype, shape }) => {
      const values = new ARRAYS[dtype](bytes.slice(offset, offset + size(shape) * ARRAYS[dtype].BYTES_PER_ELEMENT));
      offset += values.byteLength;
      return [name, { dtype, shape, values }];
    }),
  );
}

export function serve(engine) {
  const models = new Map();
  Object.assign(window.backend, {
    async open({ id, entry }) {
      const model = await engine.load(at(`model/${id}`), entry);
      models.set(id, model);
      return { inputs: model.inputs, outputs: model.outputs };
    },
    async run({ id, tensors }) {
      const results = await models.get(id).run(split(await fetchBytes(at('inputs')), tensors));
      const body = new Blob(results.map((r) => r.values));
      await fetch(at('outputs'), { method: 'POST', body });
      return results.map(({ name, dtype, shape }) => ({ name, dtype, shape }));
    },
    async time({ id, tensors, runs }) {
      const arrays = split(await fetchBytes(at('inputs')), tensors);
      const times = [];
      for (let i = 0; i < runs; i++) {
        const start = performance.now();
        await models.get(id).run(arrays);
        times.push(performance.now() - start);
      }
      return times;
    },
    close(id) {
      models.get(id)?.dispose();
      models.delete(id);
    },
  });
}
