// The contact form as HTML.

import type { OrderType } from "../../gen/contact/v1/order_type_pb.ts";
import { attribute, html, type Html } from "../html.ts";
import { CONTACT_TYPES, LOCALES, SALUTATIONS } from "../labels.ts";
import { csrfField } from "../layout.ts";
import { link, type Visit } from "../screen.ts";
import { conflictPanel } from "./conflict_view.ts";
import type { Difference } from "./conflict.ts";
import type { Draft, Field } from "./draft.ts";
import type { FormError } from "./form_errors.ts";
import { FORM_TEXTS, type FormTexts } from "./form_texts.ts";
import { Inputs } from "./inputs.ts";

const MAX_PHONE_NUMBERS = 10;

export interface FormView {
  title: string;
  /** Path after the language, to which the form is sent. */
  action: string;
  draft: Draft;
  orderTypes: OrderType[];
  errors: FormError[];
  /** Result of a check. Absent: not checked. */
  preview?: Html | undefined;
  /** Changes of another person. Absent: no conflict. */
  differences?: Difference[];
}

export function contactForm(visit: Visit, view: FormView): Html {
  const t = FORM_TEXTS[visit.language];
  const { draft, errors } = view;
  const inputs = new Inputs(errors);
  return html`
    <h1>${view.title}</h1>
    ${errors.length > 0 && errorSummary(t, errors)}
    <form method="post" action="${link(visit, view.action)}" class="contact-form" id="contact-form" novalidate>
      ${csrfField(visit)}
      <input type="hidden" name="requestId" value="${draft.requestId}">
      ${draft.base && html`<input type="hidden" name="base" value="${JSON.stringify(draft.base)}">`}
      ${
        // The first button is the one that Enter presses.
        html`<button class="visually-hidden" name="action" value="save" tabindex="-1" aria-hidden="true">${t.save}</button>`
      }
      ${view.differences && conflictPanel(visit, view.differences, view.action)}
      ${person(visit, inputs, draft)}
      ${responsibility(visit, inputs, draft)}
      ${reach(visit, inputs, draft)}
      ${phoneOrders(visit, inputs, view)}
      <section class="card preview" aria-labelledby="preview-title">
        <h2 id="preview-title">${t.preview}</h2>
        <div id="preview" aria-live="polite">${view.preview ?? html`<p class="muted">${t.previewHint}</p>`}</div>
      </section>
      <div class="actions">
        <button class="button primary" name="action" value="save">${t.save}</button>
        <button class="button" name="action" value="check">${t.check}</button>
        <a class="button plain" href="${link(visit, "/contacts")}">${t.cancel}</a>
      </div>
    </form>`;
}

/** Comes first and takes the focus, so that keyboard and screen reader begin with the errors. */
function errorSummary(t: FormTexts, errors: FormError[]): Html {
  const items = errors.map(({ input, text }) =>
    input ? html`<li><a href="#${input}">${labelOf(t, input)}: ${text}</a></li>` : html`<li>${text}</li>`,
  );
  return html`<div class="notice error" id="error-summary" role="alert" tabindex="-1" autofocus>
    <h2>${t.errors}</h2>
    <ul>${items}</ul>
    <p>${t.nothingStored}</p>
  </div>`;
}

function labelOf(t: FormTexts, input: string): string {
  const line = /^phoneNumbers-(\d+)$/.exec(input)?.[1];
  return line ? t.phoneNumber(Number(line) + 1) : t.fields[input as keyof FormTexts["fields"]];
}

function person(visit: Visit, inputs: Inputs, draft: Draft): Html {
  const t = FORM_TEXTS[visit.language];
  const text = (id: Field, autocomplete: string, hint?: string) =>
    inputs.text({ id, label: t.fields[id], value: draft.values[id][0] ?? "", hint, autocomplete });
  return html`<section class="card" aria-labelledby="person">
    <h2 id="person">${t.person}</h2>
    <div class="columns">
      ${inputs.select({
        id: "salutation",
        label: t.fields.salutation,
        value: draft.values.salutation[0] ?? "UNSPECIFIED",
        options: Object.entries(SALUTATIONS).map(([value, label]) => [value, label[visit.language]]),
      })}
      ${text("title", "off")}
      ${text("givenName", "off")}
      ${text("familyName", "off")}
    </div>
    ${text("displayName", "off", t.hints.displayName)}
    <div class="columns">
      ${text("position", "off")}
      ${text("department", "off")}
    </div>
  </section>`;
}

function responsibility(visit: Visit, inputs: Inputs, draft: Draft): Html {
  const t = FORM_TEXTS[visit.language];
  const choices = Object.entries(CONTACT_TYPES).map(([value, { label, hint }]) => ({
    value,
    label: label[visit.language],
    hint: hint[visit.language],
  }));
  return html`<section class="card" aria-labelledby="responsibility">
    <h2 id="responsibility">${t.responsibility}</h2>
    ${inputs.group({
      id: "types",
      legend: html`${t.fields.types} <span class="muted">(${t.required})</span>`,
      content: html`<div class="choices">${inputs.choices("checkbox", "types", draft.values.types, choices)}</div>`,
    })}
    ${inputs.checkbox({
      id: "invoiceEmail",
      label: t.fields.invoiceEmail,
      isChecked: draft.values.invoiceEmail[0] === "on",
      hint: t.hints.invoiceEmail,
    })}
  </section>`;
}

