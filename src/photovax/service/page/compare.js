// Comparison: a slider between two pictures, their amplified difference, the map of visible change.

const AMPLIFIED = 16;
const stage = document.getElementById("stage");
const before = document.getElementById("before");
const after = document.getElementById("after");
const slider = document.getElementById("slider");
const both = document.getElementById("both");
const amplified = document.getElementById("amplified");
const seen = document.getElementById("seen");
const canvas = document.getElementById("difference");
const map = document.getElementById("map");

slider.addEventListener("input", () => {
  stage.style.setProperty("--split", `${slider.value}%`);
  slider.setAttribute("aria-valuetext", `${slider.value} percent original`);
});

function choose() {
  if (amplified.checked) paint();
  canvas.hidden = !amplified.checked;
  map.hidden = !seen.checked;
  stage.classList.toggle("covered", !both.checked);
  slider.disabled = !both.checked;
}
for (const choice of [both, amplified, seen]) choice.addEventListener("change", choose);

// The server may have no map.
export async function show(first, second, third) {
  document.getElementById("mapped").hidden = !third;
  both.checked = true;
  choose();
  for (const [image, blob] of [[before, first], [after, second], [map, third]]) {
    if (image.src) URL.revokeObjectURL(image.src);
    if (blob) image.src = URL.createObjectURL(blob);
  }
  await Promise.all([before.decode(), after.decode()]);
}

// Grey means no change. Large photos are cropped to their centre, since scaling averages the change.
function paint() {
  const width = Math.min(after.naturalWidth, 4096);
  const height = Math.min(after.naturalHeight, 4096);
  const crop = (image) => {
    const sheet = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    sheet.drawImage(image, (width - image.naturalWidth) / 2, (height - image.naturalHeight) / 2);
    return sheet.getImageData(0, 0, width, height);
  };
  const one = crop(before).data;
  const made = crop(after);
  for (let at = 0; at < one.length; at += 1) {
    made.data[at] = at % 4 === 3 ? 255 : 128 + AMPLIFIED * (made.data[at] - one[at]);
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(made, 0, 0);
}
