// The form of a contact: opened with one RPC, checked with one, saved with one.

import type { Contact } from "../../gen/contact/v1/contact_pb.ts";
import type { RecipientChange } from "../../gen/contact/v1/recipients_pb.ts";
import { mergeConflict } from "../contacts/conflict.ts";
import {
  createRequest,
  draftOf,
  emptyDraft,
  isUnchanged,
  readDraft,
  updateRequest,
  type Draft,
} from "../contacts/draft.ts";
import { formErrors } from "../contacts/form_errors.ts";
import { FORM_TEXTS } from "../contacts/form_texts.ts";
import { contactForm, type FormView } from "../contacts/form_view.ts";
import { orderTypes } from "../contacts/order_types.ts";
import { recipientChangesList } from "../contacts/recipient_changes.ts";
import { html, type Html } from "../html.ts";
import { CONTACT_TYPES } from "../labels.ts";
import { unexpected } from "../messages.ts";
import { mayBeApplied, problemOf, type Problem } from "../problems.ts";
import { fragment, MalformedForm, page, redirect, type Reply, type Screen, type Visit } from "../screen.ts";

const screen: Screen = {
  routes: [
    { method: "GET", path: "/contacts/new", handle: openNew },
    { method: "POST", path: "/contacts/new", handle: submit },
    { method: "GET", path: "/contacts/:contactId/edit", handle: openEdit },
    { method: "POST", path: "/contacts/:contactId/edit", handle: submit },
  ],
};
export default screen;

interface Saved {
  contact?: Contact | undefined;
  generatedPhonePassword: string;
  recipientChanges: RecipientChange[];
}

function openNew(visit: Visit): Promise<Reply> {
  const types = visit.query.getAll("type").filter((type) => type in CONTACT_TYPES);
  return show(visit, { draft: emptyDraft(types) });
}

async function openEdit(visit: Visit): Promise<Reply> {
  const { contact } = await visit.contacts.getContact(contactName(visit));
  return show(visit, { draft: draftOf(contact!) });
}

async function submit(visit: Visit): Promise<Reply> {
  const draft = readDraft(visit.form);
  if (isEdit(visit) !== (draft.base !== undefined)) {
    throw new MalformedForm("base");
  }
  switch (visit.form.get("action")) {
    case "check":
      return check(visit, draft);
    case "add-phone":
      draft.values.phoneNumbers.push("");
      return show(visit, { draft });
    default:
      return save(visit, draft);
  }
}

/** Runs all checks of a save and shows its effects; nothing is stored. */
async function check(visit: Visit, draft: Draft): Promise<Reply> {
  const t = FORM_TEXTS[visit.language];
  const showPreview = (preview: Html, view: Partial<FormView> = {}) =>
    visit.wantsFragment ? fragment(preview) : show(visit, { draft, preview, ...view });
  if (isUnchanged(draft)) {
    return showPreview(html`<p class="muted">${t.previewUnchanged}</p>`);
  }
  try {
    const { recipientChanges } = await send(visit, draft, true);
    const pending = draft.emailEdit === "set" && draft.newEmail;
    return showPreview(html`
      ${recipientChangesList(recipientChanges, visit.language)}
      ${pending && html`<p>${t.previewEmail(draft.newEmail)}</p>`}`);
  } catch (error) {
    const problem = problemOf(error, visit.language);
    if (problem.reason === "ETAG_MISMATCH" && !visit.wantsFragment) {
      return conflict(visit, draft);
    }
    const preview = html`<p class="muted">${t.previewErrors}</p>`;
    return showPreview(preview, { errors: formErrors(problem, draft) });
  }
}

async function save(visit: Visit, draft: Draft): Promise<Reply> {
  const t = FORM_TEXTS[visit.language];
  if (isUnchanged(draft)) {
    return redirect(visit, "/contacts", { kind: "success", text: t.unchanged });
  }
  try {
    const { contact, generatedPhonePassword } = await send(visit, draft, false);
    const name = contact?.displayName ?? "";
    const sent = draft.newEmail && draft.emailEdit === "set" ? ` ${t.linkSent(draft.newEmail)}` : "";
    return redirect(visit, "/contacts", {
      kind: "success",
      text: (draft.base ? t.saved(name) : t.created(name)) + sent,
      ...(generatedPhonePassword && { phonePassword: generatedPhonePassword }),
    });
  } catch (error) {
    return rejected(visit, draft, problemOf(error, visit.language));
  }
}

async function rejected(visit: Visit, draft: Draft, problem: Problem): Promise<Reply> {
  if (problem.reason === "ETAG_MISMATCH") {
    return conflict(visit, draft);
  }
  const errors = formErrors(problem, draft);
  if (mayBeApplied(problem)) {
    // The same request_id: a repetition is applied once.
    errors.push({ text: FORM_TEXTS[visit.language].repeat });
    return show(visit, { draft, errors }, 503);
  }
  return show(visit, { draft: { ...draft, requestId: emptyDraft().requestId }, errors }, 422);
}

/** Shows what was typed together with what the other person saved. */
async function conflict(visit: Visit, draft: Draft): Promise<Reply> {
  if (!draft.base) {
    return unexpected(visit);
  }
  const { contact } = await visit.contacts.getContact(contactName(visit));
  const merged = mergeConflict({ ...draft, base: draft.base }, contact!);
  return show(visit, merged, 409);
}

/** Sends the save, or with `validateOnly` its check: one RPC for fields, addresses and phone password. */
async function send(visit: Visit, draft: Draft, validateOnly: boolean): Promise<Saved> {
  const { customerNumber } = visit.session;
  if (!draft.base) {
    return visit.contacts.createContact({ ...createRequest(draft, customerNumber), validateOnly });
  }
  const request = updateRequest({ ...draft, base: draft.base }, customerNumber, contactName(visit).contactId);
  return visit.contacts.updateContact({ ...request, validateOnly });
}

async function show(visit: Visit, view: Partial<FormView> & { draft: Draft }, status = 200): Promise<Reply> {
  const t = FORM_TEXTS[visit.language];
  const name = view.draft.base?.values.displayName[0] ?? "";
  const title = view.draft.base ? t.editTitle(name) : t.newTitle;
  const form = contactForm(visit, {
    title,
    action: isEdit(visit) ? `/contacts/${contactName(visit).contactId}/edit` : "/contacts/new",
    errors: [],
    orderTypes: await orderTypes(visit.contacts),
    ...view,
  });
  return page(title, form, status);
}

function isEdit(visit: Visit): boolean {
  return visit.parameters.contactId !== undefined;
}

function contactName(visit: Visit): { customerNumber: string; contactId: string } {
  return { customerNumber: visit.session.customerNumber, contactId: visit.parameters.contactId ?? "" };
}
