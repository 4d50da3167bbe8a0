// The review: what is missing or outdated, where each finding is corrected, and the declaration that the
// contacts were reviewed. Two RPCs at once: the findings, and the names of their contacts.

import { randomUUID } from "node:crypto";
import type { ContactsReview } from "../../gen/contact/v1/customer_pb.ts";
import { FindingKind, type Finding } from "../../gen/contact/v1/review_pb.ts";
import { html, type Fragment, type Html } from "../html.ts";
import type { Language } from "../language.ts";
import { csrfField } from "../layout.ts";
import { problemOf } from "../problems.ts";
import { link, page, redirect, type Reply, type Screen, type Visit } from "../screen.ts";
import { time } from "../time.ts";
import { subjectOf } from "../tokens.ts";

const screen: Screen = {
  navigation: {
    order: 40,
    path: "/review",
    label: { de: "Ansprechpartner prüfen", en: "Review contacts" },
  },
  routes: [
    { method: "GET", path: "/review", handle: show },
    { method: "POST", path: "/review", handle: markReviewed },
  ],
};
export default screen;

/** Name of a FindingKind. */
type Kind = Exclude<keyof typeof FindingKind, "UNSPECIFIED">;

/** Where a finding is corrected: in the contacts' forms or rows, in their table, or in the contact data. */
const PLACES: Record<Kind, "form" | "row" | "table" | "contactData"> = {
  NO_INVOICE_RECIPIENT: "table",
  NO_TECHNICAL_CONTACT: "table",
  NO_SUBSTITUTE: "table",
  NO_EMAIL: "form",
  EMAIL_UNCONFIRMED: "row",
  EMAIL_BOUNCED: "form",
  EMAIL_CONFIRMED_LONG_AGO: "form",
  INVOICE_EMAIL_LAPSED: "form",
  NO_CONTACT_DATA_EMAIL: "contactData",
  CONTACT_DATA_EMAIL_BOUNCED: "contactData",
};

interface Words {
  title: string;
  hint: string;
}

