// Contact data, which the master data owns, and the notification settings, with who receives each notice
// at present. Notices of changes to the contacts have no purpose: the service sends them itself.

import { randomUUID } from "node:crypto";
import { NotificationSettingsSchema, type Customer } from "../../gen/contact/v1/customer_pb.ts";
import { Purpose, type Resolution } from "../../gen/contact/v1/recipients_pb.ts";
import { create } from "@bufbuild/protobuf";
import { recipientsText } from "../contacts/recipient_changes.ts";
import { attribute, html, type Html } from "../html.ts";
import { LOCALES, purposeLabel } from "../labels.ts";
import type { Language } from "../language.ts";
import { csrfField } from "../layout.ts";
import { problemOf } from "../problems.ts";
import { link, page, redirect, type Reply, type Screen, type Visit } from "../screen.ts";

const screen: Screen = {
  navigation: {
    order: 30,
    path: "/customer",
    label: { de: "Kontaktdaten und Benachrichtigungen", en: "Contact data and notifications" },
  },
  routes: [
    { method: "GET", path: "/customer", handle: (visit) => show(visit) },
    { method: "POST", path: "/customer", handle: save },
  ],
};
export default screen;

const NOTICES = [
  ["securityNotices", "security_notices", Purpose.SECURITY_NOTICE],
  ["plannedMaintenance", "planned_maintenance", Purpose.PLANNED_MAINTENANCE],
  ["outages", "outages", Purpose.OUTAGE],
] as const;
const SETTINGS = [...NOTICES, ["contactChanges", "contact_changes"]] as const;

const TEXTS = {
  de: {
    title: "Kontaktdaten und Benachrichtigungen",
    contactData: "Ihre Kontaktdaten",
    contactDataHint:
      "Diese Angaben stammen aus Ihrem Vertrag. Änderungen nimmt unser Kundenservice für Sie vor.",
    email: "E-Mail-Adresse",
    phone: "Telefonnummer",
    locale: "Sprache",
    none: "keine",
    bounced: "E-Mails kamen als unzustellbar zurück.",
    notifications: "Zusätzlich an die Kontaktdaten senden",
    notificationsHint:
      "Ihre Ansprechpartner mit dem Typ Technik erhalten diese Nachrichten immer. Ist keiner erreichbar, gehen Sicherheitshinweise und Wartungsankündigungen auch ohne Auswahl an Ihre Kontaktdaten; abgewählte Störungsmeldungen gehen dann an niemanden.",
    current: (to: string) => `Derzeit: ${to}`,
    security: "Zu Ihrer Sicherheit",
    contactChanges: "Änderungen bei Ihren Ansprechpartnern",
    contactChangesHint:
      "E-Mail an Ihre Kontaktdaten und die übrigen Standard-Ansprechpartner, wenn ein Ansprechpartner hinzukommt oder entfällt oder sich Telefonnummern oder Telefonpasswörter ändern. Wird die Adresse Ihrer Kontaktdaten ersetzt, benachrichtigen wir die bisherige in jedem Fall.",
    save: "Speichern",
    saved: "Ihre Einstellungen sind gespeichert.",
  },
  en: {
    title: "Contact data and notifications",
    contactData: "Your contact data",
    contactDataHint: "This information comes from your contract. Our customer service changes it for you.",
    email: "E-mail address",
    phone: "Phone number",
    locale: "Language",
    none: "none",
    bounced: "E-mails were returned as undeliverable.",
    notifications: "Also send to your contact data",
    notificationsHint:
      "Your contacts of the type Technical always receive these messages. If none can be reached, security notices and maintenance announcements go to your contact data even if they are not selected; outage notices that are not selected then go to no one.",
    current: (to: string) => `At present: ${to}`,
    security: "For your security",
    contactChanges: "Changes to your contacts",
    contactChangesHint:
      "An e-mail to your contact data and the other Standard contacts when a contact is added or deleted, or phone numbers or phone passwords change. If the address of your contact data is replaced, we always notify the previous one.",
    save: "Save",
    saved: "Your settings have been saved.",
  },
};

