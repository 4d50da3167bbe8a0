#!/usr/bin/env node
// Lists the recipients of a customer for a purpose. Loads the .proto files, without generated code.
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

// The content of grpc-status-details-bin: google.rpc.Status with an ErrorInfo.
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

// Part of the contract: balances requests over all addresses of the service, and retries a read once
// if its instance is unavailable. A client repeats a write itself, with the same request_id.
const serviceConfig = readFileSync(new URL("proto/contact/v1/service_config.json", root), "utf8");

// Use TLS for a service on another machine: grpc.credentials.createSsl().
const service = new ContactService(options.target, grpc.credentials.createInsecure(), {
  "grpc.service_config": serviceConfig,
  // By default the backoff between connection attempts grows to two minutes.
  "grpc.max_reconnect_backoff_ms": 2000,
});

// All requests except health and reflection need a token.
const metadata = new grpc.Metadata();
if (options.token) {
  metadata.set("authorization", `Bearer ${options.token}`);
}

const request = {
  customer_number: positionals[0],
  purpose: `PURPOSE_${options.purpose.toUpperCase().replaceAll("-", "_")}`,
};
// Always set a deadline: without one a request may wait forever.
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
  const contactData = "(the customer's contact data)";
  console.log(`delivery: ${resolution.delivery.replace("DELIVERY_", "")}`);
  for (const { display_name, email, reason } of resolution.recipients) {
    console.log(`recipient: ${display_name || contactData} <${email}>, ${reason.replace("RECIPIENT_REASON_", "")}`);
  }
  for (const { contact_id, reason } of resolution.exclusions) {
    console.log(`excluded: ${contact_id || contactData}, ${reason.replace("EXCLUSION_REASON_", "")}`);
  }
  if (resolution.attention_line) {
    console.log(`attention line: ${resolution.attention_line}`);
  }
}

// Returns the error in one line. Programs compare the reason; the text is for people.
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
