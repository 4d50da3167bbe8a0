// Comfort only: every page works without this file.
"use strict";

// Times in the reader's zone. The server writes them in Europe/Berlin and says so.
for (const element of document.querySelectorAll("time[datetime]")) {
  const format = new Intl.DateTimeFormat(document.documentElement.lang === "de" ? "de-DE" : "en-GB", {
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    timeZoneName: "short",
  });
  element.textContent = format.format(new Date(element.dateTime));
}

// Browsers ignore `autofocus` while an earlier focus or a fragment exists.
document.querySelector("[autofocus]")?.focus();

// A second click sends nothing again; the request_id of the form would make it harmless anyway.
document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) {
    event.preventDefault();
  }
  event.target.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => {
  for (const form of document.forms) {
    delete form.dataset.sent;
  }
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[aria-disabled=true]")) {
    event.preventDefault();
  }
});

const form = document.getElementById("contact-form");
if (form) {
  chooseWhileTyping("newEmail", "emailEdit");
  chooseWhileTyping("newPassword", "passwordEdit");
  addPhoneNumbers();
  previewWhileTyping();
}

/** Selects "enter a new one" as soon as there is a text. */
function chooseWhileTyping(input, radios) {
  form.elements[input]?.addEventListener("input", (event) => {
    const choice = form.querySelector(`input[name=${radios}][value=${event.target.value ? "set" : "keep"}]`);
    if (choice) {
      choice.checked = true;
    }
  });
}

/** Adds a line for a phone number without a request. */
function addPhoneNumbers() {
  const button = document.getElementById("add-phone");
  const lines = document.getElementById("phone-lines");
  button.addEventListener("click", (event) => {
    event.preventDefault();
    const count = lines.children.length;
    const line = lines.lastElementChild.cloneNode(true);
    line.classList.remove("invalid");
    line.querySelector(".error")?.remove();
    const input = line.querySelector("input");
    input.id = `phoneNumbers-${count}`;
    input.value = "";
    input.removeAttribute("aria-invalid");
    input.setAttribute("aria-describedby", "phoneNumbers-hint");
    const label = line.querySelector("label");
    label.htmlFor = input.id;
    label.textContent = label.textContent.replace(/\d+$/, String(count + 1));
    lines.append(line);
    button.hidden = count + 1 >= 10;
    input.focus();
  });
}

/** Shows what a save would change for recipients, some time after the last change of the form. */
function previewWhileTyping() {
  const preview = document.getElementById("preview");
  let timer;
  let running;
  form.addEventListener("change", () => {
    clearTimeout(timer);
    timer = setTimeout(update, 500);
  });
  async function update() {
    running?.abort();
    running = new AbortController();
    const body = new URLSearchParams(new FormData(form));
    body.set("action", "check");
    try {
      // Not form.action, which is the buttons of that name.
      const response = await fetch(form.getAttribute("action"), {
        method: "POST",
        headers: { "x-portal-fragment": "preview" },
        body,
        signal: running.signal,
        redirect: "error",
      });
      if (response.ok) {
        // The portal's own HTML, escaped by its templates.
        preview.innerHTML = await response.text();
      }
    } catch {
      // A newer change aborted it, or the service is unreachable: saving will tell.
    }
  }
}