const de = {
  title: "Ansprechpartner prüfen",
  intro: "Prüfen Sie von Zeit zu Zeit, ob Ihre Angaben noch stimmen, damit unsere Nachrichten Sie erreichen.",
  findings: "Was uns aufgefallen ist",
  nothing: "Nichts zu korrigieren",
  nothingHint:
    "Ihre Ansprechpartner sind vollständig und per E-Mail erreichbar. Ob sie noch zuständig sind, wissen nur Sie.",
  kinds: {
    NO_INVOICE_RECIPIENT: {
      title: "Niemand erhält Rechnungen per E-Mail",
      hint: "Ihre Rechnungen kommen deshalb per Post. Schalten Sie bei einem Ansprechpartner mit bestätigter Adresse die Rechnung per E-Mail ein, wenn Sie das ändern möchten.",
    },
    NO_TECHNICAL_CONTACT: {
      title: "Kein Ansprechpartner für Technik",
      hint: "Legen Sie fest, wer Sicherheitshinweise, Wartungsankündigungen und Störungsmeldungen erhalten soll.",
    },
    NO_SUBSTITUTE: {
      title: "Keine Vertretung",
      hint: "Höchstens ein Ansprechpartner ist per E-Mail erreichbar; bei Krankheit oder Urlaub erreichen wir niemanden. Legen Sie einen weiteren mit bestätigter Adresse fest.",
    },
    NO_EMAIL: {
      title: "Keine E-Mail-Adresse",
      hint: "Ohne Adresse können wir keine E-Mails senden.",
    },
    EMAIL_UNCONFIRMED: {
      title: "E-Mail-Adresse noch nicht bestätigt",
      hint: "Wir haben einen Bestätigungslink an die neue Adresse gesendet. Sie können ihn noch einmal senden oder die Adresse verwerfen.",
    },
    EMAIL_BOUNCED: {
      title: "E-Mails kommen nicht an",
      hint: "E-Mails kamen als unzustellbar zurück. Bitte korrigieren Sie die Adresse.",
    },
    EMAIL_CONFIRMED_LONG_AGO: {
      title: "E-Mail-Adresse vor mehr als einem Jahr bestätigt",
      hint: "Bitte prüfen Sie, ob die Adresse noch genutzt wird, und ändern Sie sie, falls nicht.",
    },
    INVOICE_EMAIL_LAPSED: {
      title: "Rechnung per E-Mail wurde beendet",
      hint: "Die Adresse wurde nicht rechtzeitig bestätigt. Schalten Sie die Rechnung per E-Mail wieder ein, oder bestätigen Sie unten die Prüfung, wenn es so bleiben soll.",
    },
    NO_CONTACT_DATA_EMAIL: {
      title: "Keine E-Mail-Adresse in Ihren Kontaktdaten",
      hint: "Sind Ihre Ansprechpartner nicht erreichbar, haben wir keine andere Adresse von Ihnen. Unser Kundenservice trägt sie für Sie ein.",
    },
    CONTACT_DATA_EMAIL_BOUNCED: {
      title: "E-Mails an Ihre Kontaktdaten kommen nicht an",
      hint: "E-Mails an diese Adresse kamen als unzustellbar zurück. Unser Kundenservice ändert sie für Sie.",
    },
  } as Record<Kind, Words>,
  other: { title: "Bitte prüfen Sie Ihre Angaben", hint: "" } as Words,
  reachable: "Erreichbar:",
  concerned: "Betrifft:",
  table: "Ansprechpartner bearbeiten",
  contactData: "Zu Ihren Kontaktdaten",
  last: "Letzte Prüfung",
  never: "Ihre Ansprechpartner wurden noch nicht geprüft.",
  when: "Geprüft am",
  by: "Geprüft von",
  you: "Ihnen, in diesem Portal",
  markHint:
    "Bestätigen Sie, dass Sie alle Ansprechpartner geprüft haben. An Ihren Daten ändert sich dadurch nichts.",
  mark: "Prüfung bestätigen",
  marked: "Vielen Dank. Ihre Prüfung ist vermerkt.",
};
const en: typeof de = {
  title: "Review contacts",
  intro: "Check from time to time that your details are up to date, so that our messages reach you.",
  findings: "What we have noticed",
  nothing: "Nothing to correct",
  nothingHint:
    "Your contacts are complete and can be reached by e-mail. Only you know whether they are still responsible.",
  kinds: {
    NO_INVOICE_RECIPIENT: {
      title: "No one receives invoices by e-mail",
      hint: "Your invoices therefore come by post. To change this, enable invoices by e-mail for a contact with a confirmed address.",
    },
    NO_TECHNICAL_CONTACT: {
      title: "No technical contact",
      hint: "Decide who should receive security notices, maintenance announcements and outage notices.",
    },
    NO_SUBSTITUTE: {
      title: "No substitute",
      hint: "At most one contact can be reached by e-mail, and no one during illness or holidays. Please add another with a confirmed address.",
    },
    NO_EMAIL: {
      title: "No e-mail address",
      hint: "Without an address, we cannot send e-mails.",
    },
    EMAIL_UNCONFIRMED: {
      title: "E-mail address not confirmed yet",
      hint: "The confirmation link has been sent to the new address. You can send it again, or drop the address.",
    },
    EMAIL_BOUNCED: {
      title: "E-mails are not delivered",
      hint: "E-mails were returned as undeliverable. Please correct the address.",
    },
    EMAIL_CONFIRMED_LONG_AGO: {
      title: "E-mail address confirmed more than a year ago",
      hint: "Please check whether the address is still in use, and change it if not.",
    },
    INVOICE_EMAIL_LAPSED: {
      title: "Invoices by e-mail have ended",
      hint: "The address was not confirmed in time. Enable invoices by e-mail again, or mark the contacts as reviewed below to leave it at that.",
    },
    NO_CONTACT_DATA_EMAIL: {
      title: "No e-mail address in your contact data",
      hint: "If your contacts cannot be reached, we have no other address for you. Our customer service adds it for you.",
    },
    CONTACT_DATA_EMAIL_BOUNCED: {
      title: "E-mails to your contact data are not delivered",
      hint: "E-mails to this address were returned as undeliverable. Our customer service changes it for you.",
    },
  },
  other: { title: "Please check your details", hint: "" },
  reachable: "Can be reached:",
  concerned: "Concerns:",
  table: "Edit contacts",
  contactData: "Go to your contact data",
  last: "Last review",
  never: "Your contacts have not been reviewed yet.",
  when: "Reviewed on",
  by: "Reviewed by",
  you: "you, in this portal",
  markHint: "Confirm that you have checked all contacts. This does not change your data.",
  mark: "Mark as reviewed",
  marked: "Thank you. Your review has been recorded.",
};
const TEXTS: Record<Language, typeof de> = { de, en };

