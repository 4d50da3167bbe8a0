// The client of the contact service. One HTTP/2 connection serves all sessions; each request of a
// browser gets a client that adds its token, language and deadline to every RPC.

import type { DescMethodUnary } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, type Client, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ContactService } from "../gen/contact/v1/contact_service_pb.ts";
import type { Language } from "./language.ts";

export type ContactClient = Client<typeof ContactService>;

const DEADLINE_MS = 10_000;

export interface Caller {
  token: () => Promise<string>;
  language: Language;
  /** Names of the RPCs so far. */
  rpcs: string[];
}

export function connect(serviceUrl: string): Transport {
  return createGrpcTransport({ baseUrl: serviceUrl });
}

/** Returns a client for one request of a browser. */
export function clientFor(transport: Transport, caller: Caller): ContactClient {
  const callerTransport: Transport = {
    async unary(method, signal, timeoutMs, header, input, contextValues) {
      const headers = new Headers(header);
      headers.set("authorization", `Bearer ${await caller.token()}`);
      // The language of the texts in errors.
      headers.set("accept-language", caller.language);
      const send = () => {
        caller.rpcs.push(method.name);
        return transport.unary(method, signal, timeoutMs ?? DEADLINE_MS, headers, input, contextValues);
      };
      try {
        return await send();
      } catch (error) {
        // As proto/contact/v1/service_config.json asks: one retry of reads, and none of writes, which
        // may have been applied. A person repeats a write with the same request_id.
        if (isRead(method) && ConnectError.from(error).code === Code.Unavailable) {
          return send();
        }
        throw error;
      }
    },
    // The portal uses no streams.
    stream: transport.stream.bind(transport),
  };
  return createClient(ContactService, callerTransport);
}

function isRead(method: DescMethodUnary): boolean {
  return method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
}
