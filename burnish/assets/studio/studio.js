// What the pages need in the browser itself: dropping files, copying, and leaving fields as they are typed.
"use strict";

// Light or dark, if it is not to be as the system has it: the rules for dark are made to hold always, or never.
const darkRules = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules])
  .filter((rule) => rule instanceof CSSMediaRule && rule.media.mediaText.includes("prefers-color-scheme"));
const darkMedia = darkRules.map((rule) => rule.media.mediaText);

function showScheme(scheme) {
  darkRules.forEach((rule, place) => {
    rule.media.mediaText = { light: "not all", dark: "all" }[scheme] ?? darkMedia[place];
  });
  document.documentElement.style.colorScheme = scheme === "system" ? "" : scheme;
}

showScheme(/(?:^|; )burnish_scheme=(light|dark)/.exec(document.cookie)?.[1] ?? "system");
document.addEventListener("change", (event) => {
  if (!event.target.matches?.("select[data-scheme]")) return;
  showScheme(event.target.value);
  document.cookie = `burnish_scheme=${event.target.value}; path=/; max-age=31536000; samesite=strict`;
});

function uploadRows(zone, files) {
  const status = zone.querySelector("[role=status]");
  if (files.length === 0) return;
  const file = files[0];
  const most = Number(zone.dataset.most);
  if (file.size > most) {
    status.textContent = `${file.name} has ${file.size.toLocaleString()} bytes; at most ${most.toLocaleString()} are taken.`;
    return;
  }
  const request = new XMLHttpRequest();
  request.open("POST", `/upload?name=${encodeURIComponent(file.name)}`);
  request.setRequestHeader("content-type", "application/octet-stream");
  request.upload.onprogress = (event) => {
    if (event.lengthComputable) {
      const share = Math.round((100 * event.loaded) / event.total);
      status.textContent = `Sending ${file.name}: ${share} %`;
      zone.style.setProperty("--share", `${share}%`);
    }
  };
  request.onload = () => {
    let found = {};
    try { found = JSON.parse(request.responseText); } catch { found = { error: request.responseText }; }
    if (request.status === 200) window.location.assign(found.page);
    else status.textContent = found.error || "The file was not taken.";
  };
  request.onerror = () => { status.textContent = "The studio does not answer. Is it still running?"; };
  zone.classList.add("sending");
  status.textContent = `Sending ${file.name}`;
  request.send(file);
}

document.addEventListener("dragover", (event) => {
  const zone = event.target.closest?.(".dropzone");
  if (zone) { event.preventDefault(); zone.classList.add("over"); }
});
document.addEventListener("dragleave", (event) => event.target.closest?.(".dropzone")?.classList.remove("over"));
document.addEventListener("drop", (event) => {
  const zone = event.target.closest?.(".dropzone");
  if (zone) { event.preventDefault(); zone.classList.remove("over"); uploadRows(zone, event.dataTransfer.files); }
});
document.addEventListener("change", (event) => {
  const zone = event.target.closest?.(".dropzone");
  if (zone && event.target.type === "file") uploadRows(zone, event.target.files);
});
document.addEventListener("click", async (event) => {
  const copying = event.target.closest?.("[data-copy]");
  if (!copying) return;
  const text = copying.parentElement.querySelector("code, pre, textarea");
  try {
    await navigator.clipboard.writeText(text.value ?? text.textContent);
    copying.textContent = "Copied";
  } catch {
    window.getSelection().selectAllChildren(text);
    copying.textContent = "Selected: press Ctrl+C";
  }
});
// Enter sends a message, Shift+Enter breaks the line
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && event.target.matches?.("textarea[data-sends]")) {
    event.preventDefault();
    event.target.dispatchEvent(new Event("change", { bubbles: true }));
    document.querySelector(event.target.dataset.sends)?.click();
  }
});

// A picture is made small enough for a message before it is sent.
document.addEventListener("change", async (event) => {
  const field = event.target;
  if (!field.matches?.("input[data-picture]") || !field.files.length) return;
  let made = "";
  try {
    const picture = await createImageBitmap(field.files[0]);
    const scale = Math.min(1, 1024 / Math.max(picture.width, picture.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(picture.width * scale));
    canvas.height = Math.max(1, Math.round(picture.height * scale));
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    made = canvas.toDataURL("image/jpeg", 0.9);
  } catch { /* the page says that it is not a picture */ }
  field.dispatchEvent(new CustomEvent("picture", { detail: made }));
});
