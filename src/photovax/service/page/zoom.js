// Pictures side by side that are enlarged together: by a press at that place, then moved by the pointer or arrow keys.

import { onArrows } from "./dom.js";

const TIMES = 3;
const STEP = 10; // percent that an arrow key moves by

export function zoomable(pair) {
  let at = [50, 50]; // percent of width and height
  const move = (across, down) => {
    at = [across, down].map((percent) => Math.max(0, Math.min(100, percent)));
    pair.style.setProperty("--at", `${at[0]}% ${at[1]}%`);
  };
  const place = (event) => {
    const { left, top, width, height } = event.currentTarget.getBoundingClientRect();
    move((100 * (event.clientX - left)) / width, (100 * (event.clientY - top)) / height);
  };
  pair.style.setProperty("--times", TIMES);
  for (const frame of pair.querySelectorAll("button")) {
    frame.setAttribute("aria-pressed", "false");
    frame.addEventListener("click", (event) => {
      const larger = pair.classList.toggle("larger");
      if (larger && event.detail) place(event); // 0 for a key
      for (const each of pair.querySelectorAll("button")) each.setAttribute("aria-pressed", larger);
    });
    frame.addEventListener("pointermove", (event) => {
      if (pair.classList.contains("larger")) place(event);
    });
    onArrows(frame, (x, y) => pair.classList.contains("larger") && move(at[0] + STEP * x, at[1] + STEP * y));
  }
}
