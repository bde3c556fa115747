// TF.js on WebGPU.

import '@tensorflow/tfjs-backend-webgpu';

import { serveOn } from './graph_model.mjs';

export async function start() {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw new Error('no WebGPU adapter');
  await serveOn('webgpu');
  return adapter.info?.description || 'WebGPU';
}
