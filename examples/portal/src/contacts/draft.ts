// The content of the contact form: what was typed, and the contact as it was when the form was opened.
// The difference of both is what a save changes.

import { create } from "@bufbuild/protobuf";
import { randomUUID } from "node:crypto";
import {
  ContactSchema,
  ContactType,
  CreateContactRequestSchema,
  EmailChangeSchema,
  PersonNameSchema,
  PhonePasswordChangeSchema,
  RestrictionsSchema,
  Salutation,
  UpdateContactRequestSchema,
  type Contact,
  type CreateContactRequest,
  type UpdateContactRequest,
} from "../../gen/contact/v1/contact_pb.ts";
import { MalformedForm } from "../screen.ts";
import { emailOf, pendingEmailOf, salutationName, typeName } from "../labels.ts";

/** The fields of the form, each with its path in `update_mask`. */
export const FIELDS = {
  types: "types",
  salutation: "name.salutation",
  title: "name.title",
  givenName: "name.given_name",
  familyName: "name.family_name",
  displayName: "display_name",
  position: "position",
  department: "department",
  locale: "locale",
  phoneNumbers: "phone_numbers",
  invoiceEmail: "invoice_email_enabled",
  note: "restrictions.note",
  allowedOrderTypes: "restrictions.allowed_order_types",
  deniedOrderTypes: "restrictions.denied_order_types",
} as const;
export type Field = keyof typeof FIELDS;
export const FIELD_NAMES = Object.keys(FIELDS) as Field[];

/** The values of all fields, as lists: a field for one value has at most one. */
export type Values = Record<Field, string[]>;

/** The state of a contact that the form shows next to its fields. */
export interface State {
  email: string;
  pendingEmail: string;
  phonePassword: "set" | "";
}

/** The contact when the form was opened. It travels in the form. */
export interface Base {
  etag: string;
  values: Values;
  state: State;
}

export type EmailEdit = "keep" | "set" | "remove" | "cancel";
export type PasswordEdit = "keep" | "set" | "generate" | "clear";

export interface Draft {
  /** Makes a repeated save harmless, such as that of a double click. */
  requestId: string;
  /** Absent: a new contact. */
  base?: Base;
  values: Values;
  emailEdit: EmailEdit;
  newEmail: string;
  passwordEdit: PasswordEdit;
  newPassword: string;
}

export function draftOf(contact: Contact): Draft {
  const base = baseOf(contact);
  return { ...emptyDraft(), base, values: structuredClone(base.values) };
}

export function emptyDraft(types: string[] = []): Draft {
  const values = Object.fromEntries(FIELD_NAMES.map((field) => [field, []])) as unknown as Values;
  values.types = types;
  values.locale = ["de"];
  return {
    requestId: randomUUID(),
    values,
    emailEdit: "keep",
    newEmail: "",
    passwordEdit: "keep",
    newPassword: "",
  };
}

export function baseOf(contact: Contact): Base {
  const { name, restrictions } = contact;
  return {
    etag: contact.etag,
    values: {
      types: contact.types.map(typeName),
      salutation: [salutationName(name?.salutation)],
      title: single(name?.title),
      givenName: single(name?.givenName),
      familyName: single(name?.familyName),
      displayName: single(contact.displayName),
      position: single(contact.position),
      department: single(contact.department),
      locale: single(contact.locale),
      phoneNumbers: contact.phoneNumbers,
      invoiceEmail: contact.invoiceEmailEnabled ? ["on"] : [],
      note: single(restrictions?.note),
      allowedOrderTypes: restrictions?.allowedOrderTypes ?? [],
      deniedOrderTypes: restrictions?.deniedOrderTypes ?? [],
    },
    state: {
      email: emailOf(contact),
      pendingEmail: pendingEmailOf(contact),
      phonePassword: contact.phonePassword?.configured ? "set" : "",
    },
  };
}

/** Reads a sent form. Phone numbers keep their empty lines, so that errors find their line. */
export function readDraft(form: URLSearchParams): Draft {
  const base = readBase(form.get("base"));
  const read = (field: Field): string[] => {
    const texts = form.getAll(field).map((text) => text.trim().replaceAll("\r\n", "\n"));
    const values = field === "phoneNumbers" ? texts : texts.filter(Boolean);
    // The choice of a person after a conflict.
    return form.get(`choice.${field}`) === "theirs" && base ? base.values[field] : values;
  };
  const newEmail = form.get("newEmail")?.trim() ?? "";
  const newPassword = form.get("newPassword")?.trim() ?? "";
  const keepsEmail = form.get("choice.email") === "theirs";
  const keepsPassword = form.get("choice.phonePassword") === "theirs";
  return {
    requestId: form.get("requestId") ?? "",
    ...(base && { base }),
    values: Object.fromEntries(FIELD_NAMES.map((field) => [field, read(field)])) as unknown as Values,
    emailEdit: keepsEmail
      ? "keep"
      : readEdit(form.get("emailEdit"), ["keep", "set", "remove", "cancel"], newEmail),
    newEmail: keepsEmail ? "" : newEmail,
    passwordEdit: keepsPassword
      ? "keep"
      : readEdit(form.get("passwordEdit"), ["keep", "set", "generate", "clear"], newPassword),
    newPassword: keepsPassword ? "" : newPassword,
  };
}

