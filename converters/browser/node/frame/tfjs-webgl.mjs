// TF.js on WebGL 2 with float32 textures.

import '@tensorflow/tfjs-backend-webgl';
import { env } from '@tensorflow/tfjs-core';

import { serveOn } from './graph_model.mjs';

export async function start() {
  await serveOn('webgl');
  if (!env().getBool('WEBGL_RENDER_FLOAT32_ENABLED')) throw new Error('no float32 textures');
  return 'float32 textures';
}
