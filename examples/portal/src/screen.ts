// The parts of a screen. Each file of src/screens exports one as its default, and is found by
// src/router.ts: a screen more is a file more.

import type { Html } from "./html.ts";
import type { Language, Text } from "./language.ts";
import type { ContactClient } from "./rpc.ts";
import type { Flash, Session } from "./sessions.ts";
import type { Settings } from "./settings.ts";

export interface Screen {
  /** The entry of the navigation. Absent: reached by links of other screens. */
  navigation?: { order: number; path: string; label: Text };
  routes: Route[];
}

export interface Route {
  method: "GET" | "POST";
  /** Path after the language, such as "/contacts/:contactId". */
  path: string;
  /** true: shown before the login as well. */
  isPublic?: boolean;
  handle: (visit: Visit) => Promise<Reply> | Reply;
}

/** A request of a browser. */
export interface Visit {
  settings: Settings;
  language: Language;
  /** Path after the language. */
  path: string;
  /** Values of the route's parameters. */
  parameters: Record<string, string>;
  /** Fields of a sent form; its CSRF token has been checked. */
  form: URLSearchParams;
  query: URLSearchParams;
  csrfToken: string;
  /** true: the script asks for a part of the page. */
  wantsFragment: boolean;
  /** The logged-in customer. Only public routes are reached without one. */
  session: Session;
  isLoggedIn: boolean;
  contacts: ContactClient;
  navigation: NonNullable<Screen["navigation"]>[];
  logIn: (customerNumber: string) => void;
  logOut: () => void;
}

export type Reply =
  | { kind: "page"; status: number; title: string; body: Html }
  | { kind: "fragment"; body: Html }
  | { kind: "redirect"; path: string };

/** A whole page. The layout adds header, navigation and messages. */
export function page(title: string, body: Html, status = 200): Reply {
  return { kind: "page", status, title, body };
}

/** A part of a page, for the script. */
export function fragment(body: Html): Reply {
  return { kind: "fragment", body };
}

/** Leads to another page (303), after a form was processed. `path` is the path after the language. */
export function redirect(visit: Visit, path: string, flash?: Flash): Reply {
  if (flash) {
    visit.session.flashes.push(flash);
  }
  return { kind: "redirect", path: link(visit, path) };
}

/** Returns the path of a page in the language of the visit. */
export function link(visit: Pick<Visit, "language">, path: string): string {
  return `/${visit.language}${path}`;
}

/** A form that no page of the portal renders. */
export class MalformedForm extends Error {}
