// The page that immunizes on this device: photos in, results out, and no request with either.

import { show } from "./compare.js";
import { $, element, mark, offer, onPhotos } from "./dom.js";
import * as strength from "./strength.js";

const waiting = [];
let worker = null;
let busy = false;
let shown = null; // the photo whose result is shown
const results = new Map(); // by the button that shows them

// Words alone: the page offers no forecast of another visibility.
strength.offer({ visibilities: ["low", "medium", "high"], radii: {}, usual_visibility: "medium" });
strength.set($("strength"), strength.usualStop());
$("strength").addEventListener("input", () => strength.say($("strength")));

function take(files) {
  const { visibility } = strength.stop($("strength")).field;
  for (const file of files) {
    const pick = element("button", { type: "button", className: "pick", textContent: file.name || "photo", disabled: true, onclick: () => open(pick) });
    const said = element("span", { className: "said", textContent: "Waiting" });
    const bar = element("progress", { ariaLabel: `Progress of ${file.name || "photo"}` });
    const item = element("li", {}, pick, said, bar);
    $("list").append(item);
    waiting.push({ file, visibility, pick, said, bar, item });
  }
  $("file").value = "";
  $("queue").hidden = !$("list").children.length;
  work();
}

async function work() {
  if (busy) return;
  busy = true;
  for (let entry; (entry = waiting.shift()); ) {
    const say = (text) => {
      entry.said.textContent = text;
      $("stages").textContent = `${entry.pick.textContent}: ${text}`;
    };
    try {
      say("Changing the photo");
      results.set(entry.pick, await immunized(entry));
      say("Done");
      entry.pick.disabled = false;
    } catch (error) {
      entry.item.classList.add("failed");
      say(error.message);
    }
    entry.bar.hidden = true;
    // Another that is opened while this one loads takes its place, which is no failure of this one.
    if (results.has(entry.pick) && (!waiting.length || !shown)) await open(entry.pick).catch(() => {});
  }
  busy = false;
}

// The pixels of a picture as this browser shows it: turned upright, in sRGB.
async function pixels(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    throw new Error("This browser cannot read the file. Most can read JPEG, PNG and WebP.");
  }
  const { width, height } = bitmap;
  const sheet = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!sheet) throw new Error(`Its ${((width * height) / 1e6).toFixed(1)} megapixels are more than this browser can draw.`);
  sheet.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { sheet, data: sheet.getImageData(0, 0, width, height) };
}

// The number of pictures in a GIF: after its head, extensions and pictures, each in blocks with their length before them.
function framesOfGif(bytes) {
  const colours = (at) => (bytes[at] & 128 ? 3 << ((bytes[at] & 7) + 1) : 0);
  let [at, count] = [13 + colours(10), 0];
  while (bytes[at] === 0x21 || bytes[at] === 0x2c) {
    if (bytes[at] === 0x2c) count += 1;
    at += bytes[at] === 0x2c ? 11 + colours(at + 9) : 2;
    while (bytes[at]) at += bytes[at] + 1;
    at += 1;
  }
  return count;
}

// Whether a file holds several frames, of which a canvas shows the first.
async function moves(blob) {
  const head = new Uint8Array(await blob.slice(0, 65536).arrayBuffer());
  const text = new TextDecoder("latin1").decode(head);
  if (text.startsWith("GIF8")) return framesOfGif(new Uint8Array(await blob.arrayBuffer())) > 1;
  if (text.startsWith("PNG", 1)) return text.split("IDAT", 1)[0].includes("acTL");
  if (text.startsWith("RIFF") && text.startsWith("WEBPVP8X", 8)) return (head[20] & 2) > 0;
  return text.startsWith("ftypavis", 4);
}

function passed(given) {
  worker ??= new Worker(new URL("device/worker.js", import.meta.url), { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => (data.failed ? reject(new Error(data.failed)) : resolve(data));
    worker.onerror = () => {
      worker = null; // the next photo starts another
      reject(new Error("This browser could not start the network. It needs WebAssembly."));
    };
    worker.postMessage(given, [given.pixels]);
  });
}

async function immunized({ file, visibility }) {
  if (await moves(file)) throw new Error("It has several frames, of which this page would keep the first alone. Take out the one you want.");
  const { sheet, data: before } = await pixels(file);
  const { width, height } = before;
  if (before.data.some((value, at) => at % 4 === 3 && value < 255)) {
    throw new Error("It has transparent pixels, which this page cannot keep as they are.");
  }
  const found = await passed({ visibility, pixels: before.data.slice().buffer, height, width });
  const after = new ImageData(new Uint8ClampedArray(found.pixels), width, height);
  sheet.putImageData(after, 0, 0);
  const photo = await sheet.canvas.convertToBlob({ type: "image/png" });
  // Some browsers alter what pages read from pictures.
  const saved = (await pixels(photo)).data.data;
  let most = 0;
  for (let at = 0; at < saved.length; at += 1) {
    if (saved[at] !== after.data[at]) throw new Error("This browser alters pictures that pages make, to keep sites from recognising it. Allow that for this page, or use another.");
    most = Math.max(most, Math.abs(saved[at] - before.data[at]));
  }
  return { file, photo, visibility, most, used: found.used };
}

async function open(pick) {
  const { file, photo, visibility, most, used } = results.get(pick);
  shown = pick;
  mark(pick);
  offer($("photo"), photo, `${pick.textContent.replace(/\.[^.]*$/, "")}.immunized.png`);
  $("outcome-title").textContent = pick.textContent;
  $("figures").textContent = `In the file, the change has ${Math.round(100 * used)} % of the visibility that “${visibility}” allows, `
    + `and no pixel changes by more than ${most} of 255 levels.`;
  $("outcome").hidden = false;
  await show(file, photo);
  $("outcome-title").focus();
  $("outcome").scrollIntoView();
}

onPhotos([$("file")], take);
addEventListener("beforeunload", (event) => {
  if (busy) event.preventDefault(); // it would be lost
});
