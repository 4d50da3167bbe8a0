// Invoices: who receives them, who does not and why, and the attention line. Three RPCs at once:
// recipients, the names of the contacts that are excluded, and the customer's order about the line.

import { randomUUID } from "node:crypto";
import type { Contact } from "../../gen/contact/v1/contact_pb.ts";
import type { Customer } from "../../gen/contact/v1/customer_pb.ts";
import { Delivery, Purpose, type Resolution } from "../../gen/contact/v1/recipients_pb.ts";
import { Inputs } from "../contacts/inputs.ts";
import { html, type Html } from "../html.ts";
import { exclusionReason, recipientReason } from "../labels.ts";
import type { Language } from "../language.ts";
import { csrfField } from "../layout.ts";
import { problemOf, type Problem } from "../problems.ts";
import { link, page, redirect, type Reply, type Screen, type Visit } from "../screen.ts";
import { time } from "../time.ts";

const screen: Screen = {
  navigation: { order: 20, path: "/invoices", label: { de: "Rechnungen", en: "Invoices" } },
  routes: [
    { method: "GET", path: "/invoices", handle: (visit) => show(visit) },
    { method: "POST", path: "/invoices", handle: setAttentionLine },
  ],
};
export default screen;

const de = {
  title: "Rechnungen",
  recipients: "Wer Rechnungen per E-Mail erhält",
  postal: "Ihre Rechnungen kommen per Post",
  postalHint: "Kein Ansprechpartner ist für Rechnungen per E-Mail erreichbar.",
  excluded: "Wer keine erhält und warum",
  excludedNone: "Alle Ansprechpartner der Typen Standard und Buchhaltung erhalten Rechnungen.",
  noCandidates: "Es gibt keinen Ansprechpartner der Typen Standard und Buchhaltung.",
  manage: "Ansprechpartner bearbeiten",
  contactData: "Ihre Kontaktdaten",
  attention: "z.Hd.-Zeile auf Rechnungen",
  line: "Auf Ihren Rechnungen steht:",
  omitted: (names: string) => `Ohne Platz in der Zeile: ${names}`,
  noLine: "Auf Ihren Rechnungen steht kein Name.",
  suppressed: "Auf Ihren Wunsch steht auf Ihren Rechnungen kein Name.",
  orderedBy: (address: string) => `Beauftragt von ${address}`,
  orderHint: "Bitte bestätigen Sie den Auftrag mit der E-Mail-Adresse aus Ihren Kontaktdaten.",
  email: "E-Mail-Adresse Ihrer Kontaktdaten",
  suppress: "Keinen Namen mehr aufdrucken",
  lift: "Namen wieder aufdrucken",
  isSuppressed: "Auf Rechnungen steht ab jetzt kein Name mehr.",
  isLifted: "Auf Rechnungen stehen wieder Namen.",
};
const en: typeof de = {
  title: "Invoices",
  recipients: "Who receives invoices by e-mail",
  postal: "Your invoices come by post",
  postalHint: "No contact can be reached for invoices by e-mail.",
  excluded: "Who does not and why",
  excludedNone: "All contacts of the types Standard and Accounting receive invoices.",
  noCandidates: "There is no contact of the types Standard and Accounting.",
  manage: "Edit contacts",
  contactData: "Your contact data",
  attention: "Attention line on invoices",
  line: "Your invoices are marked:",
  omitted: (names) => `No room in the line for: ${names}`,
  noLine: "Your invoices carry no name.",
  suppressed: "As you requested, your invoices carry no name.",
  orderedBy: (address) => `Ordered by ${address}`,
  orderHint: "Please confirm the order with the e-mail address of your contact data.",
  email: "E-mail address of your contact data",
  suppress: "Print no name any more",
  lift: "Print names again",
  isSuppressed: "From now on invoices carry no name.",
  isLifted: "Invoices carry names again.",
};
const TEXTS: Record<Language, typeof de> = { de, en };

async function show(visit: Visit, problem?: Problem): Promise<Reply> {
  const t = TEXTS[visit.language];
  const { customerNumber } = visit.session;
  const [{ resolutions }, { contacts }, { customer }] = await Promise.all([
    visit.contacts.batchResolveRecipients({ customerNumber, purposes: [Purpose.INVOICE] }),
    visit.contacts.listContacts({ customerNumber, pageSize: 1000 }),
    visit.contacts.getCustomer({ customerNumber }),
  ]);
  const resolution = resolutions[0]!;
  const body = html`<h1>${t.title}</h1>
    ${problem && !isAboutAddress(problem) && html`<div class="notice error" role="alert"><p>${problem.text}</p></div>`}
    ${recipients(visit, resolution)}
    ${exclusions(visit, resolution, contacts)}
    ${attentionLine(visit, resolution, customer!, problem)}`;
  return page(t.title, body, problem ? 422 : 200);
}

