// A button that saves a picture with its overlay, at the picture's own size.

/** The style sheet's properties of a shape that are copied into its attributes. */
const STYLES = [
  "display", "fill", "fill-opacity", "stroke", "stroke-dasharray", "stroke-linecap",
  "stroke-linejoin", "font-family", "font-weight", "text-anchor", "rx",
];
const JPEG_QUALITY = 0.92;

export function offerDrawn() {
  for (const link of document.querySelectorAll("a[data-drawn]")) {
    const figure = link.closest("figure");
    const drawing = figure.querySelector("svg.overlay");
    const picture = figure.querySelector("img");
    if (!drawing?.querySelector("g") || !picture) continue;
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "button quiet", textContent: "Save labelled" });
    button.title = "Save with what is drawn over it";
    button.addEventListener("click", () => save(picture, drawing, link.dataset.drawn));
    link.after(button);
  }
}

async function save(picture, drawing, name) {
  await picture.decode();
  const canvas = document.createElement("canvas");
  canvas.width = picture.naturalWidth;
  canvas.height = picture.naturalHeight;
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  const overlay = new Image();
  overlay.src = `data:image/svg+xml,${encodeURIComponent(alone(drawing, canvas, picture))}`;
  await overlay.decode();
  context.drawImage(overlay, 0, 0, canvas.width, canvas.height);
  const content = await new Promise((done) => canvas.toBlob(done, "image/jpeg", JPEG_QUALITY));
  const link = Object.assign(document.createElement("a"), { download: name });
  link.href = URL.createObjectURL(content);
  link.click();
  URL.revokeObjectURL(link.href);
}

/** The drawing as a document of its own, with lines as wide as they are on the screen. */
function alone(drawing, canvas, picture) {
  const copy = drawing.cloneNode(true);
  const scale = canvas.width / picture.clientWidth;
  const shapes = drawing.querySelectorAll("*");
  for (const [row, shape] of copy.querySelectorAll("*").entries()) {
    const style = getComputedStyle(shapes[row]);
    for (const name of STYLES) {
      const value = style.getPropertyValue(name);
      if (value && value !== "auto") shape.setAttribute(name, value);
    }
    shape.setAttribute("stroke-width", parseFloat(style.strokeWidth) * scale);
    if (style.strokeDasharray !== "none") {
      const dashes = style.strokeDasharray.split(/[ ,]+/).map((dash) => parseFloat(dash) * scale);
      shape.setAttribute("stroke-dasharray", dashes.join(" "));
    }
    shape.setAttribute("vector-effect", "non-scaling-stroke");
  }
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", canvas.width);
  copy.setAttribute("height", canvas.height);
  return new XMLSerializer().serializeToString(copy);
}
