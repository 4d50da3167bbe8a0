// Leads each error of the service to the field of the form that caused it.

import type { Problem, Reason } from "../problems.ts";
import { FIELD_NAMES, FIELDS, type Draft } from "./draft.ts";

/** An error and the id of the input that it belongs to. Without one it concerns the whole form. */
export interface FormError {
  input?: string;
  text: string;
}

// Reasons without field violations that a field causes.
const INPUT_OF_REASON: Partial<Record<Reason, string>> = {
  LAST_STANDARD_CONTACT: "types",
  FIRST_CONTACT_NOT_STANDARD: "types",
  INVOICE_EMAIL_NOT_ALLOWED: "invoiceEmail",
  NO_PENDING_EMAIL: "newEmail",
  RESEND_LIMIT: "newEmail",
};

// Fields of the requests besides those of the contact.
const INPUT_OF_FIELD: Record<string, string> = {
  email: "newEmail",
  email_change: "newEmail",
  phone_password: "newPassword",
  generate_phone_password: "newPassword",
  phone_password_change: "newPassword",
};

const INPUT_OF_PATH: Record<string, string> = Object.fromEntries(
  FIELD_NAMES.map((field) => [`contact.${FIELDS[field]}`, field]),
);

export function formErrors(problem: Problem, draft: Draft): FormError[] {
  if (problem.violations.length === 0) {
    const input = problem.reason && INPUT_OF_REASON[problem.reason];
    return [{ text: problem.text, ...(input && { input }) }];
  }
  return problem.violations.map(({ field, text }) => {
    const input = inputOf(field, draft);
    // The path says what is wrong where no input does.
    return input ? { input, text } : { text: `${field}: ${text}` };
  });
}

function inputOf(path: string, draft: Draft): string | undefined {
  const [, name = "", index] = /^([^[]*)(?:\[(\d+)\])?$/.exec(path) ?? [];
  const input = INPUT_OF_PATH[name] ?? INPUT_OF_FIELD[name.split(".", 1)[0] ?? ""];
  if (input === "phoneNumbers") {
    // Only filled lines are sent; the input is found by its line.
    const lines = draft.values.phoneNumbers.flatMap((text, line) => (text ? [line] : []));
    return `phoneNumbers-${lines[Number(index ?? 0)] ?? 0}`;
  }
  return input;
}
