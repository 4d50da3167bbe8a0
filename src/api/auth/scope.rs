//! The scopes of tokens, and those that the contract requires for each RPC.

use std::{collections::HashMap, sync::LazyLock};

use prost_reflect::MethodDescriptor;

use crate::api::contract;

/// A permission of a token. Each RPC requires one, some another one by the fields that are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Read the customer record.
    CustomersRead,
    /// Write the customer record.
    CustomersWrite,
    /// Write the contact data of a customer, and create customers.
    ContactDataWrite,
    /// Read contacts.
    ContactsRead,
    /// Write contacts.
    ContactsWrite,
    /// Confirm an address by its link.
    EmailConfirm,
    /// Ask whether a phone number or address is on file.
    ChannelsVerify,
    /// Find the customers of a phone number or address.
    CustomersFind,
    /// Check a phone password.
    PhonePasswordCheck,
    /// Lift a lock of a phone password.
    PhonePasswordUnlock,
    /// Judge an order by phone.
    PhoneOrdersAuthorize,
    /// Read the records of orders by phone.
    PhoneOrdersRead,
    /// Read the order types.
    OrderTypesRead,
    /// Write the order types.
    OrderTypesWrite,
    /// Ask who is written to.
    RecipientsResolve,
    /// Ask who is written to, for all customers.
    RecipientsResolveAll,
    /// Report what became of mails.
    DeliveriesReport,
    /// Read the audit log.
    AuditRead,
    /// Follow what changes.
    ChangesWatch,
    /// Export a customer's data.
    PrivacyExport,
    /// Erase a customer's data.
    PrivacyErase,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 21] = [
        Self::CustomersRead,
        Self::CustomersWrite,
        Self::ContactDataWrite,
        Self::ContactsRead,
        Self::ContactsWrite,
        Self::EmailConfirm,
        Self::ChannelsVerify,
        Self::CustomersFind,
        Self::PhonePasswordCheck,
        Self::PhonePasswordUnlock,
        Self::PhoneOrdersAuthorize,
        Self::PhoneOrdersRead,
        Self::OrderTypesRead,
        Self::OrderTypesWrite,
        Self::RecipientsResolve,
        Self::RecipientsResolveAll,
        Self::DeliveriesReport,
        Self::AuditRead,
        Self::ChangesWatch,
        Self::PrivacyExport,
        Self::PrivacyErase,
    ];

    /// Returns the scope of this name.
    fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    /// The name in the claim `scope`, such as `customers.read`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CustomersRead => "customers.read",
            Self::CustomersWrite => "customers.write",
            Self::ContactDataWrite => "contact_data.write",
            Self::ContactsRead => "contacts.read",
            Self::ContactsWrite => "contacts.write",
            Self::EmailConfirm => "email.confirm",
            Self::ChannelsVerify => "channels.verify",
            Self::CustomersFind => "customers.find",
            Self::PhonePasswordCheck => "phone_password.check",
            Self::PhonePasswordUnlock => "phone_password.unlock",
            Self::PhoneOrdersAuthorize => "phone_orders.authorize",
            Self::PhoneOrdersRead => "phone_orders.read",
            Self::OrderTypesRead => "order_types.read",
            Self::OrderTypesWrite => "order_types.write",
            Self::RecipientsResolve => "recipients.resolve",
            Self::RecipientsResolveAll => "recipients.resolve_all",
            Self::DeliveriesReport => "deliveries.report",
            Self::AuditRead => "audit.read",
            Self::ChangesWatch => "changes.watch",
            Self::PrivacyExport => "privacy.export",
            Self::PrivacyErase => "privacy.erase",
        }
    }
}

/// The scopes of one token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ScopeSet(u32);

impl ScopeSet {
    /// Reads names with blanks between.
    pub(super) fn parse(claim: &str) -> Self {
        Self::of_names(claim.split(' '))
    }

    /// The scopes of these names. Names that mean nothing here are other services'.
    pub(super) fn of_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let scopes = names.into_iter().filter_map(Scope::find);
        Self(scopes.fold(0, |bits, scope| bits | 1 << scope as u32))
    }

    pub(super) fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u32) != 0
    }
}

/// An RPC of the contract.
#[derive(Debug)]
pub struct Rpc {
    /// Such as `contact.v1.ContactService/GetCustomer`.
    pub method: String,
    /// The scope that it requires (option `required_scope`).
    pub scope: Scope,
    /// Another scope that admits a token (option `alternative_scope`). The request then decides which of
    /// the two are required.
    pub alternative_scope: Option<Scope>,
}

/// All RPCs by path. An RPC whose options name no known scope is missing.
static RPCS: LazyLock<HashMap<String, Rpc>> = LazyLock::new(|| {
    let scope = |rpc: &MethodDescriptor, option| {
        contract::text_option(rpc, option).and_then(|name| Scope::find(&name))
    };
    let rpcs = contract::rpcs().into_iter();
    rpcs.filter_map(|rpc| {
        let entry = Rpc {
            method: contract::method(&rpc),
            scope: scope(&rpc, "required_scope")?,
            alternative_scope: scope(&rpc, "alternative_scope"),
        };
        Some((contract::path(&rpc), entry))
    })
    .collect()
});

impl Rpc {
    /// Returns the RPC at `path`, such as `/contact.v1.ContactService/GetCustomer`; `None` for a path that is
    /// no RPC of the contract, which is not served.
    pub fn at(path: &str) -> Option<&'static Self> {
        RPCS.get(path)
    }

    /// The last part of its path, such as `GetCustomer`.
    pub fn name(&self) -> &str {
        self.method.rsplit('/').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rpc_has_a_known_scope_in_the_contract() {
        let paths: Vec<_> = contract::rpcs().iter().map(contract::path).collect();
        assert_eq!(paths.len(), 39);
        for path in &paths {
            assert!(Rpc::at(path).is_some(), "{path}");
        }
        for scope in Scope::ALL {
            let is_named = |path: &String| {
                Rpc::at(path)
                    .is_some_and(|rpc| rpc.scope == scope || rpc.alternative_scope == Some(scope))
            };
            assert!(paths.iter().any(is_named), "no RPC requires {scope:?}");
        }
    }

    #[test]
    fn a_path_without_an_entry_has_no_scope() {
        for path in [
            "",
            "/",
            "GetCustomer",
            "/contact.v1.ContactService/",
            "/contact.v1.ContactService/getCustomer",
            "/contact.v1.ContactService/GetCustomer/",
            "/contact.v2.ContactService/GetCustomer",
            "/grpc.health.v1.Health/Check",
        ] {
            assert!(Rpc::at(path).is_none(), "{path}");
        }
    }

    #[test]
    fn a_scope_set_holds_exactly_the_scopes_that_are_named() {
        for scope in Scope::ALL {
            let set = ScopeSet::parse(&format!("openid {}  x", scope.as_str()));
            for other in Scope::ALL {
                assert_eq!(set.contains(other), other == scope);
            }
        }
        for nothing in [
            "",
            " ",
            "customers",
            "customers.reads",
            "Customers.Read",
            "customers.read\t",
        ] {
            assert_eq!(ScopeSet::parse(nothing), ScopeSet::default(), "{nothing:?}");
        }
    }
}
