// The effect of a change on the recipients, in words.

import type { RecipientChange, Resolution } from "../../gen/contact/v1/recipients_pb.ts";
import { Delivery, Purpose } from "../../gen/contact/v1/recipients_pb.ts";
import { html, type Html } from "../html.ts";
import { purposeLabel } from "../labels.ts";
import { list, type Language } from "../language.ts";

const TEXTS = {
  de: {
    none: "An den Empfängern ändert sich dadurch nichts.",
    goTo: (what: string, to: string) => `${what} gehen künftig an ${to}.`,
    byPost: (what: string) =>
      `${what} kommen künftig per Post: Kein Ansprechpartner ist dafür per E-Mail erreichbar.`,
    toNoOne: (what: string) => `${what} gehen künftig an niemanden.`,
    before: (to: string) => `Bisher: ${to}.`,
    post: "per Post",
    noOne: "an niemanden",
    contactData: "Ihre Kontaktdaten",
    attentionLine: (line: string) => `Auf Rechnungen steht künftig „${line}“.`,
    noAttentionLine: "Auf Rechnungen steht künftig kein Name.",
  },
  en: {
    none: "This does not change any recipients.",
    goTo: (what: string, to: string) => `${what} will go to ${to}.`,
    byPost: (what: string) => `${what} will come by post: no contact can be reached for them by e-mail.`,
    toNoOne: (what: string) => `${what} will go to no one.`,
    before: (to: string) => `So far: ${to}.`,
    post: "by post",
    noOne: "no one",
    contactData: "your contact data",
    attentionLine: (line: string) => `Invoices will be marked “${line}”.`,
    noAttentionLine: "Invoices will not be marked with a name.",
  },
};

export function recipientChangesList(changes: RecipientChange[], language: Language): Html {
  const t = TEXTS[language];
  const items = changes.flatMap((change) => (change.after ? sentences(change, change.after, language) : []));
  if (items.length === 0) {
    return html`<p>${t.none}</p>`;
  }
  return html`<ul class="changes">${items}</ul>`;
}

/** "Anna Schmidt (anna@muster.example) und Bernd Maier (…)", "per Post" or "an niemanden". */
export function recipientsText(resolution: Resolution, language: Language): string {
  const t = TEXTS[language];
  if (resolution.delivery === Delivery.POSTAL) {
    return t.post;
  }
  if (resolution.recipients.length === 0) {
    return t.noOne;
  }
  const names = resolution.recipients.map(
    ({ displayName, email }) => `${displayName || t.contactData} (${email})`,
  );
  return list(language, names);
}

function sentences(change: RecipientChange, after: Resolution, language: Language): Html[] {
  const t = TEXTS[language];
  const what = purposeLabel(change.purpose, language);
  const to = recipientsText(after, language);
  const before = change.before && recipientsText(change.before, language);
  const result: Html[] = [];
  if (before !== to) {
    const sentence =
      after.delivery === Delivery.POSTAL
        ? t.byPost(what)
        : after.recipients.length === 0
          ? t.toNoOne(what)
          : t.goTo(what, to);
    result.push(
      html`<li><strong>${sentence}</strong> <span class="muted">${before && t.before(before)}</span></li>`,
    );
  }
  if (change.purpose === Purpose.INVOICE && change.before?.attentionLine !== after.attentionLine) {
    const line = after.attentionLine ? t.attentionLine(after.attentionLine) : t.noAttentionLine;
    result.push(html`<li>${line}</li>`);
  }
  return result;
}
