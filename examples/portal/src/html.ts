// Templates that escape by default: every value of html`…` is escaped unless it is HTML itself.

export type Fragment = Html | string | number | false | null | undefined | readonly Fragment[];

/** HTML that is safe to send. Only html`…` and its helpers create it. */
export class Html {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  toString(): string {
    return this.#text;
  }
}

/** Returns HTML from a template. Values belong into texts and into quoted attributes. */
export function html(texts: TemplateStringsArray, ...values: Fragment[]): Html {
  return new Html(texts.map((text, index) => text + render(values[index])).join(""));
}

/** Returns an attribute if `value` is a text or true, and nothing otherwise. */
export function attribute(name: string, value: string | boolean | undefined): Html {
  if (value === undefined || value === false) {
    return new Html("");
  }
  return new Html(value === true ? ` ${name}` : ` ${name}="${escape(value)}"`);
}

export function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function render(value: Fragment): string {
  if (value instanceof Html) {
    return value.toString();
  }
  if (Array.isArray(value)) {
    return value.map(render).join("");
  }
  return typeof value === "string" || typeof value === "number" ? escape(String(value)) : "";
}
