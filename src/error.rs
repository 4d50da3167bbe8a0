//! The errors of all layers, in terms of the domain.
//!
//! The list is closed. It has neither gRPC codes, which `api::status` assigns, nor database errors, which
//! `storage` converts. No variant contains a value of a request.

#[cfg(test)]
pub(crate) mod samples;
mod violation;

use std::{io, time::Duration};

pub use self::violation::{FieldViolation, Violation};

/// The result of every fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// The reason for which a setting or a value of a file is invalid. The text never repeats the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub String);

impl Invalid {
    /// Creates a reason such as "must not be empty".
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Returns the cause of a failed connection, for lines that name host and port.
pub fn connection_cause(error: &io::Error) -> String {
    const NO_SUCH_NAME: &str = "failed to lookup address information: ";
    let text = error.to_string();
    text.strip_prefix(NO_SUCH_NAME).map_or_else(
        || error.kind().to_string(),
        |why| format!("its name cannot be resolved: {why}"),
    )
}

/// Returns the reason for which a file of settings cannot be read, for lines that name it.
pub fn file_cause(error: &io::Error) -> String {
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound {
        "there is no such file".to_owned()
    } else if kind == io::ErrorKind::InvalidData {
        "it is no text in UTF-8".to_owned()
    } else {
        kind.to_string()
    }
}

/// The check of a token that failed; the metadata `cause` of `TOKEN_INVALID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// Not a signed JWT, or one with a claim of an unusable type or value.
    Malformed,
    /// The issuer's key set has no key of the token's `kid`.
    UnknownKey,
    /// The signature does not match the key.
    BadSignature,
    /// An algorithm that is not accepted at all, or not with this key.
    Algorithm,
    /// A required claim is absent.
    ClaimMissing,
    /// Issued by another issuer.
    Issuer,
    /// Issued for another audience.
    Audience,
    /// Issued for a later time.
    NotYetValid,
    /// Valid for longer than is accepted.
    Lifetime,
    /// Issued to a subject that the audit log reserves for this service.
    Subject,
    /// Larger than 12 KiB.
    TooLarge,
}

impl TokenFault {
    /// Every cause, in the order of the declaration.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::UnknownKey,
        Self::BadSignature,
        Self::Algorithm,
        Self::ClaimMissing,
        Self::Issuer,
        Self::Audience,
        Self::NotYetValid,
        Self::Lifetime,
        Self::Subject,
        Self::TooLarge,
    ];

    /// The name in metadata and logs, such as `CLAIM_MISSING`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "MALFORMED",
            Self::UnknownKey => "UNKNOWN_KEY",
            Self::BadSignature => "BAD_SIGNATURE",
            Self::Algorithm => "ALGORITHM",
            Self::ClaimMissing => "CLAIM_MISSING",
            Self::Issuer => "ISSUER",
            Self::Audience => "AUDIENCE",
            Self::NotYetValid => "NOT_YET_VALID",
            Self::Lifetime => "LIFETIME",
            Self::Subject => "SUBJECT",
            Self::TooLarge => "TOO_LARGE",
        }
    }

    fn text(self, claim: Option<&str>) -> String {
        let of_claim = |text: &str| format!("the claim {} {text}", claim.unwrap_or_default());
        match self {
            Self::Malformed if claim.is_some() => {
                of_claim("of the token has an unusable type or value; correct it at the identity provider")
            }
            Self::Malformed => {
                "must be Bearer and a signed JWT; send the access token as it was issued".to_owned()
            }
            Self::UnknownKey => {
                "the key that signed the token is not in the issuer's key set; request a new token"
                    .to_owned()
            }
            Self::BadSignature => {
                "the token's signature is wrong; send the access token as it was issued".to_owned()
            }
            Self::Algorithm => {
                "the token's algorithm is not accepted; sign with an RS, PS, ES or EdDSA key of the issuer"
                    .to_owned()
            }
            Self::ClaimMissing => {
                of_claim("is missing in the token; add it at the identity provider")
            }
            Self::Issuer => {
                "the token's issuer is not accepted; request it from a configured issuer".to_owned()
            }
            Self::Audience => {
                "the token is for another audience; request it for this service".to_owned()
            }
            Self::NotYetValid => {
                of_claim("of the token is in the future; synchronize the clocks, or send it later")
            }
            Self::Lifetime => {
                of_claim("of the token is too long after it was issued; request one with a shorter lifetime")
            }
            Self::Subject => {
                of_claim("of the token is reserved for this service; rename the subject at the identity provider")
            }
            Self::TooLarge => {
                "the token must be at most 12 KiB; request one with fewer claims".to_owned()
            }
        }
    }
}

