// The form of filters: times in the reader's zone, a short address, more rows for metadata.
import { inFields, momentOf } from "./times.js";

/** Shows times in the reader's zone; in the address they stay in UTC. */
export function localiseFilters() {
  const panel = document.querySelector("[data-filters]");
  if (!panel) return;
  const form = panel.querySelector("form");
  const shown = {};
  for (const input of form.querySelectorAll("[data-utc]")) {
    if (input.dataset.utc) input.value = inFields(new Date(input.dataset.utc)).slice(0, 16);
    shown[input.name] = input.value;
  }
  form.addEventListener("formdata", ({ formData }) => {
    for (const name of ["start", "end"]) {
      const value = formData.get(name);
      const was = formData.get(`${name}_was`);
      formData.delete(`${name}_was`);
      // The field shows only minutes; a time that was not changed keeps its precision.
      if (value) formData.set(name, was && value === shown[name] ? was : momentOf(value).toISOString());
    }
    const hasTimes = formData.get("start") || formData.get("end");
    if (hasTimes) formData.delete("range");
    for (const [name, value] of [...formData.entries()]) {
      if (value === "" && !name.startsWith("meta_")) formData.delete(name);
    }
    for (const name of ["device", "stream", "workflow", "external", "images"]) {
      if (!formData.has(name) || formData.get(`${name}_is`) === "eq") formData.delete(`${name}_is`);
    }
    if (formData.getAll("meta_key").every((key) => key === "")) {
      for (const name of ["meta_key", "meta_is", "meta_value"]) formData.delete(name);
    }
  });
  form.addEventListener("change", ({ target: field }) => {
    // A phone's keyboard ends words with a space, but a known value may end with one.
    const known = [...(field.list?.options ?? [])].map((option) => option.value);
    if (field.list && !known.includes(field.value)) field.value = field.value.trim();
  });
  growRows(form.querySelector("[data-rows]"));
}

/** A chip opens the field that it stands for. */
export function editChips() {
  for (const link of document.querySelectorAll("[data-edit]")) {
    link.addEventListener("click", (event) => {
      const field = document.getElementById(decodeURIComponent(link.hash.slice(1)));
      if (!field) return;
      event.preventDefault();
      field.closest("details")?.setAttribute("open", "");
      field.focus();
    });
  }
}

/** Shows the time at which the grid begins in the reader's zone; the address stays in UTC. */
export function localiseGoTo() {
  const form = document.querySelector("[data-goto]");
  if (!form) return;
  const input = form.querySelector("[data-utc]");
  if (input.dataset.utc) input.value = inFields(new Date(input.dataset.utc)).slice(0, 16);
  form.addEventListener("formdata", ({ formData }) => {
    formData.set("at", momentOf(formData.get("at")).toISOString());
  });
}

/** Adds an empty row when the last one gets a key. */
function growRows(rows) {
  rows.addEventListener("input", () => {
    const all = rows.querySelectorAll("[data-row]");
    const last = all[all.length - 1];
    if (!last.querySelector("input").value) return;
    const row = last.cloneNode(true);
    for (const input of row.querySelectorAll("input")) input.value = "";
    last.after(row);
  });
}
