// Before anything is drawn: a theme chosen on an earlier visit.
try {
  const chosen = localStorage.getItem("rerankd.theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch {
  // Storage may be forbidden; the system's theme is right then.
}
