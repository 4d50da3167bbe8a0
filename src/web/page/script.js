"use strict";

// The function keeps the token out of the global scope, where extensions and consoles look first.
(() => {
  // A request that hangs would leave a person before a page that never changes.
  const PATIENCE_MS = 20000;

  const TOKEN = /[A-Za-z0-9-]{1,32}\.[0-9a-f]{64}/;
  // As many encodings as a mail program and a tracker may have added.
  const DECODINGS = 3;

  const AFTER_INSPECT = new Map([
    ["pending", "pending"],
    ["confirmed", "already"],
    ["expired", "expired"],
    ["superseded", "superseded"],
    ["unknown", "unknown"],
  ]);
  const AFTER_PRESS = new Map([
    ["confirmed", "confirmed"],
    ["expired", "expired"],
    ["superseded", "superseded"],
    ["unknown", "unknown"],
  ]);

  const root = document.documentElement;
  const sections = Array.from(document.querySelectorAll("section[data-state]"));
  const announcement = document.getElementById("announcement");
  const confirmButton = document.getElementById("confirm");
  const retryButton = document.getElementById("retry");

  let token = "";
  // Counts the links and attempts, so that a late answer to an earlier one is not taken for the present one's.
  let round = 0;
  let pressing = false;
  let firstAnswerShown = false;

  // The browser may know the region as well ("en-GB"), which decides how a date is written.
  const locale =
    navigator.languages.find((tag) => tag.toLowerCase().split("-")[0] === root.lang) || root.lang;
  // Browsers that hide the reader's zone report UTC. The provider's zone is then the better guess.
  const { timeZone: ownZone } = new Intl.DateTimeFormat().resolvedOptions();
  const isHidden = !ownZone || /^(Etc\/)?(UTC|UCT|GMT)$/.test(ownZone);
  const dateFormat = dateFormatIn(isHidden ? root.dataset.timeZone : ownZone);

  function dateFormatIn(timeZone) {
    const options = {
      timeZone,
      weekday: "long",
      year: "numeric",
      month: "long",
      day: "numeric",
      hour: "numeric",
      minute: "2-digit",
      timeZoneName: "short",
    };
    try {
      return new Intl.DateTimeFormat(locale, options);
    } catch (error) {
      // A browser may be older than the name of a zone.
      return new Intl.DateTimeFormat(locale, { ...options, timeZone: undefined });
    }
  }

  function fill(facts) {
    for (const element of document.querySelectorAll("[data-fact]")) {
      const value = facts[element.dataset.fact];
      let shown = typeof value === "string" ? value : "";
      if (element instanceof HTMLTimeElement) {
        const time = new Date(shown);
        const valid = shown !== "" && !Number.isNaN(time.getTime());
        element.dateTime = valid ? time.toISOString() : "";
        shown = valid ? dateFormat.format(time) : "";
      }
      element.textContent = shown;
      // A label with nothing behind it would only puzzle.
      element.closest("div").hidden = shown === "";
    }
  }

  function setPressing(value) {
    pressing = value;
    // Not the disabled attribute: it would throw the focus off the button.
    confirmButton.setAttribute("aria-disabled", String(value));
    confirmButton.querySelector("[data-idle]").hidden = value;
    confirmButton.querySelector("[data-busy]").hidden = !value;
    announcement.textContent = value ? confirmButton.querySelector("[data-busy]").textContent : "";
  }

  function show(name, facts) {
    setPressing(false);
    fill(facts || {});
    let current;
    for (const section of sections) {
      section.hidden = section.dataset.state !== name;
      if (!section.hidden) {
        current = section;
      }
    }
    const heading = current.querySelector("h1");
    document.title = current.dataset.title;
    if (firstAnswerShown) {
      heading.focus();
    } else if (name !== "loading") {
      // Taking the focus of a page just opened would cut off a screen reader that is reading it out.
      announcement.textContent = heading.textContent;
      firstAnswerShown = true;
    }
    // Last, so that whoever waits for it finds everything else in place.
    root.dataset.state = name;
  }

  async function post(path, sentToken) {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), PATIENCE_MS);
    try {
      const response = await fetch(path, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        // In the body, because URLs end up in access logs.
        body: JSON.stringify({ token: sentToken }),
        cache: "no-store",
        credentials: "omit",
        referrerPolicy: "no-referrer",
        // A redirect could carry the token to another place.
        redirect: "error",
        signal: abort.signal,
      });
      return response.status === 200 ? await response.json() : null;
    } catch (error) {
      return null;
    } finally {
      clearTimeout(timer);
    }
  }

  // Mail programs, trackers and people add punctuation, blanks, line breaks, parameters and encodings to a link.
  function tokenIn(fragment) {
    let text = fragment;
    for (let round = 0; round < DECODINGS; round += 1) {
      text = text.replace(/%([0-9a-f]{2})/gi, (_, digits) => String.fromCharCode(parseInt(digits, 16)));
    }
    const found = TOKEN.exec(text) || TOKEN.exec(text.replace(/[^\x21-\x7e]+/g, ""));
    return found ? found[0] : "";
  }

  async function inspect() {
    round += 1;
    const mine = round;
    token = tokenIn(location.hash);
    if (token === "") {
      show("unknown");
      return;
    }
    show("loading");
    const answer = await post("confirm/inspect", token);
    if (mine === round) {
      show(AFTER_INSPECT.get(answer?.state) || "unavailable", answer);
    }
  }

  async function press() {
    const mine = round;
    setPressing(true);
    const answer = await post("confirm/press", token);
    if (mine !== round) {
      return;
    }
    const name = AFTER_PRESS.get(answer?.state) || "unavailable";
    show(name === "confirmed" && answer.already_confirmed === true ? "already" : name, answer);
  }

  confirmButton.addEventListener("click", (event) => {
    // Mail scanners open links and click by script; only a person's own press may confirm.
    if (event.isTrusted && !pressing && root.dataset.state === "pending") {
      press();
    }
  });

  // Looks again rather than pressing again: a press whose answer got lost may have confirmed already, and whether to
  // press once more is the person's decision.
  retryButton.addEventListener("click", inspect);

  window.addEventListener("hashchange", inspect);
  inspect();
})();
