// Errors of the contact service. Programs act upon the reason; people read the text of the service in
// their language. Connect decodes google.rpc.Status of `grpc-status-details-bin`.

import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  LocalizedMessageSchema,
} from "../gen/google/rpc/error_details_pb.ts";
import type { ErrorReason } from "../gen/contact/v1/errors_pb.ts";
import type { Language, Text } from "./language.ts";

/** Name of an ErrorReason, without its prefix. */
export type Reason = keyof typeof ErrorReason;

export interface Violation {
  /** Path in the request, such as "contact.phone_numbers[0]". */
  field: string;
  text: string;
}

export interface Problem {
  code: Code;
  reason: Reason | "";
  text: string;
  violations: Violation[];
}

// Without an answer of the service there is no text of the service.
const UNREACHABLE: Text = {
  de: "Der Dienst ist im Moment nicht erreichbar. Bitte versuchen Sie es in einigen Augenblicken noch einmal.",
  en: "The service cannot be reached at the moment. Please try again in a few moments.",
};

/** Returns the problem of a failed RPC. Rethrows everything else: it is a defect. */
export function problemOf(error: unknown, language: Language): Problem {
  if (!(error instanceof ConnectError)) {
    throw error;
  }
  const [info] = error.findDetails(ErrorInfoSchema);
  if (info?.domain !== "contact.v1") {
    // The text of a library or a proxy is not for customers.
    return { code: error.code, reason: "", text: UNREACHABLE[language], violations: [] };
  }
  const [localized] = error.findDetails(LocalizedMessageSchema);
  const violations = error.findDetails(BadRequestSchema).flatMap((details) => details.fieldViolations);
  return {
    code: error.code,
    reason: info.reason as Reason,
    text: localized?.message || error.rawMessage,
    violations: violations.map((violation) => ({
      field: violation.field,
      text: violation.localizedMessage?.message || violation.description,
    })),
  };
}

/** Returns true if the write may have been applied, so that it has to be repeated unchanged. */
export function mayBeApplied(problem: Problem): boolean {
  return [Code.Unavailable, Code.DeadlineExceeded, Code.Unknown, Code.Canceled].includes(problem.code);
}
