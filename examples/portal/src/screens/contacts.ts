// The table of the contacts: one RPC. Its buttons are one RPC each.

import { randomUUID } from "node:crypto";
import type { Contact } from "../../gen/contact/v1/contact_pb.ts";
import { html, type Fragment, type Html } from "../html.ts";
import { emailOf, pendingEmailOf, typeLabel, typeName } from "../labels.ts";
import type { Language } from "../language.ts";
import { csrfField } from "../layout.ts";
import { problemOf } from "../problems.ts";
import { link, page, redirect, type Reply, type Screen, type Visit } from "../screen.ts";
import { time } from "../time.ts";

const screen: Screen = {
  navigation: { order: 10, path: "/contacts", label: { de: "Ansprechpartner", en: "Contacts" } },
  routes: [
    { method: "GET", path: "/contacts", handle: table },
    { method: "POST", path: "/contacts/:contactId/cancel-email", handle: cancelEmail },
    { method: "POST", path: "/contacts/:contactId/resend-email", handle: resendEmail },
  ],
};
export default screen;

// More than a customer can have, so that the table is one page.
const PAGE_SIZE = 1000;

const de = {
  title: "Ansprechpartner",
  intro: "Nur diesen Personen und Abteilungen geben wir Auskunft zu Ihren Verträgen.",
  add: "Ansprechpartner hinzufügen",
  none: "Noch keine Ansprechpartner",
  noneHint: "Legen Sie als ersten einen Standard-Ansprechpartner an. Bis dahin nutzen wir Ihre Kontaktdaten.",
  columns: {
    name: "Name",
    types: "Typen",
    email: "E-Mail-Adresse",
    phone: "Telefon",
    phonePassword: "Telefonpasswort",
    invoiceEmail: "Rechnung per E-Mail",
    actions: "Aktionen",
  },
  noEmail: "keine Adresse",
  bounced: "E-Mails kamen als unzustellbar zurück. Bitte prüfen Sie die Adresse.",
  pending: "Vorgemerkt",
  expires: "gültig bis",
  cancel: "Verwerfen",
  cancelled: "Die vorgemerkte Adresse ist verworfen. Ihr Bestätigungslink ist ungültig.",
  resend: "Link erneut senden",
  noResends: "Im Moment ist kein weiterer Versand möglich, später einer je Stunde.",
  resent: "Der Bestätigungslink ist noch einmal unterwegs.",
  password: {
    set: "gesetzt",
    none: "nicht gesetzt",
    locked: "gesperrt bis",
    revoked: "widerrufen: bitte neu setzen",
  },
  invoice: { on: "ja", off: "nein", pending: "ja, sobald die Adresse bestätigt ist" },
  edit: "Bearbeiten",
  remove: "Löschen",
  last: "Letzter Standard-Ansprechpartner: Er kann erst gelöscht werden, wenn ein anderer diesen Typ hat.",
};
const en: typeof de = {
  title: "Contacts",
  intro: "We give information about your contracts to these people and departments only.",
  add: "Add a contact",
  none: "No contacts yet",
  noneHint: "Begin with a Standard contact. Until then, we use your contact data.",
  columns: {
    name: "Name",
    types: "Types",
    email: "E-mail address",
    phone: "Phone",
    phonePassword: "Phone password",
    invoiceEmail: "Invoices by e-mail",
    actions: "Actions",
  },
  noEmail: "no address",
  bounced: "E-mails were returned as undeliverable. Please check the address.",
  pending: "Pending",
  expires: "valid until",
  cancel: "Drop",
  cancelled: "The pending address has been dropped. Its confirmation link no longer works.",
  resend: "Send link again",
  noResends: "It cannot be sent again at the moment; later it can, once an hour.",
  resent: "The confirmation link is on its way again.",
  password: { set: "set", none: "not set", locked: "locked until", revoked: "revoked: please set a new one" },
  invoice: { on: "yes", off: "no", pending: "yes, once the address is confirmed" },
  edit: "Edit",
  remove: "Delete",
  last: "Last Standard contact: it can be deleted only when another contact has this type.",
};
const TEXTS: Record<Language, typeof de> = { de, en };

async function table(visit: Visit): Promise<Reply> {
  const t = TEXTS[visit.language];
  const { customerNumber } = visit.session;
  const { contacts } = await visit.contacts.listContacts({ customerNumber, pageSize: PAGE_SIZE });
  const heads = Object.values(t.columns).map((text) => html`<th scope="col" role="columnheader">${text}</th>`);
  const rows = html`<table class="responsive contacts" role="table" aria-labelledby="title">
    <thead role="rowgroup"><tr role="row">${heads}</tr></thead>
    <tbody role="rowgroup">${contacts.map((contact) => row(visit, contact))}</tbody>
  </table>`;
  const empty = html`<div class="card empty"><h2>${t.none}</h2><p>${t.noneHint}</p></div>`;
  // The first contact has to be STANDARD.
  const add = link(visit, contacts.length > 0 ? "/contacts/new" : "/contacts/new?type=STANDARD");
  return page(
    t.title,
    html`<h1 id="title">${t.title}</h1>
    <p class="intro">${t.intro}</p>
    ${contacts.length > 0 ? rows : empty}
    <p class="actions"><a class="button primary" href="${add}">${t.add}</a></p>`,
  );
}

