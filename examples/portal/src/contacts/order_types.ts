// The catalog of order types. It belongs to the provider and changes rarely, so it is read once in a
// while for all sessions, and no screen waits for it.

import type { OrderType } from "../../gen/contact/v1/order_type_pb.ts";
import type { ContactClient } from "../rpc.ts";

const MAX_AGE_MS = 5 * 60_000;

let cached: { orderTypes: OrderType[]; readTime: number } | undefined;

export async function orderTypes(contacts: ContactClient): Promise<OrderType[]> {
  if (!cached || Date.now() - cached.readTime > MAX_AGE_MS) {
    // Retired ones are shown where a contact still names them.
    const response = await contacts.listOrderTypes({ showRetired: true });
    cached = { orderTypes: response.orderTypes, readTime: Date.now() };
  }
  return cached.orderTypes;
}
