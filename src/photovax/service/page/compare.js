// Comparison: a slider between two pictures, their amplified difference, the map of visible change,
// and a part of both pixel by pixel.

import { $, onArrows } from "./dom.js";

const AMPLIFIED = 16;
const STEP = 32; // pixels that an arrow key moves the part by
const GRID = 24; // cells of a side among which the place of the most visible change is looked for
const [stage, before, after, slider, map] = ["stage", "before", "after", "slider", "map"].map($);
const parts = [$("part-before"), $("part-after")];
let corner = [0, 0]; // of the part, in pixels of the photo
let factor = 1; // that the change is multiplied by in the part

function split(percent) {
  slider.value = percent;
  stage.style.setProperty("--split", `${slider.value}%`);
  slider.setAttribute("aria-valuetext", `${slider.value} percent original`);
}
slider.addEventListener("input", () => split(slider.value));

// Calls back with where a pointer that was pressed on the element is, and how far it was moved.
function dragged(held, moved) {
  let last = [0, 0];
  held.addEventListener("pointerdown", (event) => {
    last = [event.clientX, event.clientY];
    held.setPointerCapture(event.pointerId);
  });
  held.addEventListener("pointermove", (event) => {
    if (!held.hasPointerCapture(event.pointerId)) return;
    moved(event.clientX, event.clientX - last[0], event.clientY - last[1]);
    last = [event.clientX, event.clientY];
  });
}
dragged(stage, (x) => {
  const { left, width } = stage.getBoundingClientRect();
  if (!slider.disabled) split((100 * (x - left)) / width);
});

function choose() {
  if ($("amplified").checked) paint();
  $("difference").hidden = !$("amplified").checked;
  map.hidden = !$("seen").checked;
  stage.classList.toggle("covered", !$("both").checked);
  slider.disabled = !$("both").checked;
}
for (const choice of ["both", "amplified", "seen"]) $(choice).addEventListener("change", choose);

// The server may have no map.
export async function show(first, second, third) {
  $("mapped").hidden = !third;
  $("both").checked = true;
  choose();
  split(50);
  factor = 1;
  for (const [image, blob] of [[before, first], [after, second], [map, third]]) {
    if (image.src) URL.revokeObjectURL(image.src);
    if (blob) image.src = URL.createObjectURL(blob);
  }
  await Promise.all([before.decode(), after.decode(), third && map.decode()]);
  const { style } = stage.parentElement; // of the slider, too, which is as wide
  style.setProperty("--ratio", after.naturalWidth / after.naturalHeight);
  style.setProperty("--own", `${after.naturalWidth}px`);
  const [across, down] = third ? mostSeen() : [0.5, 0.5];
  const half = parts[0].clientWidth / 2;
  corner = [across * after.naturalWidth - half, down * after.naturalHeight - half];
  draw();
}

// The place where the map is brightest, as shares of width and height.
function mostSeen() {
  const sheet = new OffscreenCanvas(GRID, GRID).getContext("2d");
  sheet.imageSmoothingQuality = "high";
  sheet.drawImage(map, 0, 0, GRID, GRID);
  const { data } = sheet.getImageData(0, 0, GRID, GRID);
  const bright = Array.from({ length: GRID * GRID }, (_, cell) => data[4 * cell] + data[4 * cell + 1] + data[4 * cell + 2]);
  const cell = bright.indexOf(Math.max(...bright));
  return [((cell % GRID) + 0.5) / GRID, (Math.floor(cell / GRID) + 0.5) / GRID];
}

// Shows the change so many times as large in the part.
export function forecast(times) {
  factor = times;
  draw();
}

function within(start, shown, whole) {
  return Math.round(whole < shown ? (whole - shown) / 2 : Math.max(0, Math.min(start, whole - shown)));
}

function draw() {
  const side = parts[0].clientWidth;
  if (!side || !after.naturalWidth) return;
  corner = [within(corner[0], side, after.naturalWidth), within(corner[1], side, after.naturalHeight)];
  const sheets = parts.map((part, which) => {
    part.width = part.height = side;
    const sheet = part.getContext("2d", { willReadFrequently: true });
    sheet.drawImage([before, after][which], -corner[0], -corner[1]);
    return sheet;
  });
  if (factor === 1) return;
  const [one, made] = sheets.map((sheet) => sheet.getImageData(0, 0, side, side));
  for (let at = 0; at < made.data.length; at += 1) {
    made.data[at] = one.data[at] + factor * (made.data[at] - one.data[at]); // clipped by the array
  }
  sheets[1].putImageData(made, 0, 0);
}

function move(across, down) {
  corner = [corner[0] + across, corner[1] + down];
  draw();
}
for (const part of parts) {
  dragged(part, (x, across, down) => move(-across, -down));
  onArrows(part, (x, y) => move(STEP * x, STEP * y));
}
new ResizeObserver(draw).observe(parts[0]);

// Grey means no change. Large photos are cropped to their centre, since scaling averages the change.
function paint() {
  const width = Math.min(after.naturalWidth, 4096);
  const height = Math.min(after.naturalHeight, 4096);
  const crop = (image) => {
    const sheet = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    sheet.drawImage(image, Math.round((width - image.naturalWidth) / 2), Math.round((height - image.naturalHeight) / 2));
    return sheet.getImageData(0, 0, width, height);
  };
  const one = crop(before).data;
  const made = crop(after);
  for (let at = 0; at < one.length; at += 1) {
    made.data[at] = at % 4 === 3 ? 255 : 128 + AMPLIFIED * (made.data[at] - one[at]);
  }
  const canvas = $("difference");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(made, 0, 0);
}
