// Pages that tell of a failure. Texts of the portal are only for failures that the service did not answer.

import { html } from "./html.ts";
import type { Problem } from "./problems.ts";
import { link, page, type Reply, type Visit } from "./screen.ts";

const TEXTS = {
  de: {
    notFound: "Seite nicht gefunden",
    notFoundHint: "Diese Seite gibt es nicht oder nicht mehr.",
    failed: "Das hat nicht geklappt",
    unexpected: "Es ist ein Fehler aufgetreten. Bitte versuchen Sie es noch einmal.",
    expired: "Diese Seite ist abgelaufen",
    expiredHint:
      "Zu Ihrer Sicherheit wurde das Formular nicht verarbeitet. Öffnen Sie die Seite bitte noch einmal, und senden Sie es dann ab.",
    back: "Zu den Ansprechpartnern",
  },
  en: {
    notFound: "Page not found",
    notFoundHint: "This page does not exist, or no longer exists.",
    failed: "That did not work",
    unexpected: "An error has occurred. Please try again.",
    expired: "This page has expired",
    expiredHint: "For your security, the form was not processed. Please open the page again, then submit it.",
    back: "To the contacts",
  },
};

export function notFound(visit: Visit): Reply {
  const t = TEXTS[visit.language];
  return message(visit, t.notFound, t.notFoundHint, 404);
}

export function expiredForm(visit: Visit): Reply {
  const t = TEXTS[visit.language];
  return message(visit, t.expired, t.expiredHint, 403);
}

export function unexpected(visit: Visit): Reply {
  const t = TEXTS[visit.language];
  return message(visit, t.failed, t.unexpected, 500);
}

export function problemPage(visit: Visit, problem: Problem, status: number): Reply {
  return message(visit, TEXTS[visit.language].failed, problem.text, status);
}

function message(visit: Visit, title: string, text: string, status: number): Reply {
  const body = html`<section class="card narrow">
    <h1>${title}</h1>
    <p>${text}</p>
    <p><a class="button" href="${link(visit, "/contacts")}">${TEXTS[visit.language].back}</a></p>
  </section>`;
  return page(title, body, status);
}
