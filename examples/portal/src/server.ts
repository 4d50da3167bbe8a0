// HTTP: files, sessions, CSRF, security headers, and the screens.

import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import path from "node:path";
import { Code, type Transport } from "@connectrpc/connect";
import type { Html } from "./html.ts";
import { isLanguage, preferredLanguage, type Language } from "./language.ts";
import { layout } from "./layout.ts";
import { expiredForm, notFound, problemPage, unexpected } from "./messages.ts";
import { problemOf } from "./problems.ts";
import { clientFor } from "./rpc.ts";
import type { Match, Router } from "./router.ts";
import { link, MalformedForm, type Reply, type Visit } from "./screen.ts";
import { isSessionId, newSessionId, type Session, type Sessions } from "./sessions.ts";
import { PORTAL_DIR, type Settings } from "./settings.ts";
import type { TokenSource } from "./tokens.ts";

const MAX_FORM_BYTES = 1024 * 1024;
const FILES: Record<string, string> = {
  "/portal.css": "text/css; charset=utf-8",
  "/portal.js": "text/javascript; charset=utf-8",
  "/logo.svg": "image/svg+xml",
};
// connect-src is for the preview of the form, which the script fetches from the portal itself.
const CONTENT_SECURITY_POLICY =
  "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; " +
  "form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
// A login of someone who is not logged in; its session is never stored.
const NO_SESSION: Session = { customerNumber: "", createTime: 0, lastUseTime: 0, flashes: [] };

export interface Portal {
  settings: Settings;
  router: Router;
  sessions: Sessions;
  transport: Transport;
  tokens: TokenSource;
}

/** A request whose route is not known yet. */
interface Incoming {
  request: IncomingMessage;
  response: ServerResponse;
  language: Language;
  path: string;
  query: URLSearchParams;
  sessionId: string;
  session: Session | undefined;
  rpcs: string[];
}

export function createPortal(portal: Portal): Server {
  return createServer({ requestTimeout: 30_000 }, (request, response) => {
    serve(portal, request, response).catch((error: unknown) => {
      // The stack names code only: values of requests are in no message.
      console.error(`request failed: method=${request.method}`, error instanceof Error ? error.stack : "");
      if (!response.headersSent) {
        response.writeHead(500, { "content-type": "text/plain" });
      }
      response.end("Internal error\n");
    });
  });
}

async function serve(portal: Portal, request: IncomingMessage, response: ServerResponse): Promise<void> {
  setSecurityHeaders(portal.settings, response);
  const url = new URL(request.url ?? "/", portal.settings.origin);
  const contentType = FILES[url.pathname];
  if (contentType && request.method === "GET") {
    const file = await readFile(path.join(PORTAL_DIR, "public", url.pathname));
    response.writeHead(200, { "content-type": contentType, "cache-control": "public, max-age=300" });
    response.end(file);
    return;
  }
  if (url.pathname === "/healthz") {
    response.writeHead(200, { "content-type": "text/plain" }).end("ok\n");
    return;
  }
  const [, first, rest = ""] = /^\/([^/]*)(\/.*)?$/.exec(url.pathname) ?? [];
  if (!isLanguage(first) || rest === "" || rest === "/") {
    const language = isLanguage(first) ? first : preferredLanguage(request.headers["accept-language"]);
    send(response, 303, "", { location: `/${language}/contacts` });
    return;
  }
  const cookie = readCookie(request, cookieName(portal.settings));
  const sessionId = isSessionId(cookie) ? cookie : newSessionId();
  const incoming: Incoming = {
    request,
    response,
    language: first,
    path: rest,
    query: url.searchParams,
    sessionId,
    session: portal.sessions.find(sessionId),
    rpcs: [],
  };
  if (cookie !== sessionId) {
    setCookie(portal.settings, response, sessionId);
  }
  await serveScreen(portal, incoming);
}

async function serveScreen(portal: Portal, incoming: Incoming): Promise<void> {
  const { request, language, path: route, sessionId } = incoming;
  const isPost = request.method === "POST";
  const match = portal.router.find(isPost ? "POST" : "GET", route);
  const form = isPost ? await readForm(request) : new URLSearchParams();
  const visit = visitOf(portal, incoming, match, form);
  if (!match) {
    return reply(portal, incoming, visit, notFound(visit));
  }
  if (!match.route.isPublic && !incoming.session) {
    return reply(portal, incoming, visit, { kind: "redirect", path: link({ language }, "/login") });
  }
  if (isPost && !isOwnForm(portal, request, sessionId, form)) {
    return reply(portal, incoming, visit, expiredForm(visit));
  }
  let result: Reply;
  try {
    result = await match.route.handle(visit);
  } catch (error) {
    result = failure(visit, error);
  }
  return reply(portal, incoming, visit, result);
}