function recipients(visit: Visit, resolution: Resolution): Html {
  const t = TEXTS[visit.language];
  if (resolution.delivery === Delivery.POSTAL) {
    return html`<section class="card"><h2>${t.postal}</h2><p>${t.postalHint}</p></section>`;
  }
  const items = resolution.recipients.map(
    ({ displayName, email, reason }) => html`<li><strong>${displayName || t.contactData}</strong>
      <span class="address">${email}</span> <small class="muted block">${recipientReason(reason, visit.language)}</small></li>`,
  );
  return html`<section class="card"><h2>${t.recipients}</h2><ul class="people">${items}</ul></section>`;
}

function exclusions(visit: Visit, resolution: Resolution, contacts: Contact[]): Html {
  const t = TEXTS[visit.language];
  const names = new Map(contacts.map(({ contactId, displayName }) => [contactId, displayName]));
  const items = resolution.exclusions.map(
    ({ contactId, reason }) => html`<li><strong>${names.get(contactId) ?? t.contactData}</strong>
      <small class="muted block">${exclusionReason(reason, visit.language)}</small></li>`,
  );
  const none = resolution.recipients.length > 0 ? t.excludedNone : t.noCandidates;
  return html`<section class="card"><h2>${t.excluded}</h2>
    ${items.length > 0 ? html`<ul class="people">${items}</ul>` : html`<p>${none}</p>`}
    <p><a href="${link(visit, "/contacts")}">${t.manage}</a></p>
  </section>`;
}

function attentionLine(visit: Visit, resolution: Resolution, customer: Customer, problem?: Problem): Html {
  const t = TEXTS[visit.language];
  const order = customer.attentionLine;
  const isSuppressed = order?.suppressed ?? false;
  const omitted = resolution.attentionLineOmittedNames;
  const line = html`<p>${t.line}</p><p class="sample-line" lang="de">${resolution.attentionLine}</p>
    ${omitted.length > 0 && html`<p class="muted">${t.omitted(omitted.join(", "))}</p>`}`;
  const suppressed = html`<p>${t.suppressed}</p>`;
  const inputs = new Inputs(
    problem && isAboutAddress(problem) ? [{ input: "orderedByEmail", text: errorText(problem) }] : [],
  );
  return html`<section class="card" id="attention-line"><h2>${t.attention}</h2>
    ${isSuppressed ? suppressed : resolution.attentionLine ? line : html`<p>${t.noLine}</p>`}
    ${order?.orderTime && html`<p class="muted">${t.orderedBy(order.orderedByEmail)}, ${time(order.orderTime, visit.language)}</p>`}
    <form method="post">
      ${csrfField(visit)}
      <input type="hidden" name="etag" value="${customer.etag}">
      <input type="hidden" name="requestId" value="${randomUUID()}">
      <input type="hidden" name="suppressed" value="${isSuppressed ? "no" : "yes"}">
      ${inputs.text({
        id: "orderedByEmail",
        label: t.email,
        hint: t.orderHint,
        value: visit.form.get("orderedByEmail") ?? "",
        type: "email",
        autocomplete: "email",
      })}
      <button class="button">${isSuppressed ? t.lift : t.suppress}</button>
    </form>
  </section>`;
}

async function setAttentionLine(visit: Visit): Promise<Reply> {
  const t = TEXTS[visit.language];
  const suppressed = visit.form.get("suppressed") === "yes";
  try {
    await visit.contacts.setAttentionLine({
      customerNumber: visit.session.customerNumber,
      suppressed,
      orderedByEmail: visit.form.get("orderedByEmail")?.trim() ?? "",
      etag: visit.form.get("etag") ?? "",
      requestId: visit.form.get("requestId") ?? "",
    });
    return redirect(visit, "/invoices", { kind: "success", text: suppressed ? t.isSuppressed : t.isLifted });
  } catch (error) {
    return show(visit, problemOf(error, visit.language));
  }
}

function isAboutAddress({ reason, violations }: Problem): boolean {
  return (
    reason === "ORDERING_ADDRESS_NOT_ON_FILE" || violations.some(({ field }) => field === "ordered_by_email")
  );
}

function errorText(problem: Problem): string {
  return problem.violations.map(({ text }) => text).join(" ") || problem.text;
}
