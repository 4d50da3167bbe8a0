//! An error for each reason, and every violation, for tests.

use std::time::Duration;

use super::{Error, FindLimit, MailLimit, TokenFault, Violation};

/// Returns at least one error for each reason, and one for each limit.
pub(crate) fn errors() -> Vec<Error> {
    let retry_after = Duration::from_secs(1);
    let resend_limit = |limit| Error::ResendLimit { limit, retry_after };
    let find_limit = |limit| Error::FindLimit { limit, retry_after };
    vec![
        Error::InvalidFields(Vec::new()),
        Error::RequestIdReused,
        Error::InvalidPageToken,
        Error::CursorExpired,
        Error::CustomerNotFound,
        Error::ContactNotFound,
        Error::LastStandardContact,
        Error::FirstContactNotStandard,
        Error::InvoiceEmailNotAllowed,
        Error::NoPendingEmail,
        Error::ConfirmationNotFound,
        Error::ConfirmationExpired,
        Error::ConfirmationSuperseded,
        resend_limit(MailLimit::Resends),
        resend_limit(MailLimit::Address),
        resend_limit(MailLimit::Customer),
        find_limit(FindLimit::Agent),
        find_limit(FindLimit::Customer),
        find_limit(FindLimit::Search),
        Error::GrantInvalid,
        Error::OrderTypeNotFound,
        Error::PhoneOrderNotFound,
        Error::PhoneOrderDenied,
        Error::OutcomeAlreadyRecorded,
        Error::PhoneCallAttemptLimit { limit: 3 },
        Error::AgentBlocked { retry_after },
        Error::OrderingAddressNotOnFile,
        Error::EtagMismatch,
        Error::Conflict,
        Error::ContactLimit { limit: 100 },
        Error::TokenMissing,
        Error::token_invalid(TokenFault::Malformed),
        Error::TokenExpired,
        Error::TokenKeysUnavailable { retry_after },
        Error::ScopeMissing { scope: "" },
        Error::CustomerMismatch,
        Error::DatabaseUnavailable,
        Error::Overloaded { retry_after },
        Error::PepperMissing,
        Error::Deadline,
        Error::StreamIdle,
        Error::Unimplemented,
        Error::internal(""),
        Error::data_loss(""),
    ]
}

/// Returns every violation.
pub(crate) fn violations() -> Vec<Violation> {
    let (min, max, of) = (6, 64, "entries");
    vec![
        Violation::Required,
        Violation::NameMissing,
        Violation::EmailChangeMissing,
        Violation::PasswordChangeMissing,
        Violation::NotTrue,
        Violation::PasswordGivenTwice,
        Violation::NotACode,
        Violation::UnknownOutcome,
        Violation::UnknownEventKind,
        Violation::NotATime,
        Violation::EmptyTimeRange,
        Violation::CustomerNumberMissing,
        Violation::UnknownSalutation,
        Violation::AllCustomersNotAlone,
        Violation::UnknownDeliveryStatus,
        Violation::NotAnEnhancedStatusCode,
        Violation::RepeatedPurpose,
        Violation::TypesMissing,
        Violation::ChannelMissing,
        Violation::PasswordMissing,
        Violation::GenerateFalse,
        Violation::OrderingAddressMissing,
        Violation::TooLong { max },
        Violation::TooMany { max, of },
        Violation::Negative,
        Violation::AttentionLineTooShort { default: max, min },
        Violation::NotASingleLine,
        Violation::ControlCharacters,
        Violation::NotAnEmailAddress,
        Violation::LocalPartLength { max },
        Violation::LocalPartCharacters,
        Violation::NotADomain,
        Violation::NotAPhoneNumber,
        Violation::TooManyDigits { max },
        Violation::SeveralPhoneNumbers,
        Violation::IncompletePhoneNumber,
        Violation::ExtensionNotDialable,
        Violation::UnknownLocale,
        Violation::UnknownContactType,
        Violation::UnknownOrderType,
        Violation::UnknownPurpose,
        Violation::NotAnOrderTypeCode { max },
        Violation::NotACustomerNumber { max },
        Violation::ReservedCustomerNumber,
        Violation::OtherCustomer,
        Violation::Unconfirmed,
        Violation::NotAUuid,
        Violation::PasswordTooShort { min, max },
        Violation::PasswordTooLong { min, max },
        Violation::PasswordTooCommon,
        Violation::PasswordIsCustomerNumber,
        Violation::PasswordIsDisplayName,
        Violation::RequestIdReused,
        Violation::ForeignPageToken,
        Violation::NotAnUpdatableField,
        Violation::MetadataTooLarge,
        Violation::RequestTooLarge,
        Violation::RequestIncomplete,
        Violation::NotAMessage,
        Violation::NotJson { line: 1, column: 2 },
        Violation::UnknownField,
        Violation::TwoValues,
        Violation::NotAJsonValue,
        Violation::NotATimeout,
    ]
}

/// Each variant has a description, so their number is that of the variants.
#[test]
fn every_violation_is_a_sample() {
    let variants = include_str!("violation.rs").matches("#[error(").count();
    let violations = violations();
    assert_eq!(violations.len(), variants);
    for (index, violation) in violations.iter().enumerate() {
        assert!(!violations[..index].contains(violation), "{violation:?}");
    }
}
