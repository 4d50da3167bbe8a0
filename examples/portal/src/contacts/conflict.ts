// Two people who edit one contact: merges what was typed with what the other person saved.

import { randomUUID } from "node:crypto";
import type { Contact } from "../../gen/contact/v1/contact_pb.ts";
import { areEqual, baseOf, changedFields, type Base, type Draft, type Field, type State } from "./draft.ts";

/** A change of the other person. */
export interface Difference {
  field: Field | "email" | "phonePassword";
  /** The value when the form was opened. */
  before: string[];
  /** The value that the other person saved. */
  theirs: string[];
  /** The text typed here. Absent: this field was not changed here. */
  mine?: string[];
}

export interface Conflict {
  differences: Difference[];
  /** The draft on top of the other person's version: everything typed is in it. */
  draft: Draft & { base: Base };
}

export function mergeConflict(draft: Draft & { base: Base }, current: Contact): Conflict {
  const theirs = baseOf(current);
  const mine = changedFields(draft.values, draft.base.values);
  const differences: Difference[] = [];
  const values = structuredClone(draft.values);
  for (const field of changedFields(theirs.values, draft.base.values)) {
    const isTyped = mine.includes(field) && !areEqual(field, draft.values[field], theirs.values[field]);
    differences.push({
      field,
      before: draft.base.values[field],
      theirs: theirs.values[field],
      ...(isTyped && { mine: draft.values[field] }),
    });
    if (!mine.includes(field)) {
      values[field] = theirs.values[field];
    }
  }
  differences.push(...stateDifferences(draft, theirs.state));
  return {
    differences,
    // Another request than the rejected one.
    draft: { ...draft, requestId: randomUUID(), base: theirs, values },
  };
}

function stateDifferences(draft: Draft & { base: Base }, theirs: State): Difference[] {
  const before = draft.base.state;
  const differences: Difference[] = [];
  const emails = ({ email, pendingEmail }: State) => [email, pendingEmail].filter(Boolean);
  if (emails(theirs).join() !== emails(before).join()) {
    differences.push({
      field: "email",
      before: emails(before),
      theirs: emails(theirs),
      ...(draft.emailEdit !== "keep" && { mine: [draft.newEmail] }),
    });
  }
  if (theirs.phonePassword !== before.phonePassword) {
    differences.push({
      field: "phonePassword",
      before: [before.phonePassword],
      theirs: [theirs.phonePassword],
      // The password itself stays in its field.
      ...(draft.passwordEdit !== "keep" && { mine: [draft.passwordEdit] }),
    });
  }
  return differences;
}
