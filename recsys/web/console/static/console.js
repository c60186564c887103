// What every page of the console does. All of them are whole without it, but for plots and the map.

// The menu of a phone is one line: what is chosen comes into sight.
document.querySelector(".menu [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// A form with `data-ask` asks before it does what cannot be undone at once.
document.addEventListener("submit", (event) => {
  const { ask } = event.target.dataset;
  if (ask && !window.confirm(ask)) event.preventDefault();
});
