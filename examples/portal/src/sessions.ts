// Sessions in memory, and the CSRF tokens that are bound to them. A portal with several instances
// keeps its sessions in a shared store instead.

import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

const IDLE_MS = 30 * 60_000;
const LIFETIME_MS = 8 * 3_600_000;
const MAX_SESSIONS = 10_000;
const ID_FORM = /^[\w-]{43}$/;

/** A message that the next page shows once. */
export interface Flash {
  kind: "success" | "error";
  text: string;
  /** A generated phone password: shown once, kept nowhere else. */
  phonePassword?: string;
}

/** A logged-in customer. */
export interface Session {
  readonly customerNumber: string;
  readonly createTime: number;
  lastUseTime: number;
  flashes: Flash[];
  /** The access token of this session; `TokenSource` renews it. */
  token?: { text: string; expireTime: number };
}

export class Sessions {
  readonly #sessions = new Map<string, Session>();
  readonly #csrfKey = randomBytes(32);

  /** Creates a session under a new id, so that an id from before the login gains nothing. */
  create(customerNumber: string): string {
    this.#removeExpired();
    const id = newSessionId();
    const now = Date.now();
    this.#sessions.set(id, { customerNumber, createTime: now, lastUseTime: now, flashes: [] });
    return id;
  }

  find(id: string): Session | undefined {
    const session = this.#sessions.get(id);
    if (!session || isExpired(session)) {
      this.#sessions.delete(id);
      return undefined;
    }
    session.lastUseTime = Date.now();
    return session;
  }

  end(id: string): void {
    this.#sessions.delete(id);
  }

  /** Returns the token for all forms of this id, which also exists before the login. */
  csrfToken(id: string): string {
    return createHmac("sha256", this.#csrfKey).update(id).digest("base64url");
  }

  isCsrfToken(id: string, token: string): boolean {
    const expected = Buffer.from(this.csrfToken(id));
    const given = Buffer.from(token);
    return expected.length === given.length && timingSafeEqual(expected, given);
  }

  #removeExpired(): void {
    for (const [id, session] of this.#sessions) {
      if (isExpired(session) || this.#sessions.size >= MAX_SESSIONS) {
        this.#sessions.delete(id);
      }
    }
  }
}

export function newSessionId(): string {
  return randomBytes(32).toString("base64url");
}

export function isSessionId(text: string | undefined): text is string {
  return ID_FORM.test(text ?? "");
}

function isExpired(session: Session): boolean {
  const now = Date.now();
  return now - session.lastUseTime > IDLE_MS || now - session.createTime > LIFETIME_MS;
}
