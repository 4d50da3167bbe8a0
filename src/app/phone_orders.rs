//! Phone orders: decisions whether a contact may place an order (rules 19, 27), and their records (rule
//! 28).

use uuid::Uuid;

use super::{
    caller_check::call_hash,
    context::App,
    idempotency::{self, ChangeOptions},
    page::paginate,
    phone_grant::{self, GrantProof, GrantScope},
};
use crate::{
    domain::{
        audit::{Actor, EventKind},
        contact::{Contact, find_contact},
        ids::{ContactRef, CustomerNumber},
        phone_order::{
            OrderBasis, OrderDecision, OrderOption, PhoneOrder, PhoneOrderFilter,
            PhoneOrderOutcome, RecordedOutcome, decide,
        },
        restrictions::OrderTypeCode,
    },
    error::{Error, Result},
    observability::metrics,
    storage::{CachedResponse, Outcome, Transaction},
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

/// The outcome of an order that an agent records.
#[derive(Clone, Debug)]
pub struct OutcomeRecord {
    /// The customer.
    pub customer_number: CustomerNumber,
    /// The id of the decision.
    pub id: Uuid,
    /// The outcome.
    pub outcome: PhoneOrderOutcome,
    /// The reference in the order system; empty: none.
    pub reference: String,
}

/// A page of phone orders.
#[derive(Clone, Debug)]
pub struct PhoneOrderPage {
    /// The orders, newest first.
    pub orders: Vec<PhoneOrder>,
    /// The exclusive upper bound of the next page; `None` on the last page.
    pub next_before: Option<Uuid>,
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
        let proof = phone_grant::verify(&self.service_keys, &request.grant, &scope, self.now())?;
        let (app, agent) = (self.clone(), agent.clone());
        let customer_number = request.contact.customer_number.clone();
        let decided = self
            .database
            .customer_transaction(&customer_number, move |transaction| {
                let (app, agent, request) = (app.clone(), agent.clone(), request.clone());
                Box::pin(
                    async move { app.decide_within(transaction, &agent, request, proof).await },
                )
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
        proof: GrantProof,
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
        if !proof.is_current(contact.phone_password.set_time) {
            return Err(Error::GrantInvalid);
        }
        let order_type = transaction.find_order_type(&request.order_type).await?;
        let order_type = order_type.ok_or(Error::OrderTypeNotFound)?;
        let call = call_hash(&request.call_id);
        let channel = transaction
            .find_verified_channel(&customer_number, &call, contact_id, now)
            .await?;
        let basis = OrderBasis {
            restrictions: contact.restrictions.clone(),
            terms: order_type.terms,
        };
        let customer_administers_product = request.customer_administers_product;
        let decision = decide(
            &order_type.code,
            &basis,
            channel,
            customer_administers_product,
        );
        let order = PhoneOrder {
            id: self.random.uuid_v7(now)?,
            customer_number,
            contact_id,
            agent: agent.0.clone(),
            call_id: request.call_id,
            order_type: order_type.code,
            customer_administers_product,
            basis,
            channel,
            authentication: proof.method,
            decision,
            decision_time: now,
            outcome: None,
        };
        transaction.insert_phone_order(&order).await?;
        let kind = EventKind::PhoneOrderDecided;
        let event = self.event(&locked, agent, kind, Some(contact_id), &[])?;
        let event = event.with_phone_order(&order);
        transaction.insert_audit_event(&event).await?;
        let note = if decision == OrderDecision::AgentDecision {
            contact.restrictions.note.clone()
        } else {
            String::new()
        };
        Ok(Outcome::Commit(DecidedOrder { order, note }))
    }

    /// Returns the decisions about the offered order types in this phone call, without a record (rule
    /// 27).
    pub(super) async fn order_options(
        &self,
        transaction: &Transaction,
        contact: &Contact,
        call_id: &str,
    ) -> Result<Vec<OrderOption>> {
        let (number, call) = (&contact.customer_number, call_hash(call_id));
        let channel = transaction
            .find_verified_channel(number, &call, contact.id, self.now())
            .await?;
        let order_types = transaction.list_offered_order_types().await?;
        let option = |order_type| OrderOption::new(order_type, &contact.restrictions, channel);
        Ok(order_types.iter().map(option).collect())
    }

    /// Records the outcome of an order, once (rule 28).
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::PhoneOrderNotFound`], [`Error::PhoneOrderDenied`],
    /// [`Error::OutcomeAlreadyRecorded`].
    pub async fn record_phone_order_outcome(
        &self,
        actor: &Actor,
        record: OutcomeRecord,
        options: ChangeOptions,
    ) -> Result<PhoneOrder> {
        let (app, actor) = (self.clone(), actor.clone());
        let customer_number = record.customer_number.clone();
        self.database
            .customer_transaction(&customer_number, move |transaction| {
                let (app, actor) = (app.clone(), actor.clone());
                let (record, options) = (record.clone(), options.clone());
                Box::pin(async move {
                    app.record_outcome_within(transaction, &actor, &record, &options)
                        .await
                })
            })
            .await
    }

    async fn record_outcome_within(
        &self,
        transaction: &Transaction,
        actor: &Actor,
        record: &OutcomeRecord,
        options: &ChangeOptions,
    ) -> Result<Outcome<PhoneOrder>> {
        let (now, number) = (self.now(), &record.customer_number);
        let request = options.request.as_ref();
        let locked = transaction.lock_customer(number).await?;
        let order = transaction.find_phone_order(number, record.id).await?;
        let mut order = order.ok_or(Error::PhoneOrderNotFound)?;
        let replay = idempotency::replay(transaction, number, actor, request, now).await?;
        if replay.is_some() {
            // The outcome is final, so that the order is as it was.
            return Ok(Outcome::Replayed(order));
        }
        if matches!(order.decision, OrderDecision::Denied(_)) {
            return Err(Error::PhoneOrderDenied);
        }
        if order.outcome.is_some() {
            return Err(Error::OutcomeAlreadyRecorded);
        }
        let recorded = RecordedOutcome {
            outcome: record.outcome,
            reference: record.reference.clone(),
            time: now,
        };
        transaction
            .record_outcome(number, record.id, &recorded)
            .await?;
        let contact_id = Some(order.contact_id);
        let kind = EventKind::PhoneOrderOutcomeRecorded;
        let event = self
            .event(&locked, actor, kind, contact_id, &[])?
            .with_detail("authorization_id", record.id.to_string())
            .with_detail("outcome", record.outcome.as_str().to_uppercase());
        transaction.insert_audit_event(&event).await?;
        let response = CachedResponse::Nothing;
        idempotency::store(transaction, actor, request, number, response, now).await?;
        order.outcome = Some(recorded);
        Ok(Outcome::commit_unless(options.validate_only, order))
    }

    /// Returns the record of a decision.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::PhoneOrderNotFound`].
    pub async fn get_phone_order(
        &self,
        customer_number: &CustomerNumber,
        id: Uuid,
    ) -> Result<PhoneOrder> {
        if let Some(order) = self.database.find_phone_order(customer_number, id).await? {
            return Ok(order);
        }
        self.get_customer(customer_number).await?;
        Err(Error::PhoneOrderNotFound)
    }

    /// Returns up to `page_size` records of decisions before an id, newest first.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`].
    pub async fn list_phone_orders(
        &self,
        filter: &PhoneOrderFilter,
        before: Uuid,
        page_size: usize,
    ) -> Result<PhoneOrderPage> {
        let limit = u64::try_from(page_size)
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        let mut orders = self
            .database
            .list_phone_orders(filter, before, limit)
            .await?;
        if let Some(number) = filter
            .customer_number
            .as_ref()
            .filter(|_| orders.is_empty())
        {
            self.get_customer(number).await?;
        }
        let next_before = paginate(&mut orders, page_size, |order| order.id);
        Ok(PhoneOrderPage {
            orders,
            next_before,
        })
    }
}
