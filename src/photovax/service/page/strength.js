// The strengths that the service offers, and the sliders that choose among them.

import { $ } from "./dom.js";

const SAYS = {
  low: "low: most people see no change, even beside the original. Disturbs edits least.",
  medium: "medium: seen beside the original, and as fine grain on smooth areas such as skin or a sky.",
  high: "high: seen by a close look, and on smooth areas without one. Disturbs edits most.",
};
let stops = [];
let usual = 0;

// Reads what the service offers; the default comes first where it has no place among the words.
export function offer(limits) {
  const levels = [...new Set([limits.usual_levels, limits.levels])].filter(Boolean).sort((a, b) => a - b);
  const words = limits.visibilities.map((word) => ({ field: { visibility: word }, size: limits.radii[word], says: SAYS[word] ?? word }));
  stops = words.length ? words : levels.map((most) => ({
    field: { levels: most }, size: most,
    says: `${most} of 255 levels at most: on smooth areas seen ${most < 16 ? "by a close look" : "at once"}.`,
  }));
  if (words.length && !limits.usual_visibility) stops.unshift({ field: {}, says: "the default of this service" });
  usual = Math.max(0, of({ visibility: limits.usual_visibility, levels: limits.usual_levels }));
}

// The place of a job's strength among those offered, or -1.
export function of(result) {
  return stops.findIndex(({ field: { visibility, levels } }) =>
    visibility ? visibility === result.visibility : levels && levels === result.levels);
}

export const usualStop = () => usual;
export const enough = () => stops.length > 1;
export const stop = (slider) => stops[slider.value] ?? { field: {}, says: "" };

// How many times as large the change is at one place as at another, if both are known.
export const ratio = (to, from) => stops[to]?.size / stops[from]?.size || null;

// Sets a slider to a place and says what that is; also says it whenever it is moved.
export function set(slider, place) {
  slider.max = stops.length - 1;
  slider.value = place;
  say(slider);
}

export function say(slider) {
  const { says } = stop(slider);
  slider.setAttribute("aria-valuetext", says);
  $(`${slider.id}-says`).textContent = says;
}