function row(visit: Visit, contact: Contact): Html {
  const t = TEXTS[visit.language];
  const { columns } = t;
  const cell = (label: string, content: Fragment) =>
    html`<td role="cell" data-label="${label}"><div>${content}</div></td>`;
  const function_ = [contact.position, contact.department].filter(Boolean).join(", ");
  return html`<tr role="row" id="contact-${contact.contactId}">
    <th scope="row" role="rowheader">${contact.displayName}${function_ && html` <span class="muted block">${function_}</span>`}</th>
    ${cell(
      columns.types,
      contact.types.map(
        (type) => html`<span class="badge">${typeLabel(typeName(type), visit.language)}</span> `,
      ),
    )}
    ${cell(columns.email, email(visit, contact))}
    ${cell(columns.phone, contact.phoneNumbers.length > 0 ? contact.phoneNumbers.map(phone) : "–")}
    ${cell(columns.phonePassword, phonePassword(visit, contact))}
    ${cell(columns.invoiceEmail, invoiceEmail(visit, contact))}
    ${cell(columns.actions, actions(visit, contact))}
  </tr>`;
}

function email(visit: Visit, contact: Contact): Html {
  const t = TEXTS[visit.language];
  const { pendingEmail, emailBounceTime } = contact;
  const current = emailOf(contact);
  const address = pendingEmailOf(contact);
  const pending =
    pendingEmail &&
    html`<div class="pending">
      <span class="badge warn">${t.pending}</span> <span class="address">${breakable(address)}</span>
      <small class="muted block">${t.expires} ${pendingEmail.expireTime && time(pendingEmail.expireTime, visit.language)}</small>
      ${pendingEmail.bounceTime && html`<small class="error block">${t.bounced}</small>`}
      ${pendingEmail.resendsLeft === 0 && html`<small class="muted block">${t.noResends}</small>`}
      <div class="buttons">
        ${action(visit, contact, "resend-email", t.resend, address)}
        ${action(visit, contact, "cancel-email", t.cancel, address)}
      </div>
    </div>`;
  return html`${current ? html`<span class="address">${breakable(current)}</span>` : !pendingEmail && html`<span class="muted">${t.noEmail}</span>`}
    ${emailBounceTime && html`<small class="error block">${t.bounced}</small>`}
    ${pending}`;
}

/** Lets a long address break after the "@" first. */
function breakable(address: string): Html {
  const at = address.lastIndexOf("@") + 1;
  return html`${address.slice(0, at)}<wbr>${address.slice(at)}`;
}

function action(visit: Visit, contact: Contact, name: string, text: string, of: string): Html {
  // The request_id makes a double click one request.
  return html`<form method="post" action="${link(visit, `/contacts/${contact.contactId}/${name}`)}">
    ${csrfField(visit)}
    <input type="hidden" name="etag" value="${contact.etag}">
    <input type="hidden" name="requestId" value="${randomUUID()}">
    <button class="button small">${text}${hidden(of)}</button>
  </form>`;
}

/** Tells equal buttons apart for assistive technology. */
function hidden(of: string): Html {
  return html`<span class="visually-hidden">: ${of}</span>`;
}

function phone(number: string): Html {
  return html`<a class="block" href="tel:${number}">${number}</a>`;
}

function phonePassword(visit: Visit, { phonePassword: state }: Contact): Fragment {
  const t = TEXTS[visit.language].password;
  if (state?.revoked) {
    return html`<span class="error">${t.revoked}</span>`;
  }
  if (!state?.configured) {
    return html`<span class="muted">${t.none}</span>`;
  }
  return state.lockedUntilTime
    ? html`${t.set}, <span class="error">${t.locked} ${time(state.lockedUntilTime, visit.language)}</span>`
    : t.set;
}

function invoiceEmail(visit: Visit, contact: Contact): Fragment {
  const t = TEXTS[visit.language].invoice;
  if (!contact.invoiceEmailEnabled) {
    return html`<span class="muted">${t.off}</span>`;
  }
  return contact.email ? t.on : t.pending;
}

function actions(visit: Visit, contact: Contact): Html {
  const t = TEXTS[visit.language];
  const { contactId, displayName } = contact;
  const edit = html`<a class="button small" href="${link(visit, `/contacts/${contactId}/edit`)}">${t.edit}${hidden(displayName)}</a>`;
  if (!contact.lastStandardContact) {
    const remove = link(visit, `/contacts/${contactId}/delete`);
    return html`<div class="buttons">${edit}
      <a class="button small danger" href="${remove}">${t.remove}${hidden(displayName)}</a></div>`;
  }
  // Focusable, so that keyboard users reach the explanation.
  return html`<div class="buttons">${edit}
    <button type="button" class="button small" aria-disabled="true" aria-describedby="last-standard">${t.remove}${hidden(displayName)}</button></div>
    <small class="muted block" id="last-standard">${t.last}</small>`;
}

async function cancelEmail(visit: Visit): Promise<Reply> {
  const { cancelled } = TEXTS[visit.language];
  return change(visit, cancelled, (request) =>
    visit.contacts.cancelEmailChange({ ...request, etag: visit.form.get("etag") ?? "" }),
  );
}

async function resendEmail(visit: Visit): Promise<Reply> {
  const { resent } = TEXTS[visit.language];
  return change(visit, resent, (request) => visit.contacts.resendEmailConfirmation(request));
}

/** Sends a change of one contact, and returns to the table with its result. */
async function change(
  visit: Visit,
  success: string,
  send: (request: { customerNumber: string; contactId: string; requestId: string }) => Promise<unknown>,
): Promise<Reply> {
  try {
    await send({
      customerNumber: visit.session.customerNumber,
      contactId: visit.parameters.contactId ?? "",
      requestId: visit.form.get("requestId") ?? "",
    });
    return redirect(visit, "/contacts", { kind: "success", text: success });
  } catch (error) {
    const { text } = problemOf(error, visit.language);
    return redirect(visit, "/contacts", { kind: "error", text });
  }
}
