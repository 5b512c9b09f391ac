// The page: photos in, results, edits of both, checks of copies.

import { forecast, show } from "./compare.js";
import { $, element, mark, offer, onPhotos } from "./dom.js";
import * as queue from "./queue.js";
import * as service from "./service.js";
import * as strength from "./strength.js";
import { zoomable } from "./zoom.js";

const inputs = [$("file"), $("camera")];
const THREE = ["paint it in sepia", "make it snow", "make it golden hour"];
const MEANING = {
  PASS: "edits by the models listed below usually come out worse, though one can still succeed.",
  WEAK: "edits by the models listed below come out a little worse, and many succeed.",
  FAIL: "the models listed below see hardly more than noise. Edits come out as those of the original.",
};
const UNKNOWN = "The small editor was not trained on this request. What it makes of it, often a picture in one colour, "
  + "says nothing about the effect. The list of the field above has requests that it knows.";
let most = Infinity; // bytes of one upload
let shown = null; // the photo whose result is shown
let wanted = null; // the one whose result is loaded
let awaited = false; // whether the next result is to be shown by itself

function complain(error) {
  $("problem").textContent = error.message;
  $("problem").hidden = false;
  if (error.status === 401) {
    $("access").hidden = false;
    $("access").open = true;
    $("token").focus();
  } else $("problem").scrollIntoView({ block: "nearest" });
}

function take(given) {
  for (const input of inputs) input.value = "";
  const large = given.find((file) => file.size > most);
  $("problem").hidden = !large;
  if (large) complain(new Error(`${large.name} has more than the ${Math.floor(most / 2 ** 20)} MB that this service takes.`));
  const fit = given.filter((file) => file.size <= most);
  if (!fit.length) return;
  if (!queue.busy()) {
    $("outcome").hidden = true;
    awaited = true;
  }
  queue.add(fit, strength.stop($("strength")).field, $("forbid").checked);
  $("queue").scrollIntoView({ block: "nearest" });
}

function verdict(result) {
  const found = queue.worst(result);
  const last = !strength.enough() || strength.of(result) === Number($("strength").max);
  let next = last ? "resize the original to the size at which you will publish it, and immunize that." : "try a more visible change, below.";
  if (found === "PASS") next = "publish this file instead of the original, then check the copy that is served, at the end of this page.";
  $("verdict").className = found;
  $("verdict").replaceChildren(element("strong", { textContent: found }), `: ${MEANING[found]} What to do next: ${next}`);
}

function figures({ visible, seen, models, notes }) {
  const lines = Object.entries(models).map(([name, { verdict: word, effect, floor }]) =>
    `${name}: ${word}, latent shift ${effect.shift.toFixed(2)}, by noise of the same size ${floor.shift.toFixed(2)}`);
  const eye = seen ? [`The change is ${seen}: JOD ${visible.jod_fhd.toFixed(1)} on a full-HD screen (10: no visible difference).`] : [];
  return [`The largest change is ${visible.linf} of 255 levels.`, ...eye, `${lines.join("; ")}.`, ...notes.map((note) => `Note: ${note}.`)].join(" ");
}

async function open(entry) {
  wanted = entry;
  const { original, photo, certificate, flip, preview } = entry.job.links;
  let got;
  try {
    got = await Promise.all([original, photo, certificate, flip, preview].map((link) => link && service.picture(link)));
  } catch (error) {
    if (wanted === entry) wanted = shown;
    complain(error);
    return;
  }
  if (wanted !== entry) return; // another was chosen meanwhile
  shown = entry;
  sessionStorage.setItem("shown", entry.job.id);
  const [first, second, says, map, seen] = got;
  const { result } = entry.job;
  const stem = entry.name.replace(/\.[^.]*$/, "");
  offer($("photo"), second, `${stem}.immunized${result.file.match(/\.[^.]*$/)[0]}`);
  offer($("certificate"), says, `${stem}.certificate.json`);
  mark(entry.pick);
  $("outcome-title").textContent = entry.name;
  verdict(result);
  $("figures").textContent = figures(result);
  $("until").textContent = `The server deletes photo and result at ${new Date(entry.job.expires).toLocaleTimeString()}.`;
  $("edits").replaceChildren();
  $("editing").textContent = "";
  $("edit").hidden = false;
  $("forget").disabled = false;
  $("wishes").hidden = strength.of(result) < 0 || !strength.enough();
  strength.set($("wish"), Math.max(0, strength.of(result)));
  wish();
  $("outcome").hidden = false;
  try {
    await show(first, seen ?? second, map);
  } catch {
    complain(new Error("This browser cannot show the file type; download it to see it."));
  }
  if ($("check").contains(document.activeElement)) return; // who fills that in is not to be taken away
  $("outcome-title").focus();
  $("outcome").scrollIntoView();
}

// Another strength is shown at once, by scaling the change that was made.
function wish() {
  const made = strength.of(shown.job.result);
  const ratio = strength.ratio($("wish").value, made);
  const other = Number($("wish").value) !== made;
  strength.say($("wish"));
  forecast((other && ratio) || 1);
  $("part-says").textContent = other && ratio ? `A forecast: the change times ${ratio.toFixed(2)}` : "Immunized";
  $("again").disabled = !other;
  $("again").hidden = !shown.file; // after a reload the page has the photo no more
  $("choose").hidden = Boolean(shown.file);
}
$("wish").addEventListener("input", wish);
$("again").addEventListener("click", () => {
  awaited = true;
  queue.add([shown.file], strength.stop($("wish")).field, shown.forbid);
  $("queue").scrollIntoView();
});

