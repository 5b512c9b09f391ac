// The queue: photos that were given, each uploaded, followed and listed until it is removed.
// The address of this page names their jobs, so that they survive a reload of the page.

import { $, element } from "./dom.js";
import * as service from "./service.js";

const BRIEF = ["Waiting to be uploaded", "Starting"];
const entries = [];
const kept = JSON.parse(sessionStorage.getItem("names") ?? "{}"); // file names by job, in this tab only
let tell = {}; // done(entry), opened(entry), removed(entry), refused(error)
let uploads = false;

export const busy = () => entries.some((entry) => !entry.over);

export function begin(callbacks) {
  tell = callbacks;
  return restore();
}

function make(name, rest) {
  const entry = { name, file: null, job: null, over: false, stage: "", ...rest };
  const button = (text, onclick, options) =>
    element("button", { type: "button", className: "plain", textContent: text, onclick, ...options });
  entry.pick = button(name, () => tell.opened(entry), { className: "pick", disabled: true });
  entry.said = element("span", { className: "said" });
  entry.bar = element("progress", { ariaLabel: `Progress of ${name}` });
  entry.again = button("Try again", () => retry(entry), { ariaLabel: `Try ${name} again`, hidden: true });
  const drop = button("Delete", () => remove(entry), { ariaLabel: `Delete ${name}` });
  entry.item = element("li", {}, entry.pick, drop, entry.again, entry.said, entry.bar);
  entries.push(entry);
  $("list").append(entry.item);
  $("queue").hidden = false;
  return entry;
}

// Only a new stage is read aloud, not each step of it.
function say(entry, stage, detail = "") {
  entry.said.textContent = stage + detail;
  if (stage !== entry.stage && !BRIEF.includes(stage)) $("stages").textContent = `${entry.name}: ${stage}`;
  entry.stage = stage;
}

// The time that is left, by the pace since the first step that was seen here: what came before it is loading.
// It counts down from one step to the next, whereas the service's own estimate grows while a step takes.
function left(entry, { done, steps, seconds_left: seconds }) {
  const now = performance.now();
  if (done !== entry.done) {
    if (!(done > entry.first?.done)) entry.first = { done, now }; // or a new attempt
    const pace = (now - entry.first.now) / (done - entry.first.done); // NaN at the first
    entry.ends = now + (pace ? pace * (steps - done) : 1000 * seconds);
    entry.done = done;
  }
  const rest = Math.ceil((entry.ends - now) / 1000);
  if (rest < 1) return "";
  return rest < 90 ? `, about ${rest} seconds left` : `, about ${Math.ceil(rest / 60)} minutes left`;
}

function report(entry, job) {
  const { state, done, steps } = job;
  entry.bar.removeAttribute("value");
  if (state === "queued") say(entry, "Waiting in the queue");
  else if (!done) say(entry, "Starting");
  else if (done >= steps) say(entry, "Measuring the result, and writing its certificate");
  else {
    entry.bar.max = steps;
    entry.bar.value = done;
    say(entry, "Changing the photo", `, step ${done} of ${steps}${left(entry, job)}`);
  }
}

function end(entry, stage, failed) {
  entry.over = true;
  entry.bar.hidden = true;
  entry.item.classList.toggle("failed", failed);
  entry.again.hidden = !(failed && (entry.file || goesOn(entry)));
  entry.pick.disabled = failed;
  say(entry, stage);
}

function save() {
  const ids = entries.filter((entry) => entry.job && !entry.dropped).map((entry) => entry.job.id);
  history.replaceState(null, "", ids.length ? `#photos=${ids.join(".")}` : location.pathname + location.search);
  for (const entry of entries) if (entry.job) kept[entry.job.id] = entry.name;
  for (const id of Object.keys(kept)) if (!ids.includes(id)) delete kept[id];
  sessionStorage.setItem("names", JSON.stringify(kept));
}

export function add(files, strength, forbid) {
  for (const file of files) say(make(file.name || "photo", { file, strength, forbid }), BRIEF[0]);
  upload();
}

