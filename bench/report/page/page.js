"use strict";
// Sorting, filtering, themes and downloads of a report. Nothing is fetched; without a script all is readable.
(() => {
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const one = (id) => document.getElementById(id);
  const say = (text) => { one("said").textContent = text; };

  // Sorting: figures by value, words by letters; cells without a figure stay last, either way.
  const valueOf = (cell, isFigure) =>
    isFigure ? (cell.dataset.n === undefined ? null : Number(cell.dataset.n)) : cell.textContent.trim();

  const compare = (left, right, isFigure, direction) => {
    if (left === null || right === null) return (left === null) - (right === null);
    const order = isFigure ? left - right : left.localeCompare(right, "en", { numeric: true });
    return direction * order;
  };

  const sortBy = (header) => {
    const table = header.closest("table");
    const body = table.tBodies[0];
    const column = header.cellIndex;
    const isFigure = header.classList.contains("n");
    const was = header.getAttribute("aria-sort");
    const next = was === null ? (isFigure ? "descending" : "ascending")
      : was === "ascending" ? "descending" : "ascending";
    const direction = next === "ascending" ? 1 : -1;
    const rows = [...body.rows].map((row, place) => ({ row, place, value: valueOf(row.cells[column], isFigure) }));
    rows.sort((a, b) => compare(a.value, b.value, isFigure, direction) || a.place - b.place);
    all("th[aria-sort]", table.tHead).forEach((other) => other.removeAttribute("aria-sort"));
    header.setAttribute("aria-sort", next);
    body.append(...rows.map(({ row }) => row));
    say(`Sorted by ${header.textContent.trim()}, ${next}.`);
  };

  all("thead th").forEach((header) => {
    header.querySelector("button").addEventListener("click", () => sortBy(header));
  });

  // Filtering: a row stays where it, or the heading of its block, has all words.
  const words = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);

  const filterRows = (wanted) => {
    let shown = 0;
    let total = 0;
    all("details").forEach((block) => {
      const heading = block.querySelector("summary").textContent.toLowerCase();
      all("tbody tr", block).forEach((row) => {
        const text = `${heading} ${row.textContent.toLowerCase()}`;
        row.hidden = !wanted.every((word) => text.includes(word));
        total += 1;
        shown += row.hidden ? 0 : 1;
      });
    });
    say(wanted.length ? `${shown} of ${total} rows` : "");
  };

  let waiting;
  one("filter").addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => filterRows(words(event.target.value)), 120);
  });

  // Themes: the system's until the button is pressed.
  const root = document.documentElement;
  const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (systemIsDark.matches ? "dark" : "light")) === "dark";
  const showTheme = () => {
    one("theme").textContent = isDark() ? "Light" : "Dark";
    one("theme").setAttribute("aria-pressed", String(isDark()));
  };
  one("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    showTheme();
  });
  systemIsDark.addEventListener("change", showTheme);
  showTheme();

  // Blocks: all at once, and all of them on paper.
  const blocks = all("details");
  let before = [];
  one("unfold").addEventListener("click", (event) => {
    const open = event.target.getAttribute("aria-pressed") !== "true";
    blocks.forEach((block) => { block.open = open; });
    event.target.setAttribute("aria-pressed", String(open));
    event.target.textContent = open ? "Close all" : "Open all";
  });
  addEventListener("beforeprint", () => {
    before = blocks.map((block) => block.open);
    blocks.forEach((block) => { block.open = true; });
  });
  addEventListener("afterprint", () => {
    blocks.forEach((block, place) => { block.open = before[place]; });
  });
  const openTarget = () => {
    const target = location.hash.length > 1 ? one(decodeURIComponent(location.hash.slice(1))) : null;
    target?.querySelector("details")?.setAttribute("open", "");
  };
  addEventListener("hashchange", openTarget);
  openTarget();

  // Downloads: the files lie in the page.
  const files = JSON.parse(one("downloads").textContent);
  const types = { csv: "text/csv", json: "application/json", tex: "application/x-tex" };
  all("button[data-form]").forEach((button) => {
    const { key, form } = button.dataset;
    button.addEventListener("click", () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([files[key][form]], { type: `${types[form]};charset=utf-8` }));
      link.download = `${key}.${form}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
      say(`${link.download} is downloaded.`);
    });
  });
})();
