// The changes of another person, with a choice for each field that both changed.

import { attribute, html, type Fragment, type Html } from "../html.ts";
import { CONTACT_TYPES, LOCALES, SALUTATIONS } from "../labels.ts";
import type { Language, Text } from "../language.ts";
import { link, type Visit } from "../screen.ts";
import type { Difference } from "./conflict.ts";
import { fieldLabel, FORM_TEXTS } from "./form_texts.ts";

export function conflictPanel(visit: Visit, differences: Difference[], action: string): Html {
  const t = FORM_TEXTS[visit.language].conflict;
  const rows = differences.map((difference) => row(visit, difference));
  const table = html`<table class="responsive" role="table">
    <thead role="rowgroup"><tr role="row">
      <th scope="col" role="columnheader">${t.field}</th>
      <th scope="col" role="columnheader">${t.before}</th>
      <th scope="col" role="columnheader">${t.theirs}</th>
      <th scope="col" role="columnheader">${t.mine}</th>
    </tr></thead>
    <tbody role="rowgroup">${rows}</tbody>
  </table>`;
  return html`<section class="notice warning" id="conflict" role="alert" tabindex="-1" autofocus>
    <h2>${t.title}</h2>
    <p>${t.intro}</p>
    ${rows.length > 0 ? table : html`<p>${t.noVisible}</p>`}
    <div class="actions">
      <button class="button primary" name="action" value="save">${t.save}</button>
      <a class="button" href="${link(visit, action)}">${t.discard}</a>
    </div>
  </section>`;
}

function row(visit: Visit, difference: Difference): Html {
  const { language } = visit;
  const t = FORM_TEXTS[language].conflict;
  const label = fieldLabel(FORM_TEXTS[language], difference.field);
  const show = (values: string[]) => display(difference.field, values, language);
  const mine = difference.mine
    ? html`<p>${show(difference.mine)}</p>
      <fieldset class="group">
        <legend class="visually-hidden">${t.choice(label)}</legend>
        ${choice(difference.field, "mine", t.keepMine, true)}
        ${choice(difference.field, "theirs", t.takeTheirs, false)}
      </fieldset>`
    : html`<span class="muted">${t.adopted}</span>`;
  return html`<tr role="row">
    <th scope="row" role="rowheader">${label}</th>
    <td role="cell" data-label="${t.before}">${show(difference.before)}</td>
    <td role="cell" data-label="${t.theirs}"><strong>${show(difference.theirs)}</strong></td>
    <td role="cell" data-label="${t.mine}">${mine}</td>
  </tr>`;
}

function choice(field: string, value: string, label: string, isChecked: boolean): Html {
  const checked = attribute("checked", isChecked);
  return html`<label class="choice"><input type="radio" name="choice.${field}" value="${value}"${checked}> <span>${label}</span></label>`;
}

function display(field: Difference["field"], values: string[], language: Language): Fragment {
  const t = FORM_TEXTS[language];
  const labels: Partial<Record<Difference["field"], Record<string, Text>>> = {
    types: Object.fromEntries(Object.entries(CONTACT_TYPES).map(([name, { label }]) => [name, label])),
    salutation: SALUTATIONS,
    locale: LOCALES,
  };
  if (field === "phonePassword") {
    const [state] = values;
    return (
      { set: t.password.isSet, generate: t.password.generate, clear: t.password.clear }[state ?? ""] ??
      t.password.isNotSet
    );
  }
  if (field === "invoiceEmail") {
    return { de: values.length ? "ja" : "nein", en: values.length ? "yes" : "no" }[language];
  }
  const texts = values.filter(Boolean).map((value) => labels[field]?.[value]?.[language] ?? value);
  return texts.join(", ") || t.conflict.empty;
}
