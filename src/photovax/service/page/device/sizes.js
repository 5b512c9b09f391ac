// What the graph is told about a photo, as photovax.attack.networks.whole.inputs computes it.

const FED = 256; // short side, in pixels, at which the model is fed photos
const SCREEN = { width: 1920, height: 1080, inches: 24, distance: 0.6 }; // metres

// As Python rounds: halves to the even number.
function rounded(value) {
  const near = Math.round(value);
  return near - value === 0.5 && near % 2 ? near - 1 : near;
}

function pixelsPerDegree(height, width) {
  const pixel = (SCREEN.inches * 0.0254) / Math.hypot(SCREEN.width, SCREEN.height);
  const degree = 1 / ((2 * Math.atan(pixel / 2 / SCREEN.distance) * 180) / Math.PI);
  const [short, long] = [Math.min(height, width), Math.max(height, width)];
  return degree / Math.min(1, SCREEN.height / short, SCREEN.width / long);
}

// The least length from this one up whose prime factors are 2, 3 and 5.
function padded(length) {
  for (let found = length; ; found += 1) {
    let rest = found;
    for (const factor of [2, 3, 5]) while (rest % factor === 0) rest /= factor;
    if (rest === 1) return found;
  }
}

export function sizes(height, width) {
  const sides = [height, width];
  const short = Math.min(height, width);
  const scale = Math.min(1, (1.5 * FED) / short);
  const grid = sides.map((side) => Math.max(1, rounded(side * scale)));
  return {
    fed: sides.map((side) => Math.max(1, rounded(Math.min(side * (FED / short), 4 * FED) / 8)) * 8),
    grid,
    padded: grid.map(padded),
    degree: pixelsPerDegree(height, width) * scale,
    finest: (0.5 * FED) / (short * scale),
  };
}
