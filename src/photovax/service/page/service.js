// Requests to the service. A token is kept in this tab only.

let token = sessionStorage.getItem("token") ?? "";

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

async function ask(url, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  let answer;
  try {
    answer = await fetch(url, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The service cannot be reached.");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Problem(answer.status, said.detail ?? `The service answered ${answer.status}.`);
}

// The strength is a field of the API and its value; the default is used without it.
export async function immunize(photo, strength, forbid) {
  const form = new FormData();
  for (const [field, value] of Object.entries(strength)) form.append(field, value);
  form.append("forbid_ai", forbid);
  form.append("photo", photo, "photo"); // the file name is not sent
  const headers = { "Idempotency-Key": crypto.randomUUID?.() ?? String(Math.random()) + Date.now() };
  return (await ask("/v1/immunizations", { method: "POST", body: form, headers })).json();
}

export async function edit(job, prompt) {
  const form = new FormData();
  form.append("prompt", prompt);
  return (await ask(job.links.edits, { method: "POST", body: form })).json();
}

export async function remove(job) {
  await ask(job.links.self, { method: "DELETE" });
}

export async function picture(url) {
  return (await ask(url)).blob();
}

export async function models() {
  return (await ask("/v1/models")).json();
}

export async function limits() {
  return (await ask("/v1/limits")).json();
}

// Calls back at each change and returns the ended job. EventSource cannot send a token.
export async function follow(job, changed) {
  for (let tries = 0; ; tries += 1) {
    try {
      const reader = (await ask(job.links.events)).body.pipeThrough(new TextDecoderStream()).getReader();
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
          job = JSON.parse(data.slice(6));
          tries = 0;
          changed(job);
          if (!["queued", "running"].includes(job.state)) return job;
        }
      }
      throw new Problem(0, "The connection to the service was lost.");
    } catch (error) {
      // The service may have been restarted; the job goes on.
      const gone = error instanceof Problem && error.status > 0;
      if (gone || tries >= 10) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}