$("strength").addEventListener("input", () => strength.say($("strength")));
onPhotos(inputs, take);
$("token").addEventListener("change", async () => {
  service.remember($("token").value);
  $("problem").hidden = true;
  if (await list()) {
    queue.restore();
    queue.upload();
  }
});

$("forget").addEventListener("click", () => queue.remove(shown));

function pair(prompt, pictures, known) {
  const figures = ["original", "immunized photo"].map((which, at) => {
    const image = element("img", { alt: `Edit of the ${which}`, draggable: false, src: URL.createObjectURL(pictures[at]) });
    image.addEventListener("load", () => URL.revokeObjectURL(image.src));
    return element("figure", {}, element("button", { type: "button", className: "frame" }, image), element("figcaption", { textContent: image.alt }));
  });
  const two = element("div", { className: "two" }, ...figures);
  zoomable(two);
  const warning = known ? [] : [element("p", { className: "warning", textContent: UNKNOWN })];
  return element("section", {}, element("h4", { textContent: `“${prompt}”` }), ...warning, two);
}

async function edits(prompts) {
  const [entry, buttons] = [shown, $("edit").querySelectorAll("button")];
  for (const button of buttons) button.disabled = true;
  $("problem").hidden = true;
  try {
    for (const [at, prompt] of prompts.entries()) {
      $("editing").textContent = `Editing both: “${prompt}”, ${at + 1} of ${prompts.length}`;
      const job = await service.followNow(await service.edit(entry.job, prompt), () => {});
      if (job.state !== "done") throw new Error(`The edit was not made: ${job.error?.message ?? job.state}`);
      const pictures = await Promise.all(["original", "immunized"].map((which) => service.picture(job.links[which])));
      if (shown !== entry) return;
      $("edits").append(pair(prompt, pictures, job.result.known));
    }
    $("editing").textContent = "Both edits are shown below. Press a picture to enlarge both at that place.";
  } catch (error) {
    $("editing").textContent = "";
    complain(error);
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}
$("three").addEventListener("click", () => edits(THREE));
$("edit").addEventListener("submit", (event) => {
  event.preventDefault();
  edits([$("prompt").value.trim()]);
});

function said({ certificate, ...measured }) {
  const lines = [];
  if (measured.verdict) {
    const nothing = measured.visible.linf === 0;
    lines.push(nothing ? "No change was found: this is the original, or none of its immunization is left." : `${measured.verdict}: ${MEANING[measured.verdict]}`);
    if (measured.step) lines.push(`What was done to it: ${measured.step}.`);
    const first = measured.step?.includes("resized") ? "resize the original as the platform does, then immunize that" : "immunize the original";
    if (measured.verdict !== "PASS") lines.push(`What to do next: ${first}${nothing ? "" : " more visibly"}.`);
  }
  if (certificate) {
    const { valid, reasons, lacking } = certificate;
    lines.push(valid ? "The certificate holds for this file." : `The certificate does not hold for this file: ${reasons.join("; ")}.`);
    if (lacking.length) lines.push(`It does not cover ${lacking.map(({ name, version }) => `${name} ${version}`).join(", ")}.`);
  }
  return lines.join(" ");
}

$("check").addEventListener("submit", async (event) => {
  event.preventDefault();
  const given = { photo: $("copy").files[0] };
  for (const file of $("against").files) {
    if (/\.json$/i.test(file.name)) given.certificate = await file.text();
    else given.original = file;
  }
  $("problem").hidden = true;
  $("checked").textContent = "Checking …";
  try {
    const job = await service.followNow(await service.check(given), () => {});
    if (job.state !== "done") throw new Error(`It was not checked: ${job.error?.message ?? job.state}`);
    $("checked").textContent = said(job.result);
    await service.remove(job);
  } catch (error) {
    $("checked").textContent = "";
    complain(error);
  }
});

async function list() {
  try {
    const limits = await service.get("v1/limits");
    most = limits.bytes;
    strength.offer(limits);
    strength.set($("strength"), strength.usualStop());
    $("strengths").hidden = !strength.enough();
    $("by-sight").hidden = !limits.visibilities.length;
    $("by-levels").hidden = limits.visibilities.length > 0;
    $("most").textContent = limits.usual_levels;
    $("requests").replaceChildren(...limits.requests.map((request) => element("option", { value: request })));
    const models = (await service.get("v1/models")).filter((model) => model.supported);
    $("models").replaceChildren(...models.map(({ name, version, since }) => element("li", { textContent: `${name} ${version}, since ${since}` })));
    return true;
  } catch (error) {
    complain(error);
    return false;
  }
}

await list();
if (!location.hash) sessionStorage.removeItem("shown");
await queue.begin({
  refused: complain,
  opened: open,
  done(entry) {
    const last = sessionStorage.getItem("shown"); // before a reload
    if (!awaited && (wanted || (last && last !== entry.job.id))) return;
    awaited = false;
    open(entry);
  },
  removed(entry) {
    if (entry !== shown) return;
    sessionStorage.removeItem("shown");
    $("until").textContent = "Deleted from the server. This page still has the result.";
    $("edit").hidden = true;
    $("forget").disabled = true;
  },
});
