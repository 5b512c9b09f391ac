// Immunizes in a thread of its own: one pass of the graph, in this browser alone.

import * as ort from "./runtime/ort.wasm.min.js";
import { sizes } from "./sizes.js";

const WEIGHTS = "embedded.safetensors";
const TOLERANCE = 1e-4; // of photovax.attack.budgets
const here = (name) => new URL(name, import.meta.url).href;
const RUNTIME = "runtime/ort-wasm-simd-threaded";
ort.env.wasm.wasmPaths = { mjs: here(`${RUNTIME}.js`), wasm: here(`${RUNTIME}.wasm`) };
ort.env.logLevel = "error";
const sessions = {};
let weights = null;

async function read(name) {
  const answer = await fetch(here(name));
  if (!answer.ok) throw new Error(`${name} cannot be loaded: the server answered ${answer.status}.`);
  return answer.arrayBuffer();
}

function session(visibility) {
  sessions[visibility] ??= (async () => {
    weights ??= read(WEIGHTS);
    const [graph, data] = await Promise.all([read(`${visibility}.onnx`), weights]);
    return ort.InferenceSession.create(graph, {
      executionProviders: ["wasm"],
      externalData: [{ path: WEIGHTS, data: new Uint8Array(data) }],
      enableCpuMemArena: false, // it would keep the memory of the largest photo
    });
  })();
  sessions[visibility].catch(() => {
    delete sessions[visibility]; // or a lost connection would last
    weights = null;
  });
  return sessions[visibility];
}

async function immunize({ visibility, pixels, height, width }) {
  const ready = await session(visibility);
  const { degree, finest, ...shapes } = sizes(height, width);
  const feeds = { photo: new ort.Tensor("uint8", new Uint8Array(pixels), [height, width, 4]) };
  for (const [name, value] of Object.entries({ degree, finest })) feeds[name] = new ort.Tensor("float32", [value], []);
  for (const [name, [high, wide]] of Object.entries(shapes)) {
    feeds[name] = new ort.Tensor("uint8", new Uint8Array(high * wide), [high, wide]);
  }
  // Rounding can leave the budget; then less of the change is kept.
  for (let kept = 100; kept > 0; kept -= 1) {
    feeds.share = new ort.Tensor("float32", [kept / 100], []);
    const { immunized, size } = await ready.run(feeds);
    if (size.data[0] <= 1 + TOLERANCE) return { pixels: immunized.data.buffer, used: size.data[0] };
  }
  throw new Error("Nothing of the change is left in 8 bits.");
}

addEventListener("message", async ({ data }) => {
  try {
    const found = await immunize(data);
    postMessage(found, [found.pixels]);
  } catch (error) {
    const memory = error instanceof RangeError || /memory|bad_alloc|allocat/i.test(error.message ?? error);
    const megapixels = ((data.height * data.width) / 1e6).toFixed(1);
    postMessage({ failed: memory ? `Its ${megapixels} megapixels are more than this browser has memory for.` : String(error.message ?? error) });
  }
});
