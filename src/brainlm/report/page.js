"use strict";
// Figures are saved as they stand on the page: their charts, titles and keys in one SVG, or a PNG of it. Nothing is
// loaded; the charts are in the page already.

const SVG = "http://www.w3.org/2000/svg";
const PIXELS = 2; // of a PNG, for each of the page
const MARGIN = 16;

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// A chart in the page's SVG: drawings stay drawings, with names of their own.
function chart(image, box, number) {
  const place = { x: box.x, y: box.y, width: box.width, height: box.height };
  const [head, data] = image.src.split(",", 2);
  if (!head.startsWith("data:image/svg+xml;base64")) return element("image", { ...place, href: image.src });
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const text = new TextDecoder().decode(bytes).replace(/(\bid="|href="#|url\(#)/g, `$1c${number}-`);
  const drawing = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  for (const [key, value] of Object.entries(place)) drawing.setAttribute(key, value);
  return document.importNode(drawing, true);
}

// The lines of a text as the browser has broken them.
function lines(node) {
  const found = [];
  const range = document.createRange();
  for (const word of node.textContent.matchAll(/\S+\s*/g)) {
    range.setStart(node, word.index);
    range.setEnd(node, word.index + word[0].trimEnd().length);
    const box = range.getBoundingClientRect();
    const last = found[found.length - 1];
    if (last && Math.abs(last.box.top - box.top) < 2) last.text += word[0];
    else found.push({ text: word[0], box });
  }
  return found.filter((line) => line.box.width > 0);
}

function composed(figure) {
  const frame = figure.getBoundingClientRect();
  const height = figure.querySelector("figcaption").getBoundingClientRect().bottom - frame.top + 2 * MARGIN;
  const width = frame.width + 2 * MARGIN;
  const within = (box) => ({ x: box.left - frame.left, y: box.top - frame.top, width: box.width, height: box.height });
  const page = element("svg", { width, height, viewBox: `${-MARGIN} ${-MARGIN} ${width} ${height}` });
  page.append(element("rect", { x: -MARGIN, y: -MARGIN, width, height, fill: "#fff" }));
  let number = 0;
  for (const image of figure.querySelectorAll("img")) page.append(chart(image, within(image.getBoundingClientRect()), number++));
  for (const mark of figure.querySelectorAll(".key svg")) {
    const box = within(mark.getBoundingClientRect());
    const copy = mark.cloneNode(true);
    for (const [key, value] of Object.entries(box)) copy.setAttribute(key, value);
    page.append(copy);
  }
  const texts = document.createTreeWalker(figure, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    if (texts.currentNode.parentElement.closest(".save, .key svg")) continue;
    const look = getComputedStyle(texts.currentNode.parentElement);
    for (const line of lines(texts.currentNode)) {
      const box = within(line.box);
      const text = element("text", {
        x: box.x, y: box.y + box.height * 0.78, fill: look.color, "font-size": look.fontSize,
        "font-weight": look.fontWeight, "font-family": "system-ui, Helvetica, Arial, sans-serif",
      });
      text.textContent = line.text.trimEnd();
      page.append(text);
    }
  }
  return page;
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

async function save(figure, kind) {
  const name = `${figure.dataset.file}.${kind}`;
  const page = composed(figure);
  const text = new XMLSerializer().serializeToString(page);
  if (kind === "svg") return download(new Blob([text], { type: "image/svg+xml" }), name);
  const image = new Image();
  image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(text);
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(page.getAttribute("width") * PIXELS);
  canvas.height = Math.round(page.getAttribute("height") * PIXELS);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  canvas.toBlob((blob) => download(blob, name), "image/png");
}

for (const figure of document.querySelectorAll("figure[data-file]")) {
  const buttons = figure.querySelector(".save");
  buttons.hidden = false;
  for (const button of buttons.querySelectorAll("button"))
    button.addEventListener("click", () => save(figure, button.dataset.kind));
}

// A table that is wider than its place says so, and which side has more.
const tables = document.querySelectorAll(".scroll");
function mark(table) {
  const more = table.scrollWidth - table.clientWidth;
  table.classList.toggle("wide", more > 1);
  table.classList.toggle("left", table.scrollLeft > 1);
  table.classList.toggle("right", table.scrollLeft < more - 1);
}
const sizes = new ResizeObserver((entries) => entries.forEach((entry) => mark(entry.target)));
for (const table of tables) {
  sizes.observe(table);
  table.addEventListener("scroll", () => mark(table), { passive: true });
}

// The contents: the section that is read is marked; a choice, Escape or a click elsewhere closes the menu.
const contents = document.querySelector("details.contents");
const links = new Map([...contents.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
const here = contents.querySelector(".here");
function locate() {
  let current = null;
  for (const section of document.querySelectorAll("main section[id]"))
    if (section.getBoundingClientRect().top < 140) current = section.id;
  for (const [name, link] of links)
    if (name === current) link.setAttribute("aria-current", "location");
    else link.removeAttribute("aria-current");
  here.textContent = links.has(current) ? links.get(current).textContent : "";
}
addEventListener("scroll", locate, { passive: true });
locate();
document.addEventListener("click", (event) => {
  if (!contents.contains(event.target) || event.target.closest("a")) contents.open = false;
});
contents.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  contents.open = false;
  contents.querySelector("summary").focus();
});
