// Requests to the service. A token is kept in this tab only.

const PASSING = [0, 429, 502, 503, 504]; // no answer, or one of a proxy while the service starts again
const FOLLOWED = 3; // jobs at the same time: a browser opens six connections to one server
let token = sessionStorage.getItem("token") ?? "";
let free = FOLLOWED;
const waiting = [];

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export function remember(value) {
  token = value.trim();
  sessionStorage.setItem("token", token);
}

// Addresses of our own are relative to the page, which a proxy may have under a path.
async function ask(url, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  let answer;
  try {
    answer = await fetch(url, { ...options, headers });
  } catch {
    throw new Problem(0, "The service cannot be reached.");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Problem(answer.status, said.detail ?? `The service answered ${answer.status}.`);
}

async function post(url, fields, headers = {}) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value instanceof Blob) form.append(name, value, name); // the file's name is not sent
    else form.append(name, value);
  }
  return (await ask(url, { method: "POST", body: form, headers })).json();
}

// The strength is a field of the API and its value; the default is used without it.
export function immunize(photo, strength, forbid) {
  const key = crypto.randomUUID?.() ?? String(Math.random()) + Date.now();
  return post("v1/immunizations", { ...strength, forbid_ai: forbid, photo }, { "Idempotency-Key": key });
}

export const edit = (job, prompt) => post(job.links.edits, { prompt });
export const check = (fields) => post("v1/checks", fields);
export const remove = (job) => ask(job.links.self, { method: "DELETE" });
export const picture = async (url) => (await ask(url)).blob();
export const get = async (url) => (await ask(url)).json();
export const over = (job) => !["queued", "running"].includes(job.state);
export const job = (id) => get(`v1/immunizations/${id}`);

// Calls back at each change and returns the ended job, once it is among the few that are followed.
export async function follow(followed, changed) {
  if (free > 0) free -= 1;
  else await new Promise((resolve) => waiting.push(resolve));
  try {
    return await followNow(followed, changed);
  } finally {
    const next = waiting.shift();
    if (next) next();
    else free += 1;
  }
}

// EventSource cannot send a token.
export async function followNow(followed, changed) {
  for (let tries = 0; ; tries += 1) {
    try {
      const reader = (await ask(followed.links.events)).body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        text += value;
        const events = text.split("\n\n");
        text = events.pop();
        for (const event of events) {
          const data = event.split("\n").find((line) => line.startsWith("data: "));
          if (!data) continue;
          const state = JSON.parse(data.slice(6));
          tries = 0;
          changed(state);
          if (over(state)) return state;
        }
      }
      throw new Problem(0, "The connection to the service was lost.");
    } catch (error) {
      // The service may have been restarted; the job goes on.
      const gone = error instanceof Problem && !PASSING.includes(error.status);
      if (gone || tries >= 10) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * (tries + 1)));
    }
  }
}