/** The page of an error that the screen itself does not show. */
function failure(visit: Visit, error: unknown): Reply {
  if (error instanceof MalformedForm) {
    return expiredForm(visit);
  }
  try {
    const problem = problemOf(error, visit.language);
    const status = { [Code.NotFound]: 404, [Code.Unavailable]: 503, [Code.DeadlineExceeded]: 503 };
    return problemPage(visit, problem, (status as Record<number, number>)[problem.code] ?? 500);
  } catch {
    console.error("screen failed:", error instanceof Error ? error.stack : "");
    return unexpected(visit);
  }
}

function visitOf(portal: Portal, incoming: Incoming, match: Match | undefined, form: URLSearchParams): Visit {
  const { response, language, session, sessionId, rpcs } = incoming;
  const current = session ?? { ...NO_SESSION, flashes: [] };
  return {
    settings: portal.settings,
    language,
    path: incoming.path,
    parameters: match?.parameters ?? {},
    form,
    query: incoming.query,
    csrfToken: portal.sessions.csrfToken(sessionId),
    wantsFragment: incoming.request.headers["x-portal-fragment"] === "preview",
    session: current,
    isLoggedIn: session !== undefined,
    contacts: clientFor(portal.transport, { language, rpcs, token: () => portal.tokens(current) }),
    navigation: portal.router.navigation,
    logIn: (customerNumber) => {
      portal.sessions.end(sessionId);
      setCookie(portal.settings, response, portal.sessions.create(customerNumber));
    },
    logOut: () => {
      portal.sessions.end(sessionId);
      setCookie(portal.settings, response, newSessionId());
    },
  };
}

function reply(portal: Portal, incoming: Incoming, visit: Visit, result: Reply): void {
  const headers: Record<string, string> = portal.settings.reportRpcs
    ? { "x-portal-rpcs": incoming.rpcs.join(",") }
    : {};
  if (result.kind === "redirect") {
    send(incoming.response, 303, "", { ...headers, location: result.path });
    return;
  }
  const body: Html = result.kind === "page" ? layout(visit, result.title, result.body) : result.body;
  send(incoming.response, result.kind === "page" ? result.status : 200, body.toString(), headers);
}

function send(response: ServerResponse, status: number, body: string, headers: Record<string, string>): void {
  // Pages contain personal data: no cache keeps them.
  response.writeHead(status, {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    ...headers,
  });
  response.end(body);
}

function setSecurityHeaders(settings: Settings, response: ServerResponse): void {
  response.setHeader("content-security-policy", CONTENT_SECURITY_POLICY);
  response.setHeader("x-content-type-options", "nosniff");
  response.setHeader("x-frame-options", "DENY");
  response.setHeader("referrer-policy", "same-origin");
  response.setHeader("cross-origin-opener-policy", "same-origin");
  response.setHeader("cross-origin-resource-policy", "same-origin");
  response.setHeader("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=()");
  if (settings.origin.protocol === "https:") {
    response.setHeader("strict-transport-security", "max-age=31536000");
  }
}

/** True if the form was rendered for this session, and sent by a page of the portal. */
function isOwnForm(
  portal: Portal,
  request: IncomingMessage,
  sessionId: string,
  form: URLSearchParams,
): boolean {
  const site = request.headers["sec-fetch-site"];
  return (
    (site === undefined || site === "same-origin") &&
    portal.sessions.isCsrfToken(sessionId, form.get("csrf") ?? "")
  );
}

async function readForm(request: IncomingMessage): Promise<URLSearchParams> {
  const isForm = request.headers["content-type"]?.startsWith("application/x-www-form-urlencoded");
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= MAX_FORM_BYTES) {
      chunks.push(chunk);
    }
  }
  // A form that is too large has no CSRF token, so it is rejected.
  return new URLSearchParams(isForm && size <= MAX_FORM_BYTES ? Buffer.concat(chunks).toString() : "");
}

// The prefix makes browsers accept the cookie over https only, for exactly this host.
function cookieName(settings: Settings): string {
  return settings.origin.protocol === "https:" ? "__Host-portal-session" : "portal-session";
}

function setCookie(settings: Settings, response: ServerResponse, id: string): void {
  const secure = settings.origin.protocol === "https:" ? "; Secure" : "";
  response.setHeader("set-cookie", `${cookieName(settings)}=${id}; Path=/; HttpOnly; SameSite=Lax${secure}`);
}

function readCookie(request: IncomingMessage, name: string): string | undefined {
  for (const pair of (request.headers.cookie ?? "").split(";")) {
    const [key, value] = pair.trim().split("=", 2);
    if (key === name) {
      return value;
    }
  }
  return undefined;
}
