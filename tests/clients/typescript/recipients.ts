// Resolves the recipients of an invoice with generated TypeScript stubs.
//
// Usage: node recipients.js TARGET CUSTOMER_NUMBER (the token is in CONTACT_SERVICE_TOKEN)

import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ContactService } from "./contact/v1/contact_service_pb.js";
import { ErrorReason } from "./contact/v1/errors_pb.js";
import { Purpose, RecipientReason } from "./contact/v1/recipients_pb.js";
import { ErrorInfoSchema } from "./google/rpc/error_details_pb.js";

const [target, customerNumber] = process.argv.slice(2);
const token = process.env.CONTACT_SERVICE_TOKEN;

const client = createClient(ContactService, createGrpcTransport({ baseUrl: `http://${target}` }));
try {
  const { resolution } = await client.resolveRecipients(
    { customerNumber, purpose: Purpose.INVOICE },
    { headers: token ? { authorization: `Bearer ${token}` } : {}, timeoutMs: 10_000 },
  );
  for (const { displayName, email, reason } of resolution?.recipients ?? []) {
    console.log(`recipient: ${displayName} <${email}>, ${RecipientReason[reason]}`);
  }
} catch (error) {
  console.error(describe(ConnectError.from(error)));
  process.exitCode = 1;
}

/** Returns an error in one line, with the reason that is known to the stubs. */
function describe(error: ConnectError): string {
  const code = Code[error.code].replace(/(?<=[a-z])[A-Z]/g, "_$&").toUpperCase();
  for (const info of error.findDetails(ErrorInfoSchema)) {
    const reason = ErrorReason[ErrorReason[info.reason as keyof typeof ErrorReason]];
    return `${code} ${reason} (${info.domain}): ${error.rawMessage}`;
  }
  return `${code}: ${error.rawMessage}`;
}
