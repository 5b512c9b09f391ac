// The page: upload, progress, result, edits.

import { show } from "./compare.js";
import * as service from "./service.js";

const $ = (id) => document.getElementById(id);
const inputs = [$("file"), $("camera")];
const MEANING = {
  PASS: "edits usually come out worse",
  WEAK: "edits come out a little worse; a more visible change does more",
  FAIL: "edits come out as before; choose a more visible change",
};
let job = null;

function complain(error) {
  $("problem").textContent = error.message;
  $("problem").hidden = false;
  if (error.status === 401) {
    $("access").hidden = false;
    $("access").open = true;
    $("token").focus();
  }
}

function time(seconds) {
  if (seconds === null) return "";
  return seconds < 90 ? `, about ${Math.ceil(seconds)} seconds left` : `, about ${Math.ceil(seconds / 60)} minutes left`;
}

function report(state) {
  const bar = $("bar");
  if (state.state === "running" && state.steps) {
    bar.max = state.steps;
    bar.value = state.done;
    $("said").textContent = `Step ${state.done} of ${state.steps}${time(state.seconds_left)}`;
  } else {
    bar.removeAttribute("value");
    $("said").textContent = state.state === "queued" ? "Waiting in the queue" : "Starting";
  }
}

function ended(state, what) {
  if (state.state === "done") return;
  const why = state.state === "cancelled" ? "cancelled" : (state.error?.message ?? state.state);
  throw new service.Problem(200, `${what}: ${why}`);
}

async function take(file) {
  if (!file || !$("work").hidden) return;
  $("problem").hidden = true;
  $("outcome").hidden = true;
  $("work").hidden = false;
  $("stop").disabled = true; // until there is a job to stop
  $("said").textContent = "Uploading";
  $("bar").removeAttribute("value");
  try {
    const { value, dataset } = $("strength").selectedOptions[0];
    const strength = value ? { [dataset.field]: value } : {};
    job = await service.immunize(file, strength, $("forbid").checked);
    $("stop").disabled = false;
    job = await service.follow(job, report);
    if (job.state === "cancelled") return;
    ended(job, "The photo was not immunized");
    $("said").textContent = "Fetching the result";
    await outcome();
  } catch (error) {
    complain(error);
  } finally {
    $("work").hidden = true;
    for (const input of inputs) input.value = "";
  }
}

async function outcome() {
  const { original, photo, certificate: says, flip } = job.links;
  const [first, second, certificate, map] = await Promise.all(
    [original, photo, says, flip].map((link) => link && service.picture(link)),
  );
  offer($("photo"), second, job.result.file.replace("photo", "immunized"));
  offer($("certificate"), certificate, "certificate.json");
  const seen = job.result.visible;
  const models = Object.entries(job.result.models).map(
    ([name, found]) =>
      `${name}: ${found.verdict} (${MEANING[found.verdict]}), latent shift ${found.effect.shift.toFixed(2)}, by noise of the same size ${found.floor.shift.toFixed(2)}`,
  );
  const notes = job.result.notes.map((note) => `Note: ${note}.`);
  const eye = job.result.seen ? [
    `The change is ${job.result.seen}: JOD ${seen.jod_fhd.toFixed(1)} on a full-HD screen (10: no visible difference).`,
  ] : [];
  $("figures").textContent = [
    `The largest change is ${seen.linf} of 255 levels.`, ...eye, `${models.join("; ")}.`, ...notes,
  ].join(" ");
  $("until").textContent = `The server deletes photo and result at ${new Date(job.expires).toLocaleTimeString()}.`;
  $("edits").hidden = true;
  $("editing").textContent = "";
  $("edit").hidden = false;
  $("forget").disabled = false;
  $("outcome").hidden = false;
  try {
    await show(first, second, map);
  } catch {
    // Most browsers cannot show TIFF.
    complain(new Error("This browser cannot show the file type; download it to see it."));
  }
  $("outcome-title").focus();
}

function offer(link, blob, name) {
  if (link.href) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(blob);
  link.download = name;
}

for (const input of inputs) input.addEventListener("change", () => take(input.files[0]));
$("token").addEventListener("change", () => {
  service.remember($("token").value);
  $("problem").hidden = true;
  list();
});

for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.add("over");
  });
}
document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  take(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));

async function forget() {
  try {
    await service.remove(job);
  } catch (error) {
    if (error.status !== 404 && error.status !== 410) return complain(error);
  }
  $("until").textContent = "Deleted from the server. This page still has the result.";
  $("edit").hidden = true;
  $("forget").disabled = true;
  return undefined;
}
$("stop").addEventListener("click", forget);
$("forget").addEventListener("click", forget);

$("edit").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter ?? $("edit").querySelector("button");
  button.disabled = true;
  $("problem").hidden = true;
  try {
    let tried = await service.edit(job, $("prompt").value);
    tried = await service.follow(tried, (state) => {
      $("editing").textContent = `Edit ${Math.min(state.done + 1, 2)} of 2 …`;
    });
    ended(tried, "The edit was not made");
    for (const which of ["original", "immunized"]) {
      const image = $(`edit-${which}`);
      if (image.src) URL.revokeObjectURL(image.src);
      image.src = URL.createObjectURL(await service.picture(tried.links[which]));
    }
    $("edits").hidden = false;
    $("editing").textContent = "Both edits are shown below.";
  } catch (error) {
    $("editing").textContent = "";
    complain(error);
  } finally {
    button.disabled = false;
  }
});

function offerStrengths(limits) {
  const select = $("strength");
  const chosen = select.value;
  const usual = limits.usual_visibility ?? "";
  const bySight = limits.visibilities.length > 0;
  for (const choice of [...select.options]) {
    const { value, dataset } = choice;
    const offered = {
      visibility: limits.visibilities.includes(value),
      levels: !bySight && Number(value) <= (limits.levels ?? 0),
    };
    if (!(offered[dataset.field] ?? !usual)) choice.remove();
  }
  const kept = chosen && [...select.options].some((choice) => choice.value === chosen);
  select.value = kept ? chosen : usual;
  $("by-sight").hidden = !bySight;
  $("by-levels").hidden = bySight;
  $("most").textContent = limits.usual_levels;
}

async function list() {
  try {
    offerStrengths(await service.limits());
    const rows = (await service.models()).filter((model) => model.supported);
    $("models").replaceChildren(
      ...rows.map((model) => {
        const item = document.createElement("li");
        item.textContent = `${model.name} ${model.version}, since ${model.since}`;
        return item;
      }),
    );
  } catch (error) {
    complain(error);
  }
}
list();