function reach(visit: Visit, inputs: Inputs, draft: Draft): Html {
  const t = FORM_TEXTS[visit.language];
  // One line more than there are numbers, so that one can be added without a script.
  const filled = draft.values.phoneNumbers;
  const lines = filled.at(-1) === "" ? filled : [...filled, ""];
  const numbers = lines.slice(0, MAX_PHONE_NUMBERS).map((value, line) =>
    inputs.text({
      id: `phoneNumbers-${line}`,
      name: "phoneNumbers",
      label: t.phoneNumber(line + 1),
      value,
      hintId: "phoneNumbers-hint",
      type: "tel",
      isLabelHidden: true,
    }),
  );
  return html`<section class="card" aria-labelledby="reach">
    <h2 id="reach">${t.reach}</h2>
    ${emailGroup(t, inputs, draft)}
    <fieldset class="field group">
      <legend>${t.fields.phoneNumbers}</legend>
      <p class="hint" id="phoneNumbers-hint">${t.hints.phoneNumbers}</p>
      <div id="phone-lines">${numbers}</div>
      <button class="button small" name="action" value="add-phone" id="add-phone"
        ${attribute("hidden", lines.length >= MAX_PHONE_NUMBERS)}>${t.addPhoneNumber}</button>
    </fieldset>
    ${inputs.select({
      id: "locale",
      label: t.fields.locale,
      value: draft.values.locale[0] ?? "de",
      options: Object.entries(LOCALES).map(([value, label]) => [value, label[visit.language]]),
    })}
  </section>`;
}

function emailGroup(t: FormTexts, inputs: Inputs, draft: Draft): Html {
  const newEmail = (label: string) =>
    inputs.text({ id: "newEmail", label, value: draft.newEmail, hint: t.hints.newEmail, type: "email" });
  const state = draft.base?.state;
  if (!state) {
    return newEmail(t.fields.email);
  }
  const { email, pendingEmail } = state;
  const choices = [
    { value: "keep", label: t.email.keep },
    { value: "set", label: t.email.set },
    ...(pendingEmail || draft.emailEdit === "cancel" ? [{ value: "cancel", label: t.email.cancel }] : []),
    ...(email || pendingEmail || draft.emailEdit === "remove"
      ? [{ value: "remove", label: t.email.remove }]
      : []),
  ];
  return inputs.group({
    id: "emailEdit",
    legend: t.fields.email,
    content: html`
      <dl class="facts">
        <div><dt>${t.email.current}</dt><dd>${email || t.email.none}</dd></div>
        ${pendingEmail && html`<div><dt>${t.email.pending}</dt><dd>${pendingEmail}</dd></div>`}
      </dl>
      <div class="choices">${inputs.choices("radio", "emailEdit", [draft.emailEdit], choices)}</div>
      ${newEmail(t.fields.newEmail)}`,
  });
}

function phoneOrders(visit: Visit, inputs: Inputs, view: FormView): Html {
  const t = FORM_TEXTS[visit.language];
  const { draft } = view;
  const lists = (["allowedOrderTypes", "deniedOrderTypes"] as const).map((field) => {
    const selected = draft.values[field];
    const choices = view.orderTypes
      .filter(({ code, retired }) => !retired || selected.includes(code))
      // The catalog has the provider's language only.
      .map(({ code, displayName }) => ({ value: code, label: html`<span lang="de">${displayName}</span>` }));
    return inputs.group({
      id: field,
      legend: t.fields[field],
      hint: field === "allowedOrderTypes" ? t.hints.allowedOrderTypes : undefined,
      content: html`<div class="choices">${inputs.choices("checkbox", field, selected, choices)}</div>`,
    });
  });
  return html`<section class="card" aria-labelledby="phone-orders">
    <h2 id="phone-orders">${t.phoneOrders}</h2>
    <p class="hint">${t.hints.restrictions}</p>
    ${passwordGroup(t, inputs, draft)}
    <div class="columns">${lists}</div>
    ${inputs.textArea({ id: "note", label: t.fields.note, value: draft.values.note[0] ?? "", hint: t.hints.note })}
  </section>`;
}

function passwordGroup(t: FormTexts, inputs: Inputs, draft: Draft): Html {
  const isSet = draft.base?.state.phonePassword === "set";
  const choices = [
    { value: "keep", label: draft.base ? t.password.keep : t.password.none },
    { value: "set", label: t.password.set },
    { value: "generate", label: t.password.generate },
    ...(isSet || draft.passwordEdit === "clear" ? [{ value: "clear", label: t.password.clear }] : []),
  ];
  return inputs.group({
    id: "passwordEdit",
    legend: t.fields.phonePassword,
    hint: t.hints.phonePassword,
    content: html`
      ${draft.base && html`<p>${isSet ? t.password.isSet : t.password.isNotSet}</p>`}
      <div class="choices">${inputs.choices("radio", "passwordEdit", [draft.passwordEdit], choices)}</div>
      ${inputs.text({ id: "newPassword", label: t.fields.newPassword, value: draft.newPassword })}`,
  });
}
