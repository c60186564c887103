// A field that leaves in a list what holds all of its words. Without it the list is whole.

for (const filter of document.querySelectorAll("[data-filter]")) {
  const list = document.querySelector(filter.dataset.filter);
  const input = filter.querySelector("input[type=search]");
  const only = filter.querySelector("input[type=checkbox]");
  const status = filter.querySelector("[role=status]");
  const entries = [...list.querySelectorAll(filter.dataset.entries ?? "li.rule")];
  const texts = entries.map((entry) => entry.textContent.toLowerCase());

  function sift() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const all = !words.length && !only?.checked;
    let left = 0;
    entries.forEach((entry, n) => {
      const fits = words.every((word) => texts[n].includes(word)) && !(only?.checked && !("changed" in entry.dataset));
      entry.hidden = !fits;
      left += fits;
    });
    for (const group of list.querySelectorAll("[data-group]")) {
      group.hidden = !group.querySelector(`${filter.dataset.entries ?? "li.rule"}:not([hidden])`);
      for (const details of group.querySelectorAll("details")) details.open = !all;
    }
    status.textContent = all ? "" : `${left.toLocaleString("en")} of ${entries.length.toLocaleString("en")}`;
  }

  input.addEventListener("input", sift);
  only?.addEventListener("change", sift);
  if (input.value || only?.checked) sift(); // what a browser remembers of the form
}
