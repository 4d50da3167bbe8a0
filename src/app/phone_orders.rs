//! Phone orders: order types, and decisions whether a contact may place an order (rule 19).

use super::{
    context::App,
    phone_grant::{self, GrantScope, PasswordVersion},
};
use crate::{
    domain::{
        audit::{Actor, AuditEvent, EventKind},
        contact::find_contact,
        ids::ContactRef,
        phone_order::{OrderDecision, OrderType, PhoneOrder, decide},
        restrictions::OrderTypeCode,
    },
    error::{Error, Result},
    observability::metrics,
    storage::{Outcome, Transaction},
};

/// An order that a contact wants to place by phone.
#[derive(Clone, Debug)]
pub struct PhoneOrderRequest {
    /// The contact that orders.
    pub contact: ContactRef,
    /// The grant from the check of the contact's phone password.
    pub grant: String,
    /// The id of the phone call.
    pub call_id: String,
    /// The type of the order.
    pub order_type: OrderTypeCode,
    /// True if the customer administers the product itself.
    pub customer_administers_product: bool,
}

/// A recorded decision about an order.
#[derive(Clone, Debug)]
pub struct DecidedOrder {
    /// The order with its decision.
    pub order: PhoneOrder,
    /// The restrictions note for the agent; empty unless the agent has to decide.
    pub note: String,
}

impl App {
    /// Lists the order types, sorted by code; retired ones only if `show_retired`.
    ///
    /// # Errors
    /// Database errors.
    pub async fn list_order_types(&self, show_retired: bool) -> Result<Vec<OrderType>> {
        self.database.list_order_types(show_retired).await
    }

    /// Returns those of the codes that no order type has. A code that is known once stays known,
    /// as order types are not deleted.
    ///
    /// # Errors
    /// Database errors.
    pub async fn find_unknown_order_types<'c>(
        &self,
        codes: &[&'c OrderTypeCode],
    ) -> Result<Vec<&'c OrderTypeCode>> {
        self.database.find_unknown_order_types(codes).await
    }

    /// Replaces an order type, or creates it if `allow_missing` is set.
    ///
    /// # Errors
    /// [`Error::OrderTypeNotFound`].
    pub async fn update_order_type(
        &self,
        actor: &Actor,
        order_type: OrderType,
        allow_missing: bool,
        validate_only: bool,
    ) -> Result<OrderType> {
        let now = self.now();
        // The event belongs to no customer, so it needs no sequence number.
        let (id, kind) = (self.random.uuid_v7(now)?, EventKind::OrderTypeUpdated);
        let event = AuditEvent::new(id, now, actor, kind);
        self.database
            .transaction(move |transaction| {
                let (event, order_type) = (event.clone(), order_type.clone());
                Box::pin(async move {
                    let stored = transaction.find_order_type(&order_type.code).await?;
                    if stored.is_none() && !allow_missing {
                        return Err(Error::OrderTypeNotFound);
                    }
                    let changed = order_type.differences(stored.as_ref());
                    // Rule 25: an update that changes nothing records no event.
                    if changed.is_empty() {
                        return Ok(Outcome::Commit(order_type));
                    }
                    transaction
                        .upsert_order_type(&order_type, &event.actor, now)
                        .await?;
                    let event = event.with_changed_fields(&changed);
                    transaction.insert_audit_event(&event).await?;
                    Ok(Outcome::commit_unless(validate_only, order_type))
                })
            })
            .await
    }

    /// Decides whether the contact may place the order, and records the decision (rule 19).
    ///
    /// # Errors
    /// [`Error::GrantInvalid`], [`Error::OrderTypeNotFound`], [`Error::CustomerNotFound`],
    /// [`Error::ContactNotFound`].
    pub async fn authorize_phone_order(
        &self,
        agent: &Actor,
        request: PhoneOrderRequest,
    ) -> Result<DecidedOrder> {
        let scope = GrantScope {
            contact: &request.contact,
            agent,
            call_id: &request.call_id,
        };
        let version = phone_grant::verify(&self.service_keys, &request.grant, &scope, self.now())?;
        let (app, agent) = (self.clone(), agent.clone());
        let customer_number = request.contact.customer_number.clone();
        let decided = self
            .database
            .customer_transaction(&customer_number, move |transaction| {
                let (app, agent, request) = (app.clone(), agent.clone(), request.clone());
                Box::pin(async move {
                    app.decide_within(transaction, &agent, request, version)
                        .await
                })
            })
            .await?;
        metrics::phone_order(match decided.order.decision {
            OrderDecision::Allowed => "allowed",
            OrderDecision::Denied(_) => "denied",
            OrderDecision::AgentDecision => "agent_decision",
        });
        Ok(decided)
    }

    async fn decide_within(
        &self,
        transaction: &Transaction,
        agent: &Actor,
        request: PhoneOrderRequest,
        version: PasswordVersion,
    ) -> Result<Outcome<DecidedOrder>> {
        let now = self.now();
        let ContactRef {
            customer_number,
            contact_id,
        } = request.contact;
        let locked = transaction.lock_customer(&customer_number).await?;
        let contacts = transaction.list_contacts(&customer_number).await?;
        let contact = find_contact(&contacts, contact_id)?;
        // A changed password invalidates its grants: the previous one may have been stolen.
        if !version.matches(contact.phone_password.set_time) {
            return Err(Error::GrantInvalid);
        }
        let order_type = transaction.find_order_type(&request.order_type).await?;
        let order_type = order_type.ok_or(Error::OrderTypeNotFound)?;
        let restrictions = &contact.restrictions;
        let customer_administers_product = request.customer_administers_product;
        let decision = decide(&order_type, restrictions, customer_administers_product);
        let order = PhoneOrder {
            id: self.random.uuid_v7(now)?,
            customer_number,
            contact_id,
            agent: agent.0.clone(),
            call_id: request.call_id,
            order_type,
            contact_version: contact.version,
            customer_administers_product,
            decision,
            decision_time: now,
        };
        transaction.insert_phone_order(&order).await?;
        let kind = EventKind::PhoneOrderDecided;
        let event = self.event(&locked, agent, kind, Some(contact_id), &[])?;
        let event = event.with_phone_order(&order);
        transaction.insert_audit_event(&event).await?;
        let note = if decision == OrderDecision::AgentDecision {
            restrictions.note.clone()
        } else {
            String::new()
        };
        Ok(Outcome::Commit(DecidedOrder { order, note }))
    }
}
