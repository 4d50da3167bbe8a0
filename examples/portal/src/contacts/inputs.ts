// Inputs with label, hint and errors, connected for assistive technology.

import { attribute, html, type Fragment, type Html } from "../html.ts";
import type { FormError } from "./form_errors.ts";

export interface InputOptions {
  /** Id of the input. */
  id: string;
  name?: string;
  label: string;
  value: string;
  hint?: string | undefined;
  /** Id of a hint that is shown elsewhere. */
  hintId?: string;
  type?: string;
  autocomplete?: string;
  isLabelHidden?: boolean;
}

/** Renders inputs with the errors that belong to them. */
export class Inputs {
  readonly #errors: FormError[];

  constructor(errors: FormError[]) {
    this.#errors = errors;
  }

  text(options: InputOptions): Html {
    const { id, label, value, hint, type = "text", autocomplete = "off" } = options;
    return html`<div class="field${this.#invalidClass(id)}">
      <label for="${id}"${attribute("class", options.isLabelHidden && "visually-hidden")}>${label}</label>
      ${hintOf(id, hint)}
      <input id="${id}" name="${options.name ?? id}" type="${type}" value="${value}" autocomplete="${autocomplete}"
        ${this.#described(id, hint !== undefined, options.hintId)}>
      ${this.#messages(id)}
    </div>`;
  }

  textArea(options: InputOptions): Html {
    const { id, label, value, hint } = options;
    return html`<div class="field${this.#invalidClass(id)}">
      <label for="${id}">${label}</label>
      ${hintOf(id, hint)}
      <textarea id="${id}" name="${id}" rows="3" ${this.#described(id, hint !== undefined)}>
${value}</textarea>
      ${this.#messages(id)}
    </div>`;
  }

  select(options: InputOptions & { options: [value: string, label: string][] }): Html {
    const { id, label, value } = options;
    const entries = options.options.map(
      ([key, text]) => html`<option value="${key}"${attribute("selected", key === value)}>${text}</option>`,
    );
    return html`<div class="field${this.#invalidClass(id)}">
      <label for="${id}">${label}</label>
      <select id="${id}" name="${id}" ${this.#described(id, false)}>${entries}</select>
      ${this.#messages(id)}
    </div>`;
  }

  /** One checkbox. */
  checkbox(options: { id: string; label: string; isChecked: boolean; hint: string }): Html {
    const { id, label, isChecked, hint } = options;
    return html`<div class="field${this.#invalidClass(id)}">
      <label class="choice"><input type="checkbox" id="${id}" name="${id}" value="on"${attribute("checked", isChecked)}
        ${this.#described(id, true)}> <span>${label}</span></label>
      ${hintOf(id, hint)}
      ${this.#messages(id)}
    </div>`;
  }

  /** A group of checkboxes or radio buttons under one legend; `id` is that of the group. */
  group(options: { id: string; legend: Fragment; hint?: string | undefined; content: Fragment }): Html {
    const { id, legend, hint, content } = options;
    return html`<fieldset id="${id}" tabindex="-1" class="field group${this.#invalidClass(id)}"
      ${this.#described(id, hint !== undefined, undefined, false)}>
      <legend>${legend}</legend>
      ${hintOf(id, hint)}
      ${content}
      ${this.#messages(id)}
    </fieldset>`;
  }

  /** Choices of a group. */
  choices(
    type: "checkbox" | "radio",
    name: string,
    selected: string[],
    choices: { value: string; label: Fragment; hint?: string }[],
  ): Html[] {
    return choices.map(({ value, label, hint }) => {
      const checked = attribute("checked", selected.includes(value));
      return html`<label class="choice"><input type="${type}" name="${name}" value="${value}"${checked}>
        <span>${label}${hint && html` <small class="muted">${hint}</small>`}</span></label>`;
    });
  }

  #invalidClass(id: string): string {
    return this.#hasError(id) ? " invalid" : "";
  }

  #hasError(id: string): boolean {
    return this.#errors.some(({ input }) => input === id);
  }

  #messages(id: string): Html | false {
    const errors = this.#errors.filter(({ input }) => input === id);
    return (
      errors.length > 0 &&
      html`<p class="error" id="${id}-error">${errors.map(({ text }) => html`<span>${text}</span> `)}</p>`
    );
  }

  #described(id: string, hasHint: boolean, hintId?: string, isInput = true): Html {
    const hasError = this.#hasError(id);
    const ids = [hasHint && `${id}-hint`, hintId, hasError && `${id}-error`].filter(Boolean).join(" ");
    const invalid = attribute("aria-invalid", hasError && isInput && "true");
    return html`${attribute("aria-describedby", ids || undefined)}${invalid}`;
  }
}

function hintOf(id: string, hint: string | undefined): Html | false {
  return hint !== undefined && html`<p class="hint" id="${id}-hint">${hint}</p>`;
}