async function show(visit: Visit, error = ""): Promise<Reply> {
  const t = TEXTS[visit.language];
  const { customerNumber } = visit.session;
  const [{ customer }, { resolutions }] = await Promise.all([
    visit.contacts.getCustomer({ customerNumber }),
    visit.contacts.batchResolveRecipients({
      customerNumber,
      purposes: NOTICES.map(([, , purpose]) => purpose),
    }),
  ]);
  const body = html`<h1>${t.title}</h1>
    ${error && html`<div class="notice error" role="alert"><p>${error}</p></div>`}
    ${contactData(visit.language, customer!)}
    ${notifications(visit, customer!, resolutions)}`;
  return page(t.title, body, error ? 422 : 200);
}

function contactData(language: Language, { contactData: data }: Customer): Html {
  const t = TEXTS[language];
  return html`<section class="card"><h2>${t.contactData}</h2>
    <dl class="facts">
      <div><dt>${t.email}</dt><dd class="address">${data?.email || t.none}
        ${data?.emailBounceTime && html`<small class="error block">${t.bounced}</small>`}</dd></div>
      <div><dt>${t.phone}</dt><dd>${data?.phoneNumber || t.none}</dd></div>
      <div><dt>${t.locale}</dt><dd>${LOCALES[data?.locale || "de"]?.[language]}</dd></div>
    </dl>
    <p class="hint">${t.contactDataHint}</p>
  </section>`;
}

function notifications(visit: Visit, customer: Customer, resolutions: Resolution[]): Html {
  const t = TEXTS[visit.language];
  const choices = NOTICES.map(([name, , purpose]) => {
    const checked = attribute("checked", customer.notificationSettings?.[name]);
    const resolution = resolutions.find((resolved) => resolved.purpose === purpose);
    const current = resolution && t.current(recipientsText(resolution, visit.language));
    return html`<label class="choice"><input type="checkbox" name="${name}" value="on"${checked}>
      <span>${purposeLabel(purpose, visit.language)} <small class="muted block">${current}</small></span></label>`;
  });
  const contactChanges = attribute("checked", customer.notificationSettings?.contactChanges);
  return html`<section class="card">
    <form method="post" action="${link(visit, "/customer")}">
      ${csrfField(visit)}
      <input type="hidden" name="etag" value="${customer.etag}">
      <input type="hidden" name="requestId" value="${randomUUID()}">
      <fieldset class="field group" aria-describedby="notifications-hint">
        <legend><h2>${t.notifications}</h2></legend>
        <p class="hint" id="notifications-hint">${t.notificationsHint}</p>
        <div class="choices stacked">${choices}</div>
      </fieldset>
      <fieldset class="field group">
        <legend><h2>${t.security}</h2></legend>
        <div class="choices stacked">
          <label class="choice"><input type="checkbox" name="contactChanges" value="on"${contactChanges}>
            <span>${t.contactChanges} <small class="muted block">${t.contactChangesHint}</small></span></label>
        </div>
      </fieldset>
      <button class="button primary">${t.save}</button>
    </form>
  </section>`;
}

async function save(visit: Visit): Promise<Reply> {
  const settings = create(NotificationSettingsSchema);
  for (const [name] of SETTINGS) {
    settings[name] = visit.form.get(name) === "on";
  }
  try {
    await visit.contacts.updateCustomer({
      customer: {
        customerNumber: visit.session.customerNumber,
        notificationSettings: settings,
        etag: visit.form.get("etag") ?? "",
      },
      updateMask: { paths: SETTINGS.map(([, path]) => `notification_settings.${path}`) },
      requestId: visit.form.get("requestId") ?? "",
    });
    return redirect(visit, "/customer", { kind: "success", text: TEXTS[visit.language].saved });
  } catch (error) {
    return show(visit, problemOf(error, visit.language).text);
  }
}
