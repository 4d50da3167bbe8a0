// Tests of a consumer against a real contact service, over JSON.
//
//     CONTACT_SERVICE_BIN=contact-service npm test

import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, test } from "node:test";

const CONTACT = "contact.v1.ContactService";
const TESTING = "contact.testing.v1.TestingService";

interface Started {
  http: string;
  token: string;
}

interface Contact {
  contactId: string;
  email?: string;
  pendingEmail?: { email: string };
}

interface Mail {
  to: string;
  subject: string;
  link: string;
}

let server: ChildProcess;
let started: Started;
let contactId: string;

async function call<T>(service: string, method: string, request: object): Promise<T> {
  const response = await fetch(`${started.http}/${service}/${method}`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${started.token}` },
    body: JSON.stringify(request),
  });
  const body = await response.json();
  if (!response.ok) {
    const info = body.details.find((d: { type: string }) => d.type === "google.rpc.ErrorInfo");
    throw new Error(info.debug.reason);
  }
  return body as T;
}

async function contact(): Promise<Contact> {
  const request = { customer_number: "K-1", contact_id: contactId };
  return (await call<{ contact: Contact }>(CONTACT, "GetContact", request)).contact;
}

async function confirmationToken(): Promise<string> {
  const request = { to: "anna@example.com" };
  const { mails } = await call<{ mails: Mail[] }>(TESTING, "ListMails", request);
  return mails[0].link.split("#")[1];
}

beforeEach(async () => {
  const binary = process.env.CONTACT_SERVICE_BIN ?? "contact-service";
  server = spawn(binary, ["serve", "--testing"], { stdio: ["ignore", "pipe", "ignore"] });
  const [line] = await once(createInterface(server.stdout!), "line");
  started = JSON.parse(line);
  const customer = { customer_number: "K-1" };
  await call(CONTACT, "UpdateCustomer", { customer, allow_missing: true });
  const created = await call<{ contact: Contact }>(CONTACT, "CreateContact", {
    customer_number: "K-1",
    email: "anna@example.com",
    contact: { display_name: "Anna", types: ["CONTACT_TYPE_STANDARD"] },
  });
  contactId = created.contact.contactId;
});

afterEach(async () => {
  server.kill();
  await once(server, "exit");
});

test("the link of the mail confirms the address", async () => {
  await call(CONTACT, "ConfirmEmail", { token: await confirmationToken() });
  assert.equal((await contact()).email, "anna@example.com");
});

test("the address expires after seven days", async () => {
  assert.equal((await contact()).pendingEmail?.email, "anna@example.com");
  await call(TESTING, "AdvanceClock", { by: `${7 * 24 * 3600}s` });
  assert.equal((await contact()).pendingEmail, undefined);
  const confirm = call(CONTACT, "ConfirmEmail", { token: await confirmationToken() });
  await assert.rejects(confirm, /CONFIRMATION_EXPIRED/);
});
