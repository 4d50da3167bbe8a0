// Deleting a contact: shows the effects first, then asks.

import { randomUUID } from "node:crypto";
import { recipientChangesList } from "../contacts/recipient_changes.ts";
import { html, type Html } from "../html.ts";
import { csrfField } from "../layout.ts";
import { problemOf } from "../problems.ts";
import { link, page, redirect, type Reply, type Screen, type Visit } from "../screen.ts";

const screen: Screen = {
  routes: [
    { method: "GET", path: "/contacts/:contactId/delete", handle: ask },
    { method: "POST", path: "/contacts/:contactId/delete", handle: remove },
  ],
};
export default screen;

const TEXTS = {
  de: {
    title: (name: string) => `${name} löschen?`,
    effects: "Mit dem Ansprechpartner werden seine Adressen, Telefonnummern und sein Telefonpasswort gelöscht.",
    recipients: "Was sich für Empfänger ändert",
    notPossible: "Das ist im Moment nicht möglich",
    remove: "Endgültig löschen",
    cancel: "Abbrechen",
    removed: (name: string) => `${name} ist gelöscht.`,
  },
  en: {
    title: (name: string) => `Delete ${name}?`,
    effects: "The addresses, phone numbers and the phone password of the contact are deleted with it.",
    recipients: "What changes for recipients",
    notPossible: "This is not possible at the moment",
    remove: "Delete permanently",
    cancel: "Cancel",
    removed: (name: string) => `${name} has been deleted.`,
  },
};

async function ask(visit: Visit): Promise<Reply> {
  const t = TEXTS[visit.language];
  const name = contactName(visit);
  const [{ contact }, effects] = await Promise.all([visit.contacts.getContact(name), effectsOf(visit)]);
  const { displayName, etag } = contact!;
  const form = html`<form method="post">
    ${csrfField(visit)}
    <input type="hidden" name="etag" value="${etag}">
    <input type="hidden" name="name" value="${displayName}">
    <input type="hidden" name="requestId" value="${randomUUID()}">
    <div class="actions">
      ${effects.isPossible && html`<button class="button danger">${t.remove}</button>`}
      <a class="button" href="${link(visit, "/contacts")}">${t.cancel}</a>
    </div>
  </form>`;
  return page(
    t.title(displayName),
    html`<section class="card narrow">
      <h1>${t.title(displayName)}</h1>
      <p>${t.effects}</p>
      ${effects.body}
      ${form}
    </section>`,
  );
}

/** The effects of a deletion, or the reason why there is none. */
async function effectsOf(visit: Visit): Promise<{ isPossible: boolean; body: Html }> {
  const t = TEXTS[visit.language];
  try {
    const { recipientChanges } = await visit.contacts.deleteContact({
      ...contactName(visit),
      validateOnly: true,
    });
    const list = recipientChangesList(recipientChanges, visit.language);
    return { isPossible: true, body: html`<h2>${t.recipients}</h2>${list}` };
  } catch (error) {
    const problem = problemOf(error, visit.language);
    if (problem.reason !== "LAST_STANDARD_CONTACT") {
      throw error;
    }
    return {
      isPossible: false,
      body: html`<div class="notice error" role="alert"><h2>${t.notPossible}</h2><p>${problem.text}</p></div>`,
    };
  }
}

async function remove(visit: Visit): Promise<Reply> {
  const t = TEXTS[visit.language];
  try {
    await visit.contacts.deleteContact({
      ...contactName(visit),
      etag: visit.form.get("etag") ?? "",
      requestId: visit.form.get("requestId") ?? "",
    });
    return redirect(visit, "/contacts", { kind: "success", text: t.removed(visit.form.get("name") ?? "") });
  } catch (error) {
    const { text } = problemOf(error, visit.language);
    return redirect(visit, "/contacts", { kind: "error", text });
  }
}

function contactName(visit: Visit): { customerNumber: string; contactId: string } {
  return { customerNumber: visit.session.customerNumber, contactId: visit.parameters.contactId ?? "" };
}