async function show(visit: Visit): Promise<Reply> {
  const t = TEXTS[visit.language];
  const { customerNumber } = visit.session;
  const [{ findings, lastReview }, { contacts }] = await Promise.all([
    visit.contacts.reviewContacts({ customerNumber }),
    visit.contacts.listContacts({ customerNumber, pageSize: 1000 }),
  ]);
  const names = new Map(contacts.map(({ contactId, displayName }) => [contactId, displayName]));
  const nothing = html`<section class="card"><h2>${t.nothing}</h2><p>${t.nothingHint}</p></section>`;
  const found = html`<section class="card"><h2>${t.findings}</h2>
    <ul class="people" id="findings">${findings.map((finding) => item(visit, finding, names))}</ul></section>`;
  return page(
    t.title,
    html`<h1>${t.title}</h1>
    <p class="intro">${t.intro}</p>
    ${findings.length > 0 ? found : nothing}
    ${review(visit, lastReview)}`,
  );
}

function item(visit: Visit, { kind, contactIds }: Finding, names: Map<string, string>): Html {
  const t = TEXTS[visit.language];
  const name = FindingKind[kind] as Kind | undefined;
  // A kind that a newer service adds has no words yet.
  const { title, hint } = (name && t.kinds[name]) ?? t.other;
  const place = (name && PLACES[name]) ?? (contactIds.length > 0 ? "form" : "table");
  // A contact may be deleted between the two RPCs.
  const concerned = contactIds.flatMap((contactId) => {
    const displayName = names.get(contactId);
    return displayName ? [{ contactId, displayName }] : [];
  });
  const people = concerned.map(({ contactId, displayName }, index): Fragment => {
    const path = { form: `/contacts/${contactId}/edit`, row: `/contacts#contact-${contactId}` };
    const person =
      place === "form" || place === "row"
        ? html`<a href="${link(visit, path[place])}">${displayName}</a>`
        : displayName;
    return index > 0 ? [", ", person] : person;
  });
  const label = name === "NO_SUBSTITUTE" ? t.reachable : t.concerned;
  return html`<li data-kind="${name}"><strong>${title}</strong>
    ${hint && html`<small class="muted block">${hint}</small>`}
    ${people.length > 0 && html`<span class="address">${label} ${people}</span>`}
    ${place === "table" && html`<a href="${link(visit, "/contacts")}">${t.table}</a>`}
    ${place === "contactData" && html`<a href="${link(visit, "/customer")}">${t.contactData}</a>`}
  </li>`;
}

function review(visit: Visit, last: ContactsReview | undefined): Html {
  const t = TEXTS[visit.language];
  const facts =
    last?.reviewTime &&
    html`<dl class="facts">
      <div><dt>${t.when}</dt><dd>${time(last.reviewTime, visit.language)}</dd></div>
      <div><dt>${t.by}</dt><dd>${last.reviewedBy === subjectOf(visit.session) ? t.you : last.reviewedBy}</dd></div>
    </dl>`;
  return html`<section class="card" id="last-review"><h2>${t.last}</h2>
    ${facts ?? html`<p>${t.never}</p>`}
    <p class="hint">${t.markHint}</p>
    <form method="post" action="${link(visit, "/review")}">
      ${csrfField(visit)}
      <input type="hidden" name="requestId" value="${randomUUID()}">
      <button class="button primary">${t.mark}</button>
    </form>
  </section>`;
}

async function markReviewed(visit: Visit): Promise<Reply> {
  try {
    await visit.contacts.markContactsReviewed({
      customerNumber: visit.session.customerNumber,
      requestId: visit.form.get("requestId") ?? "",
    });
    return redirect(visit, "/review", { kind: "success", text: TEXTS[visit.language].marked });
  } catch (error) {
    return redirect(visit, "/review", { kind: "error", text: problemOf(error, visit.language).text });
  }
}
