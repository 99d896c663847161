"use strict";
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const root = document.documentElement;

  // Tables: every head sorts; the number of a cell is its text, unless data-sort says otherwise. Absences come last.
  const key = (cell) => {
    const text = (cell.dataset.sort ?? cell.textContent).replaceAll("−", "-").trim();
    const number = Number.parseFloat(text.replace(/^< /, "").replace(/(\d),(?=\d{3})/g, "$1"));
    return Number.isNaN(number) ? text : number;
  };
  const compare = (a, b, turn) => {
    if (typeof a === "number" && typeof b === "number") return turn * (a - b);
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    if (a === "." || b === ".") return (a === ".") - (b === ".");
    return turn * a.localeCompare(b);
  };
  for (const head of all("thead th")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const place = head.cellIndex;
      const body = head.closest("table").tBodies[0];
      const turn = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      all("th", head.parentElement).forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", turn === 1 ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [key(row.cells[place]), row]);
      rows.sort((a, b) => compare(a[0], b[0], turn));
      body.append(...rows.map(([, row]) => row));
    });
  }

  // One cell or one language of interest: rows of others go, marks of others fade.
  const wanted = { cell: document.getElementById("cell"), language: document.getElementById("language") };
  const show = () => {
    for (const row of all("tbody tr")) {
      row.hidden = Object.entries(wanted).some(
        ([name, select]) => select.value && row.dataset[name] && row.dataset[name] !== select.value);
    }
    for (const mark of all(".mark")) {
      mark.classList.toggle("dim", Object.entries(wanted).some(
        ([name, select]) => select.value && mark.dataset[name] && mark.dataset[name] !== select.value));
    }
    const said = Object.entries(wanted).filter(([, select]) => select.value).map(([name, select]) => `${name} ${select.value}`);
    document.getElementById("shown").textContent = said.length ? `showing ${said.join(", ")}` : "showing everything";
  };
  Object.values(wanted).forEach((select) => select.addEventListener("change", show));

  // Marks of a figure: what they stand for, under the pointer or by the arrow keys.
  const tip = document.getElementById("tip");
  const say = (mark) => {
    const box = mark.getBoundingClientRect();
    tip.textContent = mark.dataset.text;
    tip.hidden = false;
    const left = Math.min(Math.max(4, box.left + box.width / 2 - tip.offsetWidth / 2), innerWidth - tip.offsetWidth - 4);
    const above = box.top - tip.offsetHeight - 6;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 0 ? above : box.bottom + 6}px`;
    if (mark.dataset.cell) {
      for (const other of all(".mark")) other.classList.toggle("same", other !== mark && other.dataset.cell === mark.dataset.cell
        && (!mark.dataset.language || other.dataset.language === mark.dataset.language));
    }
  };
  const hush = () => {
    tip.hidden = true;
    all(".same").forEach((mark) => mark.classList.remove("same"));
  };
  for (const figure of all("figure")) {
    const marks = all(".mark", figure);
    if (!marks.length) continue;
    marks[0].setAttribute("tabindex", "0");
    marks.forEach((mark, place) => {
      all("title", mark).forEach((title) => title.remove());
      mark.setAttribute("role", "img");
      mark.setAttribute("aria-label", mark.dataset.text);
      mark.addEventListener("pointerenter", () => say(mark));
      mark.addEventListener("pointerleave", hush);
      mark.addEventListener("focus", () => say(mark));
      mark.addEventListener("blur", hush);
      mark.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (event.key === "Escape") hush();
        if (!step) return;
        event.preventDefault();
        const next = marks[(place + step + marks.length) % marks.length];
        mark.setAttribute("tabindex", "-1");
        next.setAttribute("tabindex", "0");
        next.focus();
      });
    });
  }
  addEventListener("scroll", hush, { passive: true });

  const theme = document.getElementById("theme");
  theme.addEventListener("change", () => {
    if (theme.value) root.dataset.theme = theme.value;
    else delete root.dataset.theme;
  });
  for (const button of all("button.copy")) {
    button.addEventListener("click", async () => {
      const text = document.getElementById(button.dataset.copies).textContent;
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "copied";
      } catch {
        button.textContent = "select the text below";
      }
    });
  }
  root.dataset.ready = "yes";
})();
