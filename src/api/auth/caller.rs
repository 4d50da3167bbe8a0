//! The caller of a request: its identity, its scopes, and its access to customers.

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};

use super::{
    keys::{ring::KeyRing, set::VerifyingKey},
    scope::{Scope, ScopeSet},
    validity::Validity,
};
use crate::{
    api::admission::security_log::RequestLog,
    domain::{audit::Actor, ids::CustomerNumber},
    error::{Error, Result, TokenFault},
};

/// The holder of a valid token. Clones share it.
#[derive(Clone)]
pub struct Caller {
    holder: Arc<Holder>,
    /// `None` outside a request.
    log: Option<RequestLog>,
}

/// The identity and permissions that the claims of a token contain.
pub(super) struct Holder {
    pub(super) actor: Actor,
    /// The application that requested the token, if the token names it.
    pub(super) client: Option<String>,
    pub(super) customer: Option<CustomerNumber>,
    pub(super) scopes: ScopeSet,
    pub(super) validity: Validity,
    pub(super) signer: Signer,
}

/// The key that a token was verified with, and the key ring it belongs to.
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

    /// Returns the caller as part of a request, whose denials are recorded in `log`.
    pub(super) fn in_request(self, log: RequestLog) -> Self {
        Self {
            log: Some(log),
            ..self
        }
    }

    /// Returns the subject of the token, which audit events record.
    pub fn actor(&self) -> &Actor {
        &self.holder.actor
    }

    /// Returns the customer of a tenant-scoped token; `None` for a token with access to all customers.
    pub fn customer(&self) -> Option<&CustomerNumber> {
        self.holder.customer.as_ref()
    }

    /// Checks the validity period of the token.
    ///
    /// # Errors
    /// [`Error::TokenExpired`], or [`Error::TokenInvalid`] (`NOT_YET_VALID`).
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
        keys.contains(key)
    }

    /// Checks everything that may change after the token was verified. Never waits.
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

    /// Records the denial of a request for this customer (`""` if the request names none).
    pub(crate) fn record_denial(&self, error: &Error, customer_number: &str) {
        if let Some(log) = &self.log {
            let client = self.holder.client.as_deref();
            log.record(self.actor(), client, error, customer_number);
        }
    }

    fn denied(&self, error: Error, customer_number: &str) -> Error {
        self.record_denial(&error, customer_number);
        error
    }

    /// Requires a scope, before the message of the request is read.
    ///
    /// # Errors
    /// [`Error::ScopeMissing`].
    pub fn require(&self, scope: Scope) -> Result<()> {
        self.require_for(scope, "")
    }

    /// Requires a scope for a request that names this customer.
    ///
    /// # Errors
    /// [`Error::ScopeMissing`].
    pub fn require_for(&self, scope: Scope, customer_number: &str) -> Result<()> {
        if self.has(scope) {
            return Ok(());
        }
        let scope = scope.as_str();
        Err(self.denied(Error::ScopeMissing { scope }, customer_number))
    }

    /// Requires access to the customer that a request names. An empty number passes: there is nothing
    /// to protect, and validation rejects it.
    ///
    /// # Errors
    /// [`Error::CustomerMismatch`] if the token is scoped to another customer.
    pub fn check_tenant(&self, customer_number: &str) -> Result<()> {
        match &self.holder.customer {
            Some(own) if !customer_number.is_empty() && own.as_str() != customer_number => {
                Err(self.denied(Error::CustomerMismatch, customer_number))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Requires access to all customers.
    ///
    /// # Errors
    /// [`Error::CustomerMismatch`] if the token is tenant-scoped.
    pub fn require_all_tenants(&self) -> Result<()> {
        match self.holder.customer {
            Some(_) => Err(self.denied(Error::CustomerMismatch, "")),
            None => Ok(()),
        }
    }
}

/// Prints neither the subject nor the customer, so that it can be logged.
impl fmt::Debug for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Caller")
            .field("is_tenant_scoped", &self.holder.customer.is_some())
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
    fn error_names_the_missing_scope() {
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
    fn tenant_scoped_token_has_access_to_its_customer_only() {
        let tenant_scoped = caller(Some("K-1"), "");
        assert_eq!(tenant_scoped.check_tenant("K-1"), Ok(()));
        assert_eq!(tenant_scoped.check_tenant(""), Ok(()));
        for other in ["K-2", "k-1", "K-1 ", "K-11", "K-"] {
            assert_eq!(
                tenant_scoped.check_tenant(other),
                Err(Error::CustomerMismatch),
                "{other:?}"
            );
        }
        assert_eq!(
            tenant_scoped.require_all_tenants(),
            Err(Error::CustomerMismatch)
        );
        assert_eq!(
            tenant_scoped.customer().map(CustomerNumber::as_str),
            Some("K-1")
        );
    }

    #[test]
    fn token_without_tenant_has_access_to_all_customers() {
        let caller = caller(None, "");
        assert_eq!(caller.check_tenant("K-2"), Ok(()));
        assert_eq!(caller.require_all_tenants(), Ok(()));
        assert_eq!(caller.customer(), None);
    }

    #[test]
    fn debug_output_has_no_personal_data() {
        let printed = format!("{:?}", caller(Some("K-1001"), "contacts.read"));
        assert!(
            !printed.contains("anna") && !printed.contains("1001"),
            "{printed}"
        );
    }
}
