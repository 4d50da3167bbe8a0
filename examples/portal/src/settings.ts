// The settings of the portal: environment variables, each with a default for trying out.

import path from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of the portal, for its files and for the default of the key. */
export const PORTAL_DIR = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "..");

const LOOPBACK = new Set(["127.0.0.1", "::1", "localhost"]);

export interface Settings {
  host: string;
  port: number;
  /** Address that browsers use. With https, cookies are Secure and HSTS is sent. */
  origin: URL;
  /** Address of the contact service: http:// or https://. */
  serviceUrl: string;
  /** The development key of `serve --demo`, with which the demo login signs tokens. */
  keyFile: string;
  /** Name of the provider in the header. */
  brand: string;
  /** true: responses name the RPCs that they took in the header `x-portal-rpcs`. */
  reportRpcs: boolean;
}

/** A setting that prevents the start; its message is one line for the operator. */
export class SettingError extends Error {}

export function readSettings(env: NodeJS.ProcessEnv): Settings {
  // The only login of this example signs in every visitor as any customer. Its replacement is the
  // place where a portal for real customers begins: src/tokens.ts and src/screens/login.ts.
  if (env.NODE_ENV === "production") {
    throw new SettingError(
      "NODE_ENV=production: the demo login accepts every visitor; replace it by your identity provider first",
    );
  }
  const [, host, port] = /^\[?([^[\]]+)\]?:(\d+)$/.exec(env.PORTAL_ADDR ?? "127.0.0.1:3000") ?? [];
  if (!host || !port) {
    throw new SettingError("PORTAL_ADDR: must be HOST:PORT");
  }
  if (!LOOPBACK.has(host) && env.PORTAL_DEMO_ON_NETWORK !== "yes") {
    throw new SettingError(
      "PORTAL_ADDR: the demo login is for loopback only; in a container whose port is published on loopback, set PORTAL_DEMO_ON_NETWORK=yes",
    );
  }
  return {
    host,
    port: Number(port),
    origin: parseUrl("PORTAL_ORIGIN", env.PORTAL_ORIGIN ?? `http://${host}:${port}`),
    serviceUrl: parseUrl("CONTACT_SERVICE_URL", env.CONTACT_SERVICE_URL ?? "http://127.0.0.1:50051").origin,
    keyFile: path.resolve(env.PORTAL_KEY_FILE ?? path.join(PORTAL_DIR, "../../data/development-jwt-key.pem")),
    brand: env.PORTAL_BRAND ?? "Muster Hosting",
    reportRpcs: env.PORTAL_REPORT_RPCS === "yes",
  };
}

function parseUrl(name: string, text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "http:" && url?.protocol !== "https:") {
    throw new SettingError(`${name}: must be an http or https URL`);
  }
  return url;
}
