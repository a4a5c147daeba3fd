// Icons from the sprite next to this file.

const SVG = "http://www.w3.org/2000/svg";

/** An icon from the sprite. */
export function icon(name) {
  const sprite = new URL("./icons.svg", import.meta.url).pathname;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${sprite}#${name}`);
  svg.append(use);
  return svg;
}
