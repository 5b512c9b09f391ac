// Elements of the page.

export const $ = (id) => document.getElementById(id);

export function element(tag, options, ...inside) {
  const made = Object.assign(document.createElement(tag), options);
  made.append(...inside);
  return made;
}

// Lets a link download what a blob holds, instead of what it held before.
export function offer(link, blob, name) {
  if (link.href) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(blob);
  link.download = name;
}

// Marks the entry of the list that is shown.
export function mark(pick) {
  for (const item of $("list").children) item.firstChild.removeAttribute("aria-current");
  pick.setAttribute("aria-current", "true");
}

// Calls back with how far an arrow key moves: -1, 0 or 1 across and down.
export function onArrows(held, move) {
  held.addEventListener("keydown", (event) => {
    const { x = 0, y = 0 } = { ArrowLeft: { x: -1 }, ArrowRight: { x: 1 }, ArrowUp: { y: -1 }, ArrowDown: { y: 1 } }[event.key] ?? {};
    if ((x || y) && move(x, y) !== false) event.preventDefault();
  });
}

// Calls back with the files that are chosen in one of the inputs, dropped anywhere, or pasted.
export function onPhotos(inputs, take) {
  for (const input of inputs) input.addEventListener("change", () => take([...input.files]));
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      // Text is dropped, too, and fields take what is dropped on them.
      const field = event.target.closest?.("input, textarea");
      if (!event.dataTransfer.types.includes("Files") || (field && !inputs.includes(field))) return;
      event.preventDefault();
      $("drop").classList.toggle("over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop") take([...event.dataTransfer.files]);
    });
  }
  document.addEventListener("paste", ({ clipboardData: { files } }) => files.length && take([...files]));
}
