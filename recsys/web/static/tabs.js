// Links that choose a panel become tabs: arrows move between them, and nothing is loaded again.

export function upgradeTabs() {
  for (const bar of document.querySelectorAll(".tabs")) {
    const tabs = [...bar.querySelectorAll("[data-panel]")];
    bar.setAttribute("role", "tablist");
    for (const tab of tabs) {
      const panel = document.getElementById(tab.dataset.panel);
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", panel.id);
      panel.setAttribute("role", "tabpanel");
      panel.tabIndex = -1;
      tab.addEventListener("click", (event) => {
        event.preventDefault();
        choose(tabs, tab);
      });
    }
    bar.addEventListener("keydown", (event) => {
      const next = neighbour(tabs, tabs.indexOf(event.target), event.key);
      if (!next) return;
      event.preventDefault();
      choose(tabs, next);
      next.focus();
    });
    const current = tabs.find((tab) => tab.hasAttribute("aria-current"));
    for (const tab of tabs) tab.removeAttribute("aria-current");
    mark(tabs, current);
  }
}

function neighbour(tabs, at, key) {
  if (at < 0) return undefined;
  const moves = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 };
  return key in moves ? tabs.at(moves[key] % tabs.length) : undefined;
}

function choose(tabs, chosen) {
  mark(tabs, chosen);
  history.replaceState(null, "", chosen.getAttribute("href").split("#")[0]);
}

function mark(tabs, chosen) {
  for (const tab of tabs) {
    tab.setAttribute("aria-selected", String(tab === chosen));
    tab.tabIndex = tab === chosen ? 0 : -1;
    document.getElementById(tab.dataset.panel).hidden = tab !== chosen;
  }
}
