// Before and after: a slider between two pictures, and their difference made visible.

const AMPLIFIED = 16;
const stage = document.getElementById("stage");
const before = document.getElementById("before");
const after = document.getElementById("after");
const slider = document.getElementById("slider");
const box = document.getElementById("amplified");
const canvas = document.getElementById("difference");

slider.addEventListener("input", () => {
  stage.style.setProperty("--split", `${slider.value}%`);
  slider.setAttribute("aria-valuetext", `${slider.value} percent original`);
});

box.addEventListener("change", () => {
  if (box.checked) paint();
  canvas.hidden = !box.checked;
  stage.classList.toggle("amplified", box.checked);
  slider.disabled = box.checked;
});

export async function show(first, second) {
  for (const [image, blob] of [[before, first], [after, second]]) {
    if (image.src) URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(blob);
  }
  await Promise.all([before.decode(), after.decode()]);
  box.checked = false;
  box.dispatchEvent(new Event("change"));
}

// Grey where nothing changed. Large photos are cut to their middle: scaling would average the change.
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
