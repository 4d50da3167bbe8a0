//! Who calls, and what that one may do.

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};

use super::{
    claims::Validity,
    scope::{Scope, ScopeSet},
};
use crate::api::auth::keys::{ring::KeyRing, set::VerifyingKey};
use crate::{
    api::admission::security_log::RequestLog,
    domain::{audit::Actor, customer::CustomerNumber},
    error::{Error, Result, TokenFault},
};

/// The holder of a valid token. Clones share it.
#[derive(Clone)]
pub struct Caller {
    holder: Arc<Holder>,
    /// `None` outside of a request.
    log: Option<RequestLog>,
}

/// What the claims of a token say.
pub(super) struct Holder {
    pub(super) actor: Actor,
    /// The application that requested the token, where the token names it.
    pub(super) client: Option<String>,
    pub(super) customer: Option<CustomerNumber>,
    pub(super) scopes: ScopeSet,
    pub(super) validity: Validity,
    pub(super) signer: Signer,
}

/// The key that a token was verified with, and the key set that it is one of.
pub(super) struct Signer {
    pub(super) keys: Arc<KeyRing>,
    pub(super) key: Arc<VerifyingKey>,
}

impl Caller {
    pub(super) fn new(holder: Holder) -> Self {
        Self {
            holder: Arc::new(holder),
            log: None,
        }
    }

    /// The same caller, whose denials are recorded with the request.
    pub(super) fn in_request(self, log: RequestLog) -> Self {
        Self {
            log: Some(log),
            ..self
        }
    }

    /// The subject of the token, for the trail.
    pub fn actor(&self) -> &Actor {
        &self.holder.actor
    }

    /// The customer to which the token is confined; `None` is every customer.
    pub fn customer(&self) -> Option<&CustomerNumber> {
        self.holder.customer.as_ref()
    }

    /// Asks whether the token is still good, for calls that outlast it.
    ///
    /// # Errors
    /// [`Error::TokenExpired`] when it has expired.
    pub fn check_time(&self, now: DateTime<Utc>) -> Result<()> {
        self.holder.validity.check(now)
    }

    pub(super) fn keys(&self) -> &Arc<KeyRing> {
        &self.holder.signer.keys
    }

    /// Returns true while the key that signed the token is in its issuer's key set.
    ///
    /// # Errors
    /// [`Error::TokenKeysUnavailable`].
    pub(super) fn has_key(&self) -> Result<bool> {
        let Signer { keys, key } = &self.holder.signer;
        keys.holds(key)
    }

    /// Checks everything that may change after a token was verified, without waiting.
    ///
    /// # Errors
    /// [`Error::TokenExpired`], [`Error::TokenInvalid`] (`UNKNOWN_KEY`), [`Error::TokenKeysUnavailable`].
    pub(super) fn recheck(&self, now: DateTime<Utc>) -> Result<()> {
        self.check_time(now)?;
        if self.has_key()? {
            Ok(())
        } else {
            Err(Error::token_invalid(TokenFault::UnknownKey))
        }
    }

    /// Returns true if the token has the scope.
    pub(super) fn has(&self, scope: Scope) -> bool {
        self.holder.scopes.contains(scope)
    }

    /// Records the denial of a request that names this customer (`""`: it names none).
    pub(in crate::api) fn record_denial(&self, error: &Error, customer_number: &str) {
        if let Some(log) = &self.log {
            let client = self.holder.client.as_deref();
            log.record(self.actor(), client, error, customer_number);
        }
    }

    fn denied(&self, error: Error, customer_number: &str) -> Error {
        self.record_denial(&error, customer_number);
        error
    }

    /// Asks for a scope, before the request is read.
    ///
    /// # Errors
    /// [`Error::ScopeMissing`] when the token lacks it.
    pub fn require(&self, scope: Scope) -> Result<()> {
        self.require_for(scope, "")
    }

    /// Asks for a scope for a request that names this customer.
    ///
    /// # Errors
    /// [`Error::ScopeMissing`] when the token lacks it.
    pub fn require_for(&self, scope: Scope, customer_number: &str) -> Result<()> {
        if self.has(scope) {
            return Ok(());
        }
        let scope = scope.as_str();
        Err(self.denied(Error::ScopeMissing { scope }, customer_number))
    }

    /// Asks for access to the customer that a request names. An absent number (`""`) passes:
    /// there is nothing to protect, and validation refuses it.
    ///
    /// # Errors
    /// [`Error::CustomerMismatch`] when the token is confined to another one.
    pub fn confine(&self, customer_number: &str) -> Result<()> {
        match &self.holder.customer {
            Some(own) if !customer_number.is_empty() && own.as_str() != customer_number => {
                Err(self.denied(Error::CustomerMismatch, customer_number))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Asks for a token that is confined to no customer, for RPCs that concern them all.
    ///
    /// # Errors
    /// [`Error::CustomerMismatch`] for a confined token.
    pub fn require_unconfined(&self) -> Result<()> {
        match self.holder.customer {
            Some(_) => Err(self.denied(Error::CustomerMismatch, "")),
            None => Ok(()),
        }
    }
}

/// Names neither the subject nor the customer, so that it can be logged.
impl fmt::Debug for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Caller")
            .field("confined", &self.holder.customer.is_some())
            .field("scopes", &self.holder.scopes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::auth::tests::signer, clock::Clock};

    fn caller(customer: Option<&str>, scope: &str) -> Caller {
        Caller::new(Holder {
            actor: Actor("anna".to_owned()),
            client: None,
            customer: customer.map(|number| CustomerNumber::parse(number).unwrap()),
            scopes: ScopeSet::parse(scope),
            validity: Validity::default(),
            signer: signer(Clock::System),
        })
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
