// A one-time code for the phone: the caller reads it out to prove who they are. The demo's login knows the
// customer only, so that the person says who they are; a portal with logins of persons uses the contact who
// is logged in, and does not ask.

import { randomUUID } from "node:crypto";
import type { CreateOneTimeCodeResponse } from "../../gen/contact/v1/phone_pb.ts";
import { html, type Html } from "../html.ts";
import type { Language } from "../language.ts";
import { csrfField } from "../layout.ts";
import { problemOf } from "../problems.ts";
import { link, page, redirect, type Reply, type Screen, type Visit } from "../screen.ts";
import { time } from "../time.ts";

const PATH = "/one-time-code";

const screen: Screen = {
  navigation: { order: 50, path: PATH, label: { de: "Code fürs Telefon", en: "Code for the phone" } },
  routes: [
    { method: "GET", path: PATH, handle: show },
    { method: "POST", path: PATH, handle: create },
  ],
};
export default screen;

const de = {
  title: "Code fürs Telefon",
  intro:
    "Fragt unser Kundenservice am Telefon nach einem Nachweis, dass Sie es sind, nennen Sie dort statt des Telefonpassworts diesen Code.",
  who: "Wer telefoniert?",
  whoHint:
    "In dieser Demo ist nur die Kundennummer angemeldet. Ein Portal mit persönlichen Zugängen fragt danach nicht.",
  create: "Code anzeigen",
  noContact: "Legen Sie zuerst einen Ansprechpartner an.",
  contacts: "Zu den Ansprechpartnern",
  code: "Ihr Code",
  of: "Er gilt für",
  until: "bis",
  once: "Er kann nur einmal verwendet werden. Ein neuer Code macht ihn ungültig.",
  warning: "Nennen Sie den Code nur, wenn Sie selbst bei uns angerufen haben. Wir rufen Sie nicht an, um Sie nach einem Code zu fragen.",
  another: "Neuen Code anzeigen",
};
const en: typeof de = {
  title: "Code for the phone",
  intro:
    "If our customer service asks you on the phone to prove who you are, read out this code instead of the phone password.",
  who: "Who is on the phone?",
  whoHint: "In this demo, only the customer number is logged in. A portal with personal logins does not ask.",
  create: "Show code",
  noContact: "Please add a contact first.",
  contacts: "To the contacts",
  code: "Your code",
  of: "It is valid for",
  until: "until",
  once: "It can be used only once. A new code makes it invalid.",
  warning: "Read out the code only if you called us yourself. We never call you to ask for a code.",
  another: "Show a new code",
};
const TEXTS: Record<Language, typeof de> = { de, en };

async function show(visit: Visit): Promise<Reply> {
  const t = TEXTS[visit.language];
  const { customerNumber } = visit.session;
  const { contacts } = await visit.contacts.listContacts({ customerNumber, pageSize: 1000 });
  const options = contacts.map(
    ({ contactId, displayName }) => html`<option value="${contactId}">${displayName}</option>`,
  );
  const form = html`<form method="post" action="${link(visit, PATH)}">
    ${csrfField(visit)}
    <input type="hidden" name="requestId" value="${randomUUID()}">
    <div class="field">
      <label for="contactId">${t.who}</label>
      <select id="contactId" name="contactId" aria-describedby="contactId-hint">${options}</select>
      <p class="hint" id="contactId-hint">${t.whoHint}</p>
    </div>
    <button class="button primary">${t.create}</button>
  </form>`;
  const noContact = html`<p>${t.noContact}</p>
    <p><a class="button" href="${link(visit, "/contacts")}">${t.contacts}</a></p>`;
  return page(t.title, section(visit, contacts.length > 0 ? form : noContact));
}

/** The same form again, as a reload sends it, shows the same code: its request has an id. */
async function create(visit: Visit): Promise<Reply> {
  const contactId = visit.form.get("contactId") ?? "";
  const { customerNumber } = visit.session;
  try {
    const [created, { contact }] = await Promise.all([
      visit.contacts.createOneTimeCode({
        customerNumber,
        contactId,
        requestId: visit.form.get("requestId") ?? "",
      }),
      visit.contacts.getContact({ customerNumber, contactId }),
    ]);
    return page(TEXTS[visit.language].title, section(visit, code(visit, created, contact?.displayName ?? "")));
  } catch (error) {
    return redirect(visit, PATH, { kind: "error", text: problemOf(error, visit.language).text });
  }
}

function code(visit: Visit, created: CreateOneTimeCodeResponse, name: string): Html {
  const t = TEXTS[visit.language];
  const { code, expireTime } = created;
  // In two groups, as it is read out.
  const spoken = `${code.slice(0, 3)} ${code.slice(3)}`;
  return html`<h2>${t.code}</h2>
    <p class="secret" id="one-time-code" translate="no">${spoken}</p>
    <p>${t.of} <strong>${name}</strong>${expireTime && html` ${t.until} ${time(expireTime, visit.language)}`}. ${t.once}</p>
    <p class="notice warning">${t.warning}</p>
    <p><a class="button" href="${link(visit, PATH)}">${t.another}</a></p>`;
}

function section(visit: Visit, content: Html): Html {
  const t = TEXTS[visit.language];
  return html`<h1>${t.title}</h1>
    <p class="intro">${t.intro}</p>
    <section class="card narrow">${content}</section>`;
}
