// The frame of every page: header, navigation, messages, footer.

import { attribute, html, type Html } from "./html.ts";
import { LANGUAGES, type Language } from "./language.ts";
import { link, type Visit } from "./screen.ts";
import type { Flash } from "./sessions.ts";

const TEXTS = {
  de: {
    portal: "Kundenportal",
    skip: "Zum Inhalt springen",
    navigation: "Hauptnavigation",
    language: "Sprache",
    customer: "Kundennummer",
    logOut: "Abmelden",
    demo: "Demo mit Beispieldaten",
    passwordOnce: "Das Telefonpasswort wird nur dieses eine Mal angezeigt. Bitte notieren Sie es jetzt.",
  },
  en: {
    portal: "Customer portal",
    skip: "Skip to content",
    navigation: "Main navigation",
    language: "Language",
    customer: "Customer number",
    logOut: "Log out",
    demo: "Demo with sample data",
    passwordOnce: "The phone password is shown this once only. Please write it down now.",
  },
};
const LANGUAGE_NAMES: Record<Language, string> = { de: "Deutsch", en: "English" };

export function layout(visit: Visit, title: string, body: Html): Html {
  const t = TEXTS[visit.language];
  const { brand } = visit.settings;
  return html`<!doctype html>
<html lang="${visit.language}">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>${title} – ${brand}</title>
  <link rel="icon" href="/logo.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/portal.css">
  <script src="/portal.js" defer></script>
</head>
<body>
  <a class="skip" href="#content">${t.skip}</a>
  <header class="header">
    <div class="bar">
      <a class="brand" href="${link(visit, "/contacts")}">
        <img src="/logo.svg" alt="" width="28" height="28">
        <span>${brand}</span> <span class="product">${t.portal}</span>
      </a>
      <div class="tools">
        ${visit.isLoggedIn && account(visit)}
        <nav class="languages" aria-label="${t.language}">${languageLinks(visit)}</nav>
      </div>
    </div>
    ${visit.isLoggedIn && navigation(visit)}
  </header>
  <main id="content" class="content" tabindex="-1">
    ${visit.session.flashes.splice(0).map((flash) => message(visit, flash))}
    ${body}
  </main>
  <footer class="footer"><p>${brand} · ${t.demo}</p></footer>
</body>
</html>
`;
}

/** The field that every form has. */
export function csrfField(visit: Visit): Html {
  return html`<input type="hidden" name="csrf" value="${visit.csrfToken}">`;
}

function navigation(visit: Visit): Html {
  const entries = visit.navigation.map(({ path, label }) => {
    const isCurrent = visit.path === path || visit.path.startsWith(`${path}/`);
    const current = attribute("aria-current", isCurrent && "page");
    return html`<li><a href="${link(visit, path)}"${current}>${label[visit.language]}</a></li>`;
  });
  return html`<nav class="navigation" aria-label="${TEXTS[visit.language].navigation}"><ul>${entries}</ul></nav>`;
}

function account(visit: Visit): Html {
  const t = TEXTS[visit.language];
  return html`<form class="account" method="post" action="${link(visit, "/logout")}">
    ${csrfField(visit)}
    <span><span class="label">${t.customer}</span> <strong>${visit.session.customerNumber}</strong></span>
    <button class="link">${t.logOut}</button>
  </form>`;
}

function languageLinks(visit: Visit): Html[] {
  return LANGUAGES.map((language) => {
    const current = attribute("aria-current", language === visit.language && "true");
    return html`<a href="${link({ language }, visit.path)}" lang="${language}" hreflang="${language}"${current}>${LANGUAGE_NAMES[language]}</a> `;
  });
}

function message(visit: Visit, flash: Flash): Html {
  const role = flash.kind === "error" ? "alert" : "status";
  const password =
    flash.phonePassword &&
    html`
    <p class="secret" id="phone-password" translate="no">${flash.phonePassword}</p>
    <p>${TEXTS[visit.language].passwordOnce}</p>`;
  return html`<div class="notice ${flash.kind}" role="${role}"><p>${flash.text}</p>${password}</div>`;
}
