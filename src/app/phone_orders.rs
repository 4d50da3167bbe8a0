//! Orders by phone: their types, and whether a contact may place one (rule 19).

use crate::{
    app::{
        App, ContactRef, contacts, names,
        phone_grant::{self, GrantScope},
    },
    domain::{
        audit::{Actor, AuditEvent, EventKind},
        phone_order::{OrderDecision, OrderType, PhoneOrder, decide},
        restrictions::OrderTypeCode,
    },
    error::{Error, Result},
    observability::metrics,
    storage::Outcome,
};

/// An order that a contact wants to place by phone.
#[derive(Clone, Debug)]
pub struct PhoneOrderRequest {
    /// Who.
    pub contact: ContactRef,
    /// The proof of it.
    pub grant: String,
    /// In which call.
    pub call_id: String,
    /// What.
    pub order_type: OrderTypeCode,
    /// Whether the customer administers the product.
    pub customer_administers_product: bool,
}

/// What was decided about an order.
#[derive(Clone, Debug)]
pub struct DecidedOrder {
    /// The decision, and the id under which it is kept.
    pub order: PhoneOrder,
    /// The free text that the agent has to judge; empty where there is nothing to judge.
    pub note: String,
}

impl App {
    /// Lists the order types by their codes, the retired ones only if `show_retired`.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn list_order_types(&self, show_retired: bool) -> Result<Vec<OrderType>> {
        self.database.list_order_types(show_retired).await
    }

    /// Which of these codes no order type has. What there is stays: order types are not deleted.
    ///
    /// # Errors
    /// The failures of the database.
    pub async fn find_unknown_order_types<'c>(
        &self,
        codes: &[&'c OrderTypeCode],
    ) -> Result<Vec<&'c OrderTypeCode>> {
        self.database.find_unknown_order_types(codes).await
    }

    /// Replaces an order type, or makes one.
    ///
    /// # Errors
    /// [`Error::OrderTypeNotFound`] unless missing ones are allowed, and the failures of
    /// the database.
    pub async fn update_order_type(
        &self,
        actor: &Actor,
        order_type: OrderType,
        allow_missing: bool,
    ) -> Result<OrderType> {
        let now = self.now();
        // Of no customer: there is nothing to be ranked among.
        let (id, kind) = (self.random.uuid_v7(now)?, EventKind::OrderTypeUpdated);
        let event = AuditEvent::new(id, now, actor, kind);
        self.database
            .transaction(move |transaction| {
                let (mut event, order_type) = (event.clone(), order_type.clone());
                Box::pin(async move {
                    let known = transaction.find_order_type(&order_type.code).await?;
                    if known.is_none() && !allow_missing {
                        return Err(Error::OrderTypeNotFound);
                    }
                    let changed = order_type.differences(known.as_ref());
                    // Rule 25: an update that changes nothing records nothing.
                    if changed.is_empty() {
                        return Ok(Outcome::Commit(order_type));
                    }
                    transaction
                        .save_order_type(&order_type, &event.actor, now)
                        .await?;
                    event.changed_fields = names(&changed);
                    transaction.insert_audit_event(&event).await?;
                    Ok(Outcome::Commit(order_type))
                })
            })
            .await
    }

    /// Rule 19: decides whether the contact may place the order, and keeps the decision.
    ///
    /// # Errors
    /// [`Error::GrantInvalid`], [`Error::OrderTypeNotFound`], [`Error::CustomerNotFound`],
    /// [`Error::ContactNotFound`], and the failures of the database.
    pub async fn authorize_phone_order(
        &self,
        agent: &Actor,
        request: PhoneOrderRequest,
    ) -> Result<DecidedOrder> {
        let now = self.now();
        let scope = GrantScope {
            contact: &request.contact,
            agent,
            call_id: &request.call_id,
        };
        let proved = phone_grant::verify(&self.service_keys, &request.grant, &scope, now)?;
        let id = self.random.uuid_v7(now)?;
        let (app, agent) = (self.clone(), agent.clone());
        let of = request.contact.customer_number.clone();
        let decided = self
            .database
            .transaction_of(&of, move |transaction| {
                let (app, agent, request) = (app.clone(), agent.clone(), request.clone());
                Box::pin(async move {
                    let ContactRef {
                        customer_number: number,
                        contact_id,
                    } = &request.contact;
                    let locked = transaction.lock_customer(number).await?;
                    let all = transaction.list_contacts(number).await?;
                    let contact = contacts::find(&all, *contact_id)?;
                    // Of a password that was changed since, perhaps because it was stolen.
                    if !proved.is_of(contact.phone_password.set_time) {
                        return Err(Error::GrantInvalid);
                    }
                    let order_type = transaction.find_order_type(&request.order_type).await?;
                    let order_type = order_type.ok_or(Error::OrderTypeNotFound)?;
                    let restrictions = &contact.restrictions;
                    let administers = request.customer_administers_product;
                    let decision = decide(&order_type, restrictions, administers);
                    let order = PhoneOrder {
                        id,
                        customer_number: number.clone(),
                        contact_id: *contact_id,
                        agent: agent.0.clone(),
                        call_id: request.call_id.clone(),
                        order_type,
                        contact_version: contact.version,
                        customer_administers_product: administers,
                        decision,
                        decision_time: now,
                    };
                    transaction.insert_phone_order(&order).await?;
                    let kind = EventKind::PhoneOrderDecided;
                    let event = app.event(&locked, &agent, kind, Some(*contact_id), &[])?;
                    let event = event.with_phone_order(&order);
                    transaction.insert_audit_event(&event).await?;
                    let note = if decision == OrderDecision::AgentDecision {
                        restrictions.note.clone()
                    } else {
                        String::new()
                    };
                    Ok(Outcome::Commit(DecidedOrder { order, note }))
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
}
