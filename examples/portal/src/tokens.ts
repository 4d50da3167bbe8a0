// Access tokens for the contact service. This is the demo's source: it signs tokens with the key that
// `contact-service serve` makes for development. A real portal returns the access token that its
// identity provider issued at the login, and renews it with the refresh token.

import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { readFile } from "node:fs/promises";
import { calculateJwkThumbprint, SignJWT } from "jose";
import type { Session } from "./sessions.ts";
import { SettingError } from "./settings.ts";

// The scopes of the screens, and no others.
const SCOPES =
  "contacts.read contacts.write customers.read customers.write recipients.resolve order_types.read";
const LIFETIME_SECONDS = 300;
const RENEW_BEFORE_MS = 60_000;

/** Returns the access token of a session. */
export type TokenSource = (session: Session) => Promise<string>;

/** The actor of the audit log and of reviews: with an identity provider, the id of the person. */
export function subjectOf(session: Session): string {
  return `portal-demo-${session.customerNumber}`;
}

/** Returns tokens that reach the session's customer only, by the claim `customer_number`. */
export async function developmentTokens(keyFile: string): Promise<TokenSource> {
  const { key, kid } = await readKey(keyFile);
  return async (session) => {
    const now = Date.now();
    if (!session.token || session.token.expireTime - now < RENEW_BEFORE_MS) {
      const text = await new SignJWT({ scope: SCOPES, customer_number: session.customerNumber })
        .setProtectedHeader({ alg: "EdDSA", kid })
        .setIssuer("contact-service-dev")
        .setAudience("contact-service")
        .setSubject(subjectOf(session))
        .setIssuedAt()
        .setExpirationTime(`${LIFETIME_SECONDS}s`)
        .sign(key);
      session.token = { text, expireTime: now + LIFETIME_SECONDS * 1000 };
    }
    return session.token.text;
  };
}

async function readKey(file: string): Promise<{ key: KeyObject; kid: string }> {
  try {
    const key = createPrivateKey(await readFile(file));
    const jwk = createPublicKey(key).export({ format: "jwk" });
    return { key, kid: await calculateJwkThumbprint(jwk) };
  } catch (error) {
    const cause = (error as NodeJS.ErrnoException).code ?? "not a private key";
    throw new SettingError(
      `PORTAL_KEY_FILE: ${file} cannot be read (${cause}); start contact-service serve --demo first, or name the key in its data folder`,
    );
  }
}
