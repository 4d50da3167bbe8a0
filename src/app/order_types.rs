//! Order types.

use super::context::App;
use crate::{
    domain::{
        audit::{Actor, AuditEvent, EventKind},
        phone_order::OrderType,
        restrictions::OrderTypeCode,
    },
    error::{Error, Result},
    storage::Outcome,
};

/// A change of an order type.
#[derive(Clone, Debug)]
pub struct OrderTypeUpdate {
    /// The order type with the new values. One that is created takes them all.
    pub order_type: OrderType,
    /// The names of the fields that an order type on file takes.
    pub fields: Vec<&'static str>,
}

impl OrderTypeUpdate {
    /// The fields that an update may set.
    pub const FIELDS: [&str; 6] = [
        "display_name",
        "display_names",
        "system_management",
        "offered_by_phone",
        "requires_verified_channel",
        "retired",
    ];

    fn apply_to(&self, stored: Option<&OrderType>) -> OrderType {
        let new = &self.order_type;
        let Some(stored) = stored else {
            return new.clone();
        };
        let mut updated = stored.clone();
        let (terms, new_terms) = (&mut updated.terms, new.terms);
        for field in &self.fields {
            match *field {
                "display_name" => updated.display_name.clone_from(&new.display_name),
                "display_names" => updated.display_names.clone_from(&new.display_names),
                "system_management" => terms.system_management = new_terms.system_management,
                "offered_by_phone" => terms.offered_by_phone = new_terms.offered_by_phone,
                "requires_verified_channel" => {
                    terms.requires_verified_channel = new_terms.requires_verified_channel;
                }
                _ => terms.retired = new_terms.retired,
            }
        }
        updated
    }
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

    /// Changes an order type, or creates one if `allow_missing` is set.
    ///
    /// # Errors
    /// [`Error::OrderTypeNotFound`].
    pub async fn update_order_type(
        &self,
        actor: &Actor,
        update: OrderTypeUpdate,
        allow_missing: bool,
        validate_only: bool,
    ) -> Result<OrderType> {
        let now = self.now();
        // The event belongs to no customer, so it needs no sequence number.
        let (id, kind) = (self.random.uuid_v7(now)?, EventKind::OrderTypeUpdated);
        let event = AuditEvent::new(id, now, actor, kind);
        self.database
            .transaction(move |transaction| {
                let (event, update) = (event.clone(), update.clone());
                Box::pin(async move {
                    let stored = transaction.find_order_type(&update.order_type.code).await?;
                    if stored.is_none() && !allow_missing {
                        return Err(Error::OrderTypeNotFound);
                    }
                    let order_type = update.apply_to(stored.as_ref());
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
}