/// A limit on confirmation mails; the metadata `limit` of `RESEND_LIMIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailLimit {
    /// Rule 11: resends to a pending address.
    Resends,
    /// E-mails to an address, over all contacts and customers.
    Address,
    /// E-mails of a customer.
    Customer,
}

impl MailLimit {
    /// The name in metadata, such as `mails_per_address`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resends => "resends",
            Self::Address => "mails_per_address",
            Self::Customer => "mails_per_customer",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Resends => {
                "the confirmation link was sent again too often; a pending address gets 3 resends, then one an hour; retry later"
            }
            Self::Address => {
                "email: an address gets at most 5 confirmation mails an hour and 20 a day; retry later, or confirm by one that was sent"
            }
            Self::Customer => {
                "customer_number: a customer causes at most 100 confirmation mails an hour; retry later"
            }
        }
    }
}

/// A limit on lookups of phone numbers and e-mail addresses; the metadata `limit` of `FIND_LIMIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindLimit {
    /// Lookups of an agent.
    Agent,
    /// Lookups for a customer.
    Customer,
    /// Searches of an agent over all customers.
    Search,
}

impl FindLimit {
    /// The name in metadata, such as `channel_checks_per_agent`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "channel_checks_per_agent",
            Self::Customer => "channel_checks_per_customer",
            Self::Search => "customer_searches_per_agent",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Agent => {
                "too many phone numbers and addresses were verified by this agent within a minute; retry later"
            }
            Self::Customer => {
                "too many phone numbers and addresses were verified for this customer within a minute; retry later"
            }
            Self::Search => {
                "this agent searched for too many customers within a minute; retry later"
            }
        }
    }
}