// Whether the service may have a job that was lost sight of.
const goesOn = (entry) => Boolean(entry.job) && !service.over(entry.job);

function retry(entry) {
  const again = goesOn(entry);
  Object.assign(entry, { over: false, job: again ? entry.job : null });
  entry.item.classList.remove("failed");
  entry.bar.hidden = false;
  entry.again.hidden = true;
  say(entry, BRIEF[again ? 1 : 0]);
  if (again) follow(entry);
  else upload();
}

// Uploads one photo after another. Without a token the rest waits for it.
export async function upload() {
  if (uploads) return;
  uploads = true;
  for (let entry; (entry = entries.find((each) => !each.job && !each.over && !each.dropped)); ) {
    say(entry, "Uploading");
    try {
      entry.job = await service.immunize(entry.file, entry.strength, entry.forbid);
    } catch (error) {
      if (error.status === 401 && !entry.dropped) {
        say(entry, "Waiting for the access token");
        tell.refused(error);
        break;
      }
      if (!entry.dropped) end(entry, error.message, true);
    }
    if (entry.dropped) await remove(entry);
    if (entry.job && !entry.dropped) {
      save();
      follow(entry);
    }
  }
  uploads = false;
}

async function follow(entry) {
  try {
    if (!service.over(entry.job)) {
      report(entry, entry.job);
      entry.job = await service.follow(entry.job, (state) => service.over(state) || report(entry, state));
    }
    if ((entry.missed = entry.dropped)) return;
    const { state, result, error } = entry.job;
    if (state !== "done") throw new Error(error?.message ?? `It was ${state}.`);
    end(entry, `Done: ${worst(result)}`, false);
    tell.done(entry);
  } catch (error) {
    if ((entry.missed = entry.dropped)) return;
    if (error.status === 404 || error.status === 410) entry.job = null;
    end(entry, error.message, true);
  }
}

export function worst(result) {
  const found = Object.values(result.models).map((model) => model.verdict);
  return ["FAIL", "WEAK"].find((verdict) => found.includes(verdict)) ?? "PASS";
}

function leave(entry, dropped) {
  entry.dropped = entry.item.hidden = dropped;
  $("queue").hidden = [...$("list").children].every((item) => item.hidden);
  save();
}

// Removes a photo from the server, if it is there, and from the list.
export async function remove(entry) {
  const uploading = !entry.job && entry.stage === "Uploading" && !entry.dropped;
  leave(entry, true);
  if (uploading) return; // it is removed when that has ended
  try {
    if (entry.job) await service.remove(entry.job);
  } catch (error) {
    if (error.status !== 404 && error.status !== 410) {
      leave(entry, false);
      if (entry.missed) follow(entry);
      tell.refused(error);
      return;
    }
  }
  if (!entries.includes(entry)) return; // it was asked for twice
  entries.splice(entries.indexOf(entry), 1);
  entry.item.remove();
  if (entry.job) tell.removed(entry);
}

// Finds the jobs that the address names, as after a reload.
export async function restore() {
  const ids = location.hash.match(/^#photos=([0-9a-f.]+)$/)?.[1].split(".") ?? [];
  let gone = 0;
  for (const [at, id] of ids.entries()) {
    if (entries.some((entry) => entry.job?.id === id)) continue;
    try {
      const job = await service.job(id);
      if (job.state === "cancelled") gone += 1;
      else follow(make(kept[id] ?? (ids.length > 1 ? `photo ${at + 1}` : "photo"), { job }));
    } catch (error) {
      if (![404, 410, 422].includes(error.status)) return tell.refused(error);
      gone += 1;
    }
  }
  if (!gone) return undefined;
  save();
  return tell.refused(new Error(gone > 1 ? `${gone} photos are no longer on the server.` : "A photo is no longer on the server."));
}

addEventListener("beforeunload", (event) => {
  if (entries.some((entry) => !entry.job && !entry.over)) event.preventDefault(); // it would be lost
});
