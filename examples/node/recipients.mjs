#!/usr/bin/env node
// Asks who is written to for a purpose, from the .proto files, without generated code.
//
//     npm ci
//     export CONTACT_SERVICE_TOKEN="$(contact-service token --sub me --scope recipients.resolve)"
//     node recipients.mjs K-1001 --purpose invoice

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";
import protobuf from "protobufjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    purpose: { type: "string", default: "invoice" },
    target: { type: "string", default: "127.0.0.1:50051" },
    token: { type: "string", default: process.env.CONTACT_SERVICE_TOKEN ?? "" },
  },
});
if (positionals.length !== 1) {
  console.error("usage: recipients.mjs CUSTOMER_NUMBER [--purpose P] [--target HOST:PORT] [--token T]");
  process.exit(2);
}

const root = new URL("../../", import.meta.url);
const definition = protoLoader.loadSync("contact/v1/contact_service.proto", {
  includeDirs: ["proto", "third_party/proto"].map((dir) => fileURLToPath(new URL(dir, root))),
  keepCase: true, // names as in the contract
  enums: String,
  longs: String,
  defaults: true,
});
const { ContactService } = grpc.loadPackageDefinition(definition).contact.v1;

// What an error carries in grpc-status-details-bin: google.rpc.Status with an ErrorInfo.
const details = protobuf.Root.fromJSON({
  nested: {
    Any: { fields: { type_url: { type: "string", id: 1 }, value: { type: "bytes", id: 2 } } },
    Status: {
      fields: {
        code: { type: "int32", id: 1 },
        message: { type: "string", id: 2 },
        details: { rule: "repeated", type: "Any", id: 3 },
      },
    },
    ErrorInfo: {
      fields: {
        reason: { type: "string", id: 1 },
        domain: { type: "string", id: 2 },
        metadata: { keyType: "string", type: "string", id: 3 },
      },
    },
  },
});

// Comes with the contract: spreads the calls over all addresses of the service, and repeats a read
// once whose instance went away. A write is repeated by its caller, with the same request_id.
const serviceConfig = readFileSync(new URL("proto/contact/v1/service_config.json", root), "utf8");

// A service on another machine speaks TLS: grpc.credentials.createSsl().
const service = new ContactService(options.target, grpc.credentials.createInsecure(), {
  "grpc.service_config": serviceConfig,
  // An instance that was restarted is found again soon; else the pause grows to two minutes.
  "grpc.max_reconnect_backoff_ms": 2000,
});

// Every request needs a token but health and reflection.
const metadata = new grpc.Metadata();
if (options.token) {
  metadata.set("authorization", `Bearer ${options.token}`);
}

const request = {
  customer_number: positionals[0],
  purpose: `PURPOSE_${options.purpose.toUpperCase()}`,
};
// Always give a deadline; without one a call may wait for ever.
service.ResolveRecipients(request, metadata, { deadline: Date.now() + 5000 }, (error, response) => {
  if (error) {
    console.error(describe(error));
    process.exitCode = 1;
  } else {
    show(response.resolution);
  }
  service.close();
});

function show(resolution) {
  const nobody = "(the customer's contact data)";
  console.log(`delivery: ${resolution.delivery.replace("DELIVERY_", "")}`);
  for (const { display_name, email, reason } of resolution.recipients) {
    console.log(`recipient: ${display_name || nobody} <${email}>, ${reason.replace("RECIPIENT_REASON_", "")}`);
  }
  for (const { contact_id, reason } of resolution.exclusions) {
    console.log(`left out: ${contact_id || nobody}, ${reason.replace("EXCLUSION_REASON_", "")}`);
  }
  if (resolution.attention_line) {
    console.log(`attention line: ${resolution.attention_line}`);
  }
}

// The refusal in one line. Programs act upon the reason; the text is for people.
function describe(error) {
  const code = grpc.status[error.code];
  for (const bytes of error.metadata.get("grpc-status-details-bin")) {
    for (const { type_url, value } of details.lookupType("Status").decode(bytes).details) {
      if (type_url.endsWith("/google.rpc.ErrorInfo")) {
        const info = details.lookupType("ErrorInfo").decode(value);
        return `${code} ${info.reason} (${info.domain}): ${error.details}`;
      }
    }
  }
  return `${code}: ${error.details}`;
}
