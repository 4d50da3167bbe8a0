//! The scopes, and which one every RPC requires.

/// A permission of a token. Each RPC requires one, `UpdateCustomer` others by the fields it sets.
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
    /// Check a phone password.
    PhonePasswordCheck,
    /// Lift a lock of a phone password.
    PhonePasswordUnlock,
    /// Judge an order by phone.
    PhoneOrdersAuthorize,
    /// Read the order types.
    OrderTypesRead,
    /// Write the order types.
    OrderTypesWrite,
    /// Ask who is written to.
    RecipientsResolve,
    /// Read the trail.
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
    pub const ALL: [Self; 17] = [
        Self::CustomersRead,
        Self::CustomersWrite,
        Self::ContactDataWrite,
        Self::ContactsRead,
        Self::ContactsWrite,
        Self::EmailConfirm,
        Self::ChannelsVerify,
        Self::PhonePasswordCheck,
        Self::PhonePasswordUnlock,
        Self::PhoneOrdersAuthorize,
        Self::OrderTypesRead,
        Self::OrderTypesWrite,
        Self::RecipientsResolve,
        Self::AuditRead,
        Self::ChangesWatch,
        Self::PrivacyExport,
        Self::PrivacyErase,
    ];

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
            Self::PhonePasswordCheck => "phone_password.check",
            Self::PhonePasswordUnlock => "phone_password.unlock",
            Self::PhoneOrdersAuthorize => "phone_orders.authorize",
            Self::OrderTypesRead => "order_types.read",
            Self::OrderTypesWrite => "order_types.write",
            Self::RecipientsResolve => "recipients.resolve",
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
        let known = |name| Scope::ALL.into_iter().find(|scope| scope.as_str() == name);
        let scopes = names.into_iter().filter_map(known);
        Self(scopes.fold(0, |bits, scope| bits | 1 << scope as u32))
    }

    pub(super) fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u32) != 0
    }
}

/// The scope of the RPC at `path`, such as `/contact.v1.ContactService/GetCustomer`; `None` for a
/// path without an entry, which nobody may call.
pub fn scope_of(path: &str) -> Option<Scope> {
    Some(match path.strip_prefix("/contact.v1.ContactService/")? {
        "GetCustomer" => Scope::CustomersRead,
        "UpdateCustomer" | "SetAttentionLine" => Scope::CustomersWrite,
        "GetContact" | "ListContacts" => Scope::ContactsRead,
        "CreateContact"
        | "UpdateContact"
        | "DeleteContact"
        | "ChangeEmail"
        | "RemoveEmail"
        | "CancelEmailChange"
        | "ResendEmailConfirmation"
        | "SetPhonePassword"
        | "ClearPhonePassword" => Scope::ContactsWrite,
        "InspectEmailConfirmation" | "ConfirmEmail" => Scope::EmailConfirm,
        "VerifyContactChannel" => Scope::ChannelsVerify,
        "CheckPhonePassword" => Scope::PhonePasswordCheck,
        "UnlockPhonePassword" => Scope::PhonePasswordUnlock,
        "AuthorizePhoneOrder" => Scope::PhoneOrdersAuthorize,
        "ListOrderTypes" => Scope::OrderTypesRead,
        "UpdateOrderType" => Scope::OrderTypesWrite,
        "ResolveRecipients" | "StreamRecipients" => Scope::RecipientsResolve,
        "ListAuditEvents" => Scope::AuditRead,
        "WatchChanges" => Scope::ChangesWatch,
        "ExportCustomer" => Scope::PrivacyExport,
        "EraseCustomer" => Scope::PrivacyErase,
        _ => return None,
    })
}

/// Another scope that admits a caller to the RPC at `path`, which then judges by the request which
/// of the two are required.
pub fn alternative_scope_of(path: &str) -> Option<Scope> {
    (path == "/contact.v1.ContactService/UpdateCustomer").then_some(Scope::ContactDataWrite)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTRACT: &str = include_str!("../../../proto/contact/v1/contact_service.proto");

    #[test]
    fn every_rpc_asks_for_the_scope_that_the_contract_names() {
        let mut named = None;
        let mut rpcs = 0;
        for line in CONTRACT.lines().map(str::trim) {
            if let Some(scope) = line.strip_prefix("// Scope: ") {
                named = scope.strip_suffix('.');
            } else if let Some(rpc) = line.strip_prefix("rpc ") {
                let name = rpc.split('(').next().unwrap();
                let path = format!("/contact.v1.ContactService/{name}");
                let scope = scope_of(&path).map(Scope::as_str);
                assert_eq!(scope, Some(named.take().unwrap()), "{name}");
                rpcs += 1;
            }
        }
        assert_eq!(rpcs, 28);
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
            assert_eq!(scope_of(path), None, "{path}");
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
