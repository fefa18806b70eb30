const STORED = "rerankd.theme";

/** Wire the switch: light, dark, or as the system has it. */
export function begin() {
  const chosen = document.documentElement.dataset.theme ?? "";
  for (const radio of document.querySelectorAll('input[name="theme"]')) {
    radio.checked = radio.value === chosen;
    radio.addEventListener("change", () => choose(radio.value));
  }
}

function choose(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  try {
    if (theme) localStorage.setItem(STORED, theme);
    else localStorage.removeItem(STORED);
  } catch {
    // Without storage the choice lasts as long as the page.
  }
}
