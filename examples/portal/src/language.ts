// The languages of the portal. Each module keeps its own texts, typed so that none is missing.

export const LANGUAGES = ["de", "en"] as const;
export type Language = (typeof LANGUAGES)[number];

/** A text in every language. */
export type Text = Record<Language, string>;

export function isLanguage(text: string | undefined): text is Language {
  return LANGUAGES.some((language) => language === text);
}

/** Returns the first language of `accept-language` that the portal has; German otherwise. */
export function preferredLanguage(acceptLanguage: string | undefined): Language {
  for (const entry of (acceptLanguage ?? "").split(",")) {
    const language = entry.trim().slice(0, 2).toLowerCase();
    if (isLanguage(language)) {
      return language;
    }
  }
  return "de";
}

/** Joins names as a sentence does: "A, B und C". */
export function list(language: Language, items: string[]): string {
  return new Intl.ListFormat(language === "de" ? "de-DE" : "en-GB").format(items);
}