/** Returns the fields whose values differ from those that the form was opened with. */
export function changedFields(values: Values, base: Values): Field[] {
  return FIELD_NAMES.filter((field) => !areEqual(field, values[field], base[field]));
}

export function areEqual(field: Field, one: string[], other: string[]): boolean {
  const normalized = (values: string[]) => {
    const filled = values.filter(Boolean);
    return JSON.stringify(field === "phoneNumbers" ? filled : [...filled].sort());
  };
  return normalized(one) === normalized(other);
}

export function isUnchanged(draft: Draft): boolean {
  return (
    draft.base !== undefined &&
    changedFields(draft.values, draft.base.values).length === 0 &&
    draft.emailEdit === "keep" &&
    draft.passwordEdit === "keep"
  );
}

/** The save of an existing contact, in one RPC: fields, addresses and phone password. */
export function updateRequest(
  draft: Draft & { base: Base },
  customerNumber: string,
  contactId: string,
): UpdateContactRequest {
  // Only what was changed is sent, so that a save never resets what the person did not touch.
  const fields = changedFields(draft.values, draft.base.values);
  const contact = contactOf(draft.values, fields);
  contact.customerNumber = customerNumber;
  contact.contactId = contactId;
  contact.etag = draft.base.etag;
  const request = create(UpdateContactRequestSchema, {
    contact,
    updateMask: { paths: fields.map((field) => FIELDS[field]) },
    requestId: draft.requestId,
  });
  if (draft.emailEdit !== "keep") {
    request.emailChange = create(EmailChangeSchema, {
      change: {
        set: { case: "setEmail", value: draft.newEmail } as const,
        remove: { case: "removeEmail", value: true } as const,
        cancel: { case: "cancelPending", value: true } as const,
      }[draft.emailEdit],
    });
  }
  if (draft.passwordEdit !== "keep") {
    request.phonePasswordChange = create(PhonePasswordChangeSchema, {
      change: {
        set: { case: "newPhonePassword", value: draft.newPassword } as const,
        generate: { case: "generate", value: true } as const,
        clear: { case: "clear", value: true } as const,
      }[draft.passwordEdit],
    });
  }
  return request;
}

export function createRequest(draft: Draft, customerNumber: string): CreateContactRequest {
  return create(CreateContactRequestSchema, {
    customerNumber,
    contact: contactOf(draft.values, FIELD_NAMES),
    email: draft.newEmail,
    phonePassword: draft.passwordEdit === "set" ? draft.newPassword : "",
    generatePhonePassword: draft.passwordEdit === "generate",
    requestId: draft.requestId,
  });
}

function contactOf(values: Values, fields: Field[]): Contact {
  const text = (field: Field) => (fields.includes(field) ? (values[field][0] ?? "") : "");
  const texts = (field: Field) => (fields.includes(field) ? values[field].filter(Boolean) : []);
  return create(ContactSchema, {
    // A value that the contract does not have becomes UNSPECIFIED, which the service rejects.
    types: texts("types").map((name) => ContactType[name as keyof typeof ContactType] ?? 0),
    displayName: text("displayName"),
    name: create(PersonNameSchema, {
      salutation: Salutation[text("salutation") as keyof typeof Salutation] ?? 0,
      title: text("title"),
      givenName: text("givenName"),
      familyName: text("familyName"),
    }),
    position: text("position"),
    department: text("department"),
    locale: text("locale"),
    phoneNumbers: texts("phoneNumbers"),
    ...(fields.includes("invoiceEmail") && { invoiceEmailEnabled: values.invoiceEmail[0] === "on" }),
    restrictions: create(RestrictionsSchema, {
      note: text("note"),
      allowedOrderTypes: texts("allowedOrderTypes"),
      deniedOrderTypes: texts("deniedOrderTypes"),
    }),
  });
}

function readBase(text: string | null): Base | undefined {
  if (!text) {
    return undefined;
  }
  try {
    const base = JSON.parse(text) as Base;
    const isComplete =
      typeof base.etag === "string" &&
      [base.state.email, base.state.pendingEmail, base.state.phonePassword].every(isText) &&
      FIELD_NAMES.every((field) => Array.isArray(base.values[field]) && base.values[field].every(isText));
    if (isComplete) {
      return base;
    }
  } catch {
    // Reported below.
  }
  throw new MalformedForm("base");
}

/** Returns the chosen edit; a text that was typed without choosing one counts as "set". */
function readEdit<Edit extends string>(text: string | null, edits: Edit[], typed: string): Edit {
  const edit = edits.find((known) => known === text) ?? edits[0]!;
  return edit === edits[0] && typed ? edits[1]! : edit;
}

function isText(value: unknown): boolean {
  return typeof value === "string";
}

function single(text: string | undefined): string[] {
  return text ? [text] : [];
}