/// The errors that a request can return.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Invalid fields, all of them at once.
    #[error("the request has {} field(s) that cannot be taken", .0.len())]
    InvalidFields(Vec<FieldViolation>),
    /// The request id was used for another request.
    #[error("{}", Violation::RequestIdReused)]
    RequestIdReused,
    /// A page token that this service did not issue for this list.
    #[error("{}", Violation::ForeignPageToken)]
    InvalidPageToken,
    /// A cursor that cannot be honored: events after it were deleted, its service key is retired, the
    /// database was restored, or this service did not issue it.
    #[error("cursor: cannot be honored any more; read everything again and watch without a cursor")]
    CursorExpired,
    /// An unknown customer.
    #[error("there is no customer with this customer_number")]
    CustomerNotFound,
    /// An unknown contact of the customer.
    #[error("this customer has no contact with this contact_id")]
    ContactNotFound,
    /// Rule 2: the last STANDARD contact stays.
    #[error(
        "the customer's last STANDARD contact can be neither deleted nor stripped of that type"
    )]
    LastStandardContact,
    /// Rule 2: the first contact is STANDARD.
    #[error("the first contact of a customer must be of type STANDARD")]
    FirstContactNotStandard,
    /// Rule 22: invoice e-mail needs a type and an address.
    #[error(
        "invoice e-mail needs a contact of type STANDARD or ACCOUNTING that has an e-mail address"
    )]
    InvoiceEmailNotAllowed,
    /// The contact has no pending address.
    #[error("the contact has no pending e-mail address")]
    NoPendingEmail,
    /// A link that this service did not send, or whose record was deleted.
    #[error("there is no confirmation with this token")]
    ConfirmationNotFound,
    /// Rule 7: the seven days of the link have passed.
    #[error("the confirmation link has expired; the address has to be entered again")]
    ConfirmationExpired,
    /// Rules 6 and 8: the address of the link was replaced or dropped.
    #[error("the confirmation link is dead: its address was replaced or dropped")]
    ConfirmationSuperseded,
    /// A limit of confirmation e-mails is reached.
    #[error("{}", limit.text())]
    ResendLimit {
        /// The limit that was reached.
        limit: MailLimit,
        /// The time until the next e-mail is possible.
        retry_after: Duration,
    },
    /// Too many lookups within a minute.
    #[error("{}", limit.text())]
    FindLimit {
        /// The limit that was reached.
        limit: FindLimit,
        /// The time until the next lookup is possible.
        retry_after: Duration,
    },
    /// Rule 18: the grant is not for this customer, contact, agent and phone call, or it has expired.
    #[error(
        "the grant does not prove that this contact is on this phone call; check the phone password or a one-time code again"
    )]
    GrantInvalid,
    /// An unknown order type.
    #[error("there is no order type with this code")]
    OrderTypeNotFound,
    /// An unknown phone order.
    #[error("this customer has no phone order with this authorization_id")]
    PhoneOrderNotFound,
    /// Rule 28: a denied order has no outcome.
    #[error("the phone order was denied, so that it has no outcome")]
    PhoneOrderDenied,
    /// Rule 28: the outcome of an order is recorded once.
    #[error("an outcome was recorded for this phone order")]
    OutcomeAlreadyRecorded,
    /// Rule 16: the attempts of a phone call are used up.
    #[error("call_id: a phone call has at most {limit} attempts; ask the caller to call again")]
    PhoneCallAttemptLimit {
        /// The limit that was reached.
        limit: i16,
    },
    /// Rule 16: the agent has too many failed attempts within an hour.
    #[error("too many wrong phone passwords and codes came from this agent; try again later")]
    AgentBlocked {
        /// The time until the next attempt is possible.
        retry_after: Duration,
    },
    /// Rule 23: the order came from another address than the contact-data one.
    #[error("ordered_by_email is not the customer's contact-data address")]
    OrderingAddressNotOnFile,
    /// The resource was changed since its etag was read.
    #[error("the resource was changed since this etag was read")]
    EtagMismatch,
    /// Concurrent changes prevented this one, also after retries.
    #[error("concurrent changes of the same customer got in the way; try again")]
    Conflict,
    /// Rule 4: the customer has as many contacts as allowed.
    #[error("a customer has at most {limit} contacts")]
    ContactLimit {
        /// The limit that was reached.
        limit: usize,
    },
    /// The request has no bearer token.
    #[error("the request needs a token: authorization: Bearer <JWT>")]
    TokenMissing,
    /// The token was rejected.
    #[error("authorization: {}", cause.text(claim.as_deref()))]
    TokenInvalid {
        /// The check that failed.
        cause: TokenFault,
        /// Name of the claim that failed it, as the settings or RFC 7519 name it.
        claim: Option<String>,
    },
    /// The token has expired.
    #[error("the token has expired")]
    TokenExpired,
    /// The issuer's key set could not be read for too long, so that its tokens cannot be verified.
    #[error("the keys of the token's issuer cannot be read at the moment; retry later")]
    TokenKeysUnavailable {
        /// The time until the next attempt to read them.
        retry_after: Duration,
    },
    /// The token lacks the scope of this RPC.
    #[error("the token lacks the scope {scope}")]
    ScopeMissing {
        /// The scope that the request requires.
        scope: &'static str,
    },
    /// The token is scoped to another customer.
    #[error("the token is scoped to another customer")]
    CustomerMismatch,
    /// The database does not answer.
    #[error("the database does not answer at the moment")]
    DatabaseUnavailable,
    /// Rule 15: this instance lacks the pepper version of the stored hash.
    #[error(
        "phone passwords cannot be checked by this instance at the moment; no attempt was counted, retry later"
    )]
    PepperMissing,
    /// Too many concurrent requests.
    #[error("too many requests are in flight")]
    Overloaded {
        /// The time until a retry makes sense.
        retry_after: Duration,
    },
    /// The deadline of the request has passed.
    #[error("the request took longer than its deadline")]
    Deadline,
    /// The client of a stream sent no request for too long.
    #[error("stream: no request came for a minute; open a new one when there are more")]
    StreamIdle,
    /// An RPC or a message encoding that this version does not offer.
    #[error("this version does not offer this RPC or this grpc-encoding; use identity or gzip")]
    Unimplemented,
    /// A defect of this service. The text goes to the log, never to a client.
    #[error("internal error: {what}")]
    Internal {
        /// The failure, without values.
        what: String,
    },
    /// Stored data that cannot be read. The text goes to the log, never to a client.
    #[error("stored data cannot be read: {what}")]
    DataLoss {
        /// The data that cannot be read, without values.
        what: String,
    },
}

impl Error {
    /// Creates an error of one invalid field.
    pub fn invalid_field(field: impl Into<String>, violation: Violation) -> Self {
        Self::InvalidFields(vec![FieldViolation::new(field, violation)])
    }

    /// Creates the error of a token that failed a check of no single claim.
    pub const fn token_invalid(cause: TokenFault) -> Self {
        Self::TokenInvalid { cause, claim: None }
    }

    /// Creates the error of a token that failed a check of `claim`.
    pub fn token_claim(cause: TokenFault, claim: impl Into<String>) -> Self {
        Self::TokenInvalid {
            cause,
            claim: Some(claim.into()),
        }
    }

    /// Creates the error of a defect, which is logged.
    pub fn internal(what: impl Into<String>) -> Self {
        Self::Internal { what: what.into() }
    }

    /// Creates the error of unreadable stored data, which is logged.
    pub fn data_loss(what: impl Into<String>) -> Self {
        Self::DataLoss { what: what.into() }
    }
}
