// Keeps one Chromium with one page, in which every browser backend has a frame of its own.
//
// `node host.mjs CHROMIUM` answers requests on stdin with responses on stdout, one at a time; the
// format of a message is that of messages.mjs. It ends, and Chromium with it, when stdin does, or
// when the process that started it is gone.
//
//   { do: 'open', backend, path, entry } -> { id, runtime, inputs, outputs }
//   { do: 'run', id, tensors } + bytes   -> { tensors } + bytes
//   { do: 'time', id, runs, tensors } .. -> { milliseconds } of each run, by the page's clock
//   { do: 'close', id }                  -> {}
//
// An answer may be { error, kind } instead; kind is 'unavailable', 'artifact' or 'crash'.

import { launch } from './chromium.mjs';
import { receive, send } from './messages.mjs';
import { Server } from './server.mjs';

class Unavailable extends Error {}
class Crash extends Error {}

const parent = Number(process.env.MLSHIP_PARENT ?? process.ppid);
setInterval(async () => {
  if (process.ppid === parent) return;
  await browser?.close().catch(() => {});
  process.exit(1);
}, 1000).unref();

const server = await Server.start();
const models = new Map();
const frames = new Map();
const strangers = new Set();
let browser, page, crashed;

async function start() {
  try {
    browser = await launch(process.argv[2], server.origin);
  } catch (error) {
    throw new Unavailable(`Chromium does not start: ${firstLines(error, 2)}`);
  }
  page = await browser.newPage();
  page.on('request', (request) => {
    const url = request.url();
    if (/^(http|ws)/.test(url) && !url.startsWith(`${server.origin}/`)) strangers.add(url);
  });
  crashed = new Promise((_, reject) => {
    page.on('crash', () => reject(new Crash('the page crashed')));
    browser.on('disconnected', () => reject(new Crash('Chromium ended')));
  });
  crashed.catch(() => {});
  await page.goto(server.page);
}

// What the page answers, or the news of its end, whichever comes first.
async function ask(frame, call, argument) {
  try {
    return await Promise.race([frame.evaluate(call, argument), crashed]);
  } catch (error) {
    if (/crashed|has been closed|detached/.test(error.message)) throw new Crash('the page crashed');
    throw error;
  }
}

async function frameOf(backend) {
  if (!frames.has(backend)) {
    const element = await page.evaluateHandle((name) => window.addFrame(name), backend);
    const frame = await element.asElement().contentFrame();
    try {
      const runtime = await ask(frame, () => window.backend.start());
      frames.set(backend, { frame, runtime });
    } catch (error) {
      await element.evaluate((e) => e.remove()).catch(() => {});
      if (error instanceof Crash) throw error;
      throw new Unavailable(`${backend} does not start in this Chromium: ${firstLines(error)}`);
    }
  }
  return frames.get(backend);
}

const ACTIONS = {
  async open({ backend, path, entry }) {
    if (!page) await start();
    const { frame, runtime } = await frameOf(backend);
    const id = server.share(path);
    const signature = await ask(frame, (job) => window.backend.open(job), { id, entry });
    models.set(id, frame);
    return [{ id, runtime, ...signature }];
  },
  async run({ id, tensors }, bytes) {
    server.inputs = bytes;
    const described = await ask(models.get(id), (job) => window.backend.run(job), { id, tensors });
    return [{ tensors: described }, server.outputs];
  },
  async time({ id, runs, tensors }, bytes) {
    server.inputs = bytes;
    const job = { id, runs, tensors };
    return [{ milliseconds: await ask(models.get(id), (j) => window.backend.time(j), job) }];
  },
  async close({ id }) {
    const frame = models.get(id);
    models.delete(id);
    server.unshare(id);
    if (frame) await ask(frame, (n) => window.backend.close(n), id);
    return [{}];
  },
};

function firstLines(error, count = 1) {
  const text = String(error?.message ?? error).replace(/^[\w.]+: (Error: )?/, '');
  return text.split('\n').filter((line) => line.trim()).slice(0, count).join(' / ');
}

function refusal(error) {
  const kind = error instanceof Unavailable ? 'unavailable' : error instanceof Crash ? 'crash' : 'artifact';
  const because = strangers.size ? ` (blocked: the model asked for ${[...strangers].join(', ')})` : '';
  strangers.clear();
  return { error: firstLines(error) + because, kind };
}

for await (const [header, bytes] of receive(process.stdin)) {
  try {
    send(...(await ACTIONS[header.do](header, bytes)));
  } catch (error) {
    send(refusal(error));
    if (error instanceof Crash) break;
  }
}
await browser?.close().catch(() => {});
process.exit(0);
