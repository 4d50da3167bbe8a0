//! Who calls, and what that one may do.

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};

use super::{
    claims::Validity,
    scope::{Scope, ScopeSet},
};
use crate::{
    domain::{audit::Actor, customer::CustomerNumber},
    error::{Error, Result},
};

/// The holder of a valid token. Clones share it.
#[derive(Clone)]
pub struct Caller(Arc<Holder>);

struct Holder {
    actor: Actor,
    customer: Option<CustomerNumber>,
    scopes: ScopeSet,
    validity: Validity,
}

impl Caller {
    pub(super) fn new(
        actor: Actor,
        customer: Option<CustomerNumber>,
        scopes: ScopeSet,
        validity: Validity,
    ) -> Self {
        Self(Arc::new(Holder {
            actor,
            customer,
            scopes,
            validity,
        }))
    }

    /// The subject of the token, for the trail.
    pub fn actor(&self) -> &Actor {
        &self.0.actor
    }

    /// The customer to which the token is confined; `None` is every customer.
    pub fn customer(&self) -> Option<&CustomerNumber> {
        self.0.customer.as_ref()
    }

    /// Asks whether the token is still good, for calls that outlast it.
    ///
    /// # Errors
    /// [`Error::TokenExpired`] when it has expired.
    pub fn check_time(&self, now: DateTime<Utc>) -> Result<()> {
        self.0.validity.check(now)
    }

    /// Asks for a scope.
    ///
    /// # Errors
    /// [`Error::ScopeMissing`] when the token lacks it.
    pub fn require(&self, scope: Scope) -> Result<()> {
        if self.0.scopes.contains(scope) {
            Ok(())
        } else {
            Err(Error::ScopeMissing {
                scope: scope.as_str(),
            })
        }
    }

    /// Asks for access to the customer that a request names. An absent number (`""`) passes:
    /// there is nothing to protect, and validation refuses it.
    ///
    /// # Errors
    /// [`Error::CustomerMismatch`] when the token is confined to another one.
    pub fn confine(&self, customer_number: &str) -> Result<()> {
        match &self.0.customer {
            Some(own) if !customer_number.is_empty() && own.as_str() != customer_number => {
                Err(Error::CustomerMismatch)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Asks for a token that is confined to no customer, for RPCs that concern them all.
    ///
    /// # Errors
    /// [`Error::CustomerMismatch`] for a confined token.
    pub fn require_unconfined(&self) -> Result<()> {
        match self.0.customer {
            Some(_) => Err(Error::CustomerMismatch),
            None => Ok(()),
        }
    }
}

/// Names neither the subject nor the customer, so that it can be logged.
impl fmt::Debug for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Caller")
            .field("confined", &self.0.customer.is_some())
            .field("scopes", &self.0.scopes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(customer: Option<&str>, scope: &str) -> Caller {
        Caller::new(
            Actor("anna".to_owned()),
            customer.map(|number| CustomerNumber::parse(number).unwrap()),
            ScopeSet::parse(scope),
            Validity::default(),
        )
    }

    #[test]
    fn a_scope_that_the_token_lacks_is_refused_by_name() {
        let caller = caller(None, "contacts.read audit.read");
        assert_eq!(caller.require(Scope::ContactsRead), Ok(()));
        assert_eq!(caller.require(Scope::AuditRead), Ok(()));
        assert_eq!(
            caller.require(Scope::ContactsWrite),
            Err(Error::ScopeMissing {
                scope: "contacts.write"
            })
        );
    }

    #[test]
    fn a_confined_token_reaches_its_own_customer_only() {
        let confined = caller(Some("K-1"), "");
        assert_eq!(confined.confine("K-1"), Ok(()));
        assert_eq!(confined.confine(""), Ok(()));
        for other in ["K-2", "k-1", "K-1 ", "K-11", "K-"] {
            assert_eq!(
                confined.confine(other),
                Err(Error::CustomerMismatch),
                "{other:?}"
            );
        }
        assert_eq!(confined.require_unconfined(), Err(Error::CustomerMismatch));
        assert_eq!(confined.customer().map(CustomerNumber::as_str), Some("K-1"));
    }

    #[test]
    fn an_unconfined_token_reaches_every_customer() {
        let unconfined = caller(None, "");
        assert_eq!(unconfined.confine("K-2"), Ok(()));
        assert_eq!(unconfined.require_unconfined(), Ok(()));
        assert_eq!(unconfined.customer(), None);
    }

    #[test]
    fn what_debug_prints_names_nobody() {
        let printed = format!("{:?}", caller(Some("K-1001"), "contacts.read"));
        assert!(
            !printed.contains("anna") && !printed.contains("1001"),
            "{printed}"
        );
    }
}
