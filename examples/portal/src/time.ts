// Times. The server does not know the reader's time zone: it writes the fallback with its name, and the
// script replaces it.

import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { html, type Html } from "./html.ts";
import type { Language } from "./language.ts";

const FALLBACK_ZONE = "Europe/Berlin";

export function time(timestamp: Timestamp, language: Language): Html {
  const date = timestampDate(timestamp);
  const format = new Intl.DateTimeFormat(language === "de" ? "de-DE" : "en-GB", {
    dateStyle: "medium",
    timeStyle: "short",
    timeZone: FALLBACK_ZONE,
  });
  return html`<time datetime="${date.toISOString()}">${format.format(date)} (${FALLBACK_ZONE})</time>`;
}
