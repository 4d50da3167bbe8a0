// The words for values of the contract. A value that a newer service adds is shown by its name.

import { ContactType, Salutation, type Contact } from "../gen/contact/v1/contact_pb.ts";
import { ExclusionReason, Purpose, RecipientReason } from "../gen/contact/v1/recipients_pb.ts";
import type { Language, Text } from "./language.ts";

export const CONTACT_TYPES: Record<string, { label: Text; hint: Text }> = {
  STANDARD: {
    label: { de: "Standard", en: "Standard" },
    hint: {
      de: "erhält, wofür es keinen eigenen Ansprechpartner gibt",
      en: "receives whatever has no contact of its own",
    },
  },
  ACCOUNTING: {
    label: { de: "Buchhaltung", en: "Accounting" },
    hint: { de: "Rechnungen und Zahlungserinnerungen", en: "invoices and payment reminders" },
  },
  TECHNICAL: {
    label: { de: "Technik", en: "Technical" },
    hint: { de: "Sicherheitshinweise, Wartungen, Störungen", en: "security notices, maintenance, outages" },
  },
  OWNER: {
    label: { de: "Inhaber", en: "Owner" },
    hint: { de: "nur zur Information", en: "for information only" },
  },
  AUTHORIZED_SIGNATORY: {
    label: { de: "Zeichnungsberechtigt", en: "Authorized signatory" },
    hint: { de: "nur zur Information", en: "for information only" },
  },
  DATA_PROTECTION: {
    label: { de: "Datenschutz", en: "Data protection" },
    hint: { de: "nur zur Information", en: "for information only" },
  },
  OTHER: {
    label: { de: "Sonstige Funktion", en: "Other function" },
    hint: { de: "nur zur Information", en: "for information only" },
  },
};

export const SALUTATIONS: Record<string, Text> = {
  UNSPECIFIED: { de: "Keine Angabe", en: "Not specified" },
  FRAU: { de: "Frau", en: "Ms" },
  HERR: { de: "Herr", en: "Mr" },
  NEUTRAL: { de: "Neutral (nur der Name)", en: "Neutral (the name only)" },
};

export const LOCALES: Record<string, Text> = {
  de: { de: "Deutsch", en: "German" },
  en: { de: "Englisch", en: "English" },
};

/** Subject and verb of the sentence "… go to A and B". */
const PURPOSES: Record<string, Text> = {
  INVOICE: { de: "Rechnungen", en: "Invoices" },
  PAYMENT_REMINDER: { de: "Zahlungserinnerungen", en: "Payment reminders" },
  SECURITY_NOTICE: { de: "Sicherheitshinweise", en: "Security notices" },
  PLANNED_MAINTENANCE: { de: "Wartungsankündigungen", en: "Maintenance announcements" },
  OUTAGE: { de: "Störungsmeldungen", en: "Outage notices" },
  GENERAL: { de: "Allgemeine Mitteilungen", en: "General messages" },
};

const RECIPIENT_REASONS: Record<string, Text> = {
  TYPE_MATCH: { de: "zuständig laut Typ", en: "responsible by type" },
  STANDARD_FALLBACK: { de: "Standard-Ansprechpartner als Vertretung", en: "standard contact as a fallback" },
  CONTACT_DATA_SETTING: { de: "laut Ihren Einstellungen", en: "by your settings" },
  CONTACT_DATA_FALLBACK: { de: "weil sonst niemand erreichbar ist", en: "because no one else can be reached" },
  CONTACT_DATA: { de: "Adresse Ihrer Kontaktdaten", en: "address of your contact data" },
};

const EXCLUSION_REASONS: Record<string, Text> = {
  NO_EMAIL: { de: "hat keine E-Mail-Adresse", en: "has no e-mail address" },
  EMAIL_UNCONFIRMED: {
    de: "die E-Mail-Adresse ist noch nicht bestätigt",
    en: "the e-mail address is not confirmed yet",
  },
  INVOICE_EMAIL_OFF: {
    de: "Rechnung per E-Mail ist nicht eingeschaltet",
    en: "invoices by e-mail are not enabled",
  },
  DUPLICATE_ADDRESS: {
    de: "dieselbe E-Mail-Adresse erhält die Nachricht bereits",
    en: "the same e-mail address already receives the message",
  },
  NOTIFICATIONS_OFF: { de: "in Ihren Einstellungen abgeschaltet", en: "switched off in your settings" },
  EMAIL_BOUNCED: {
    de: "E-Mails an diese Adresse kamen als unzustellbar zurück",
    en: "e-mails to this address were returned as undeliverable",
  },
};

export function typeName(type: ContactType): string {
  return ContactType[type] ?? "UNSPECIFIED";
}

export function typeLabel(name: string, language: Language): string {
  return CONTACT_TYPES[name]?.label[language] ?? name;
}

export function salutationName(salutation: Salutation | undefined): string {
  return Salutation[salutation ?? Salutation.UNSPECIFIED] ?? "UNSPECIFIED";
}

export function purposeLabel(purpose: Purpose, language: Language): string {
  return labelOf(PURPOSES, Purpose[purpose], language);
}

export function recipientReason(reason: RecipientReason, language: Language): string {
  return labelOf(RECIPIENT_REASONS, RecipientReason[reason], language);
}

export function exclusionReason(reason: ExclusionReason, language: Language): string {
  return labelOf(EXCLUSION_REASONS, ExclusionReason[reason], language);
}

/** Returns the confirmed address as people read it; "" if there is none. */
export function emailOf(contact: Contact): string {
  return contact.emailUnicode || contact.email;
}

/** Returns the pending address as people read it; "" if there is none. */
export function pendingEmailOf(contact: Contact): string {
  return contact.pendingEmail?.emailUnicode || contact.pendingEmail?.email || "";
}

function labelOf(labels: Record<string, Text>, name: string | undefined, language: Language): string {
  return labels[name ?? ""]?.[language] ?? name ?? "";
}
