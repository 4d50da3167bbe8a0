//! Converts errors to gRPC statuses (AIP-193). No other file assigns codes to errors.

use std::{collections::HashMap, time::Duration};

use prost::Message;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, LocalizedMessage, StatusExt};

use super::{error_texts, proto::ErrorReason, request_context::RequestContext};
use crate::{
    error::{Error, Violation},
    localization::Language,
};

/// The domain in every `ErrorInfo`.
pub const ERROR_DOMAIN: &str = "contact.v1";
const REASON_PREFIX: &str = "ERROR_REASON_";
/// Number of violations in the message of a status; its details have all that fit.
const MAX_DESCRIBED: usize = 3;
/// Size of all violations: in Base64, and with the other trailers, they stay below the 8 KiB of metadata
/// that clients accept by default.
const MAX_VIOLATION_BYTES: usize = 4_500;
/// Overhead of Protobuf per violation.
const FRAMING_BYTES: usize = 20;
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(1);

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        to_status(&error, &RequestContext::current())
    }
}

impl Error {
    /// Converts the error to a message, for results that contain an error.
    pub(super) fn into_rpc_status(self) -> tonic_types::Status {
        let status = Status::from(self);
        tonic_types::Status {
            code: status.code().into(),
            message: status.message().to_owned(),
            details: tonic_types::Status::decode(status.details())
                .map(|status| status.details)
                .unwrap_or_default(),
        }
    }
}

fn to_status(error: &Error, context: &RequestContext) -> Status {
    let language = context.language;
    let (code, reason) = code_and_reason(error);
    let mut details = ErrorDetails::new();
    let mut metadata = metadata(error);
    let trace_id = context.trace_id.clone();
    metadata.extend(trace_id.map(|trace_id| ("trace_id".to_owned(), trace_id)));
    details.set_error_info(name(reason), ERROR_DOMAIN, metadata);
    details.set_localized_message(language.as_str(), localized(error, language));
    if let Some(violations) = violations(error, language) {
        details.set_bad_request(violations);
    }
    if let Some(delay) = retry_delay(error) {
        details.set_retry_info(Some(delay));
    }
    Status::with_error_details(code, message(error), details)
}

/// Returns the text of an error for people, in their language.
pub(super) fn localized(error: &Error, language: Language) -> String {
    error_texts::of_error(
        reason(error),
        &metadata(error),
        retry_delay(error),
        language,
    )
}

/// Returns the reason of an error, such as `CUSTOMER_MISMATCH`.
pub(super) fn reason(error: &Error) -> &'static str {
    name(code_and_reason(error).1)
}

/// Returns the name of a reason without the prefix of the enum, as in `ErrorInfo`.
fn name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix(REASON_PREFIX).unwrap_or(name)
}

fn code_and_reason(error: &Error) -> (Code, ErrorReason) {
    match error {
        Error::InvalidFields(_) => (Code::InvalidArgument, ErrorReason::InvalidField),
        Error::RequestIdReused => (Code::InvalidArgument, ErrorReason::RequestIdReused),
        Error::InvalidPageToken => (Code::InvalidArgument, ErrorReason::InvalidPageToken),
        Error::CursorExpired => (Code::FailedPrecondition, ErrorReason::CursorExpired),
        Error::CustomerNotFound => (Code::NotFound, ErrorReason::CustomerNotFound),
        Error::ContactNotFound => (Code::NotFound, ErrorReason::ContactNotFound),
        Error::LastStandardContact => (Code::FailedPrecondition, ErrorReason::LastStandardContact),
        Error::FirstContactNotStandard => (
            Code::FailedPrecondition,
            ErrorReason::FirstContactNotStandard,
        ),
        Error::InvoiceEmailNotAllowed => (
            Code::FailedPrecondition,
            ErrorReason::InvoiceEmailNotAllowed,
        ),
        Error::NoPendingEmail => (Code::FailedPrecondition, ErrorReason::NoPendingEmail),
        Error::ConfirmationNotFound => (Code::NotFound, ErrorReason::ConfirmationNotFound),
        Error::ConfirmationExpired => (Code::FailedPrecondition, ErrorReason::ConfirmationExpired),
        Error::ConfirmationSuperseded => (
            Code::FailedPrecondition,
            ErrorReason::ConfirmationSuperseded,
        ),
        Error::ResendLimit { .. } => (Code::ResourceExhausted, ErrorReason::ResendLimit),
        Error::FindLimit { .. } => (Code::ResourceExhausted, ErrorReason::FindLimit),
        Error::GrantInvalid => (Code::FailedPrecondition, ErrorReason::GrantInvalid),
        Error::OrderTypeNotFound => (Code::NotFound, ErrorReason::OrderTypeNotFound),
        Error::PhoneOrderNotFound => (Code::NotFound, ErrorReason::PhoneOrderNotFound),
        Error::PhoneOrderDenied => (Code::FailedPrecondition, ErrorReason::PhoneOrderDenied),
        Error::OutcomeAlreadyRecorded => (
            Code::FailedPrecondition,
            ErrorReason::OutcomeAlreadyRecorded,
        ),
        Error::PhoneCallAttemptLimit { .. } => {
            (Code::ResourceExhausted, ErrorReason::PhoneCallAttemptLimit)
        }
        Error::AgentBlocked { .. } => (Code::ResourceExhausted, ErrorReason::AgentBlocked),
        Error::OrderingAddressNotOnFile => (
            Code::FailedPrecondition,
            ErrorReason::OrderingAddressNotOnFile,
        ),
        Error::EtagMismatch => (Code::Aborted, ErrorReason::EtagMismatch),
        Error::Conflict => (Code::Aborted, ErrorReason::Conflict),
        Error::ContactLimit { .. } => (Code::ResourceExhausted, ErrorReason::ContactLimit),
        Error::TokenMissing => (Code::Unauthenticated, ErrorReason::TokenMissing),
        Error::TokenInvalid { .. } => (Code::Unauthenticated, ErrorReason::TokenInvalid),
        Error::TokenExpired => (Code::Unauthenticated, ErrorReason::TokenExpired),
        Error::TokenKeysUnavailable { .. } => {
            (Code::Unavailable, ErrorReason::TokenKeysUnavailable)
        }
        Error::ScopeMissing { .. } => (Code::PermissionDenied, ErrorReason::ScopeMissing),
        Error::CustomerMismatch => (Code::PermissionDenied, ErrorReason::CustomerMismatch),
        Error::DatabaseUnavailable => (Code::Unavailable, ErrorReason::DatabaseUnavailable),
        Error::Overloaded { .. } => (Code::Unavailable, ErrorReason::Overloaded),
        Error::PepperMissing => (Code::Unavailable, ErrorReason::PepperMissing),
        Error::Deadline | Error::StreamIdle => (Code::DeadlineExceeded, ErrorReason::Deadline),
        Error::Unimplemented => (Code::Unimplemented, ErrorReason::Unimplemented),
        Error::Internal { .. } => (Code::Internal, ErrorReason::Internal),
        Error::DataLoss { .. } => (Code::DataLoss, ErrorReason::DataLoss),
    }
}

/// Returns the reason of a status; empty if it has none.
pub(super) fn reason_of(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.map(|info| info.reason).unwrap_or_default()
}

/// Returns the name of a code in gRPC's specification.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Returns the text for developers. The details of internal failures are logged here, and never sent to a
/// client.
fn message(error: &Error) -> String {
    if let Error::Internal { what } = error {
        tracing::error!(what, "internal error");
        return "the service failed; the failure was logged".to_owned();
    }
    if let Error::DataLoss { what } = error {
        tracing::error!(what, "stored data cannot be read");
        return "stored data cannot be read; the failure was logged".to_owned();
    }
    if let Error::InvalidFields(violations) = error {
        let mut described: Vec<_> = violations
            .iter()
            .take(MAX_DESCRIBED)
            .map(|invalid| format!("{} {}", invalid.field, invalid.violation))
            .collect();
        if violations.len() > MAX_DESCRIBED {
            described.push(format!("and {} more", violations.len() - MAX_DESCRIBED));
        }
        return described.join("; ");
    }
    error.to_string()
}

/// Returns the metadata of an error for programs. Names are in lower snake case; values are codes, limits and
/// counts, never text of a request.
fn metadata(error: &Error) -> HashMap<String, String> {
    let mut values = Vec::new();
    if let Error::ScopeMissing { scope } = error {
        values.push(("scope", (*scope).to_owned()));
    }
    if let Error::TokenInvalid { cause, claim } = error {
        values.push(("cause", cause.as_str().to_owned()));
        values.extend(claim.clone().map(|claim| ("claim", claim)));
    }
    if let Error::ContactLimit { limit } = error {
        values.push(("limit", limit.to_string()));
    }
    if let Error::PhoneCallAttemptLimit { limit } = error {
        values.push(("limit", limit.to_string()));
    }
    if let Error::ResendLimit { limit, .. } = error {
        values.push(("limit", limit.as_str().to_owned()));
    }
    if let Error::FindLimit { limit, .. } = error {
        values.push(("limit", limit.as_str().to_owned()));
    }
    if let Some(delay) = retry_delay(error) {
        values.push(("retry_seconds", whole_seconds(delay)));
    }
    let named = |(name, value): (&str, String)| (name.to_owned(), value);
    values.into_iter().map(named).collect()
}

/// Rounds up, so that a client that waits this long does not retry too early.
fn whole_seconds(delay: Duration) -> String {
    let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
    seconds.to_string()
}

fn violations(error: &Error, language: Language) -> Option<Vec<FieldViolation>> {
    let one = |field: &str, violation| Some(vec![encode(field, violation, language)]);
    if let Error::InvalidFields(violations) = error {
        let violations = violations.iter();
        let encoded = violations.map(|invalid| encode(&invalid.field, invalid.violation, language));
        return Some(fitting(encoded.collect()));
    }
    if *error == Error::RequestIdReused {
        return one("request_id", Violation::RequestIdReused);
    }
    if *error == Error::InvalidPageToken {
        return one("page_token", Violation::ForeignPageToken);
    }
    None
}

fn encode(field: &str, violation: Violation, language: Language) -> FieldViolation {
    FieldViolation {
        field: field.to_owned(),
        description: violation.to_string(),
        reason: violation.reason().to_owned(),
        localized_message: Some(LocalizedMessage {
            locale: language.as_str().to_owned(),
            message: error_texts::of_violation(violation, language),
        }),
    }
}

/// Returns the violations that fit: if not all do, the last elements of lists are omitted first.
fn fitting(mut violations: Vec<FieldViolation>) -> Vec<FieldViolation> {
    let size = |violation: &FieldViolation| {
        let text = violation.localized_message.as_ref();
        let text = text.map_or(0, |text| text.locale.len() + text.message.len());
        let FieldViolation {
            field,
            description,
            reason,
            ..
        } = violation;
        field.len() + description.len() + reason.len() + text + FRAMING_BYTES
    };
    if violations.iter().map(size).sum::<usize>() <= MAX_VIOLATION_BYTES {
        return violations;
    }
    violations.sort_by_key(|violation| element(&violation.field));
    let mut total = 0;
    violations.retain(|violation| {
        total += size(violation);
        total <= MAX_VIOLATION_BYTES
    });
    violations
}

/// Returns the index of the list element that a field names; 0 for other fields.
fn element(field: &str) -> usize {
    let index = field
        .strip_suffix(']')
        .and_then(|field| field.rsplit_once('['));
    index.map_or(0, |(_, index)| index.parse().unwrap_or_default())
}

fn retry_delay(error: &Error) -> Option<Duration> {
    if let Error::Overloaded { retry_after }
    | Error::ResendLimit { retry_after, .. }
    | Error::FindLimit { retry_after, .. }
    | Error::AgentBlocked { retry_after }
    | Error::TokenKeysUnavailable { retry_after } = error
    {
        return Some(*retry_after);
    }
    matches!(error, Error::DatabaseUnavailable | Error::PepperMissing).then_some(UNAVAILABLE_RETRY)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http::HeaderMap;

    use super::*;
    use crate::{
        api::proto::FieldViolationReason,
        error::{self, samples},
    };

    /// The compiler checks the other direction: [`code_and_reason`] has values of the enum only.
    #[test]
    fn every_reason_of_the_contract_belongs_to_an_error() {
        let returned: BTreeSet<_> = samples::errors().iter().map(reason).collect();
        let listed = (1..).map_while(|number| ErrorReason::try_from(number).ok());
        assert_eq!(returned, listed.map(name).collect());
    }

    #[test]
    fn reasons_of_violations_are_those_of_the_contract() {
        let violations = samples::violations();
        let returned = violations.iter().map(|violation| violation.reason());
        let listed = (1..).map_while(|number| FieldViolationReason::try_from(number).ok());
        let listed = listed.map(|reason| {
            let name = reason.as_str_name();
            name.strip_prefix("FIELD_VIOLATION_REASON_").unwrap()
        });
        assert_eq!(
            returned.collect::<BTreeSet<_>>(),
            listed.collect::<BTreeSet<_>>()
        );
    }

    #[test]
    fn error_info_has_the_reason_without_its_prefix() {
        let status = Status::from(Error::LastStandardContact);
        assert_eq!(reason_of(&status), "LAST_STANDARD_CONTACT");
    }

    #[test]
    fn comments_of_reasons_name_their_codes() {
        let contract = include_str!("../../proto/contact/v1/errors.proto");
        for error in samples::errors() {
            let (code, reason) = code_and_reason(&error);
            let value = format!("  {} = ", reason.as_str_name());
            let comments = contract.split(&value).next().unwrap_or_default();
            let comment = comments.rsplit("\n\n").next().unwrap_or_default();
            let named = comment.trim_start().strip_prefix("// ").unwrap_or_default();
            let named = named.split(':').next().unwrap_or_default();
            assert_eq!(named, code_name(code), "{}", reason.as_str_name());
        }
    }

    fn reported(fields: &[String]) -> Vec<String> {
        let longest = Violation::IncompletePhoneNumber;
        let violation = |field: &String| error::FieldViolation::new(field, longest);
        let error = Error::InvalidFields(fields.iter().map(violation).collect());
        let context = RequestContext {
            language: Language::German,
            trace_id: Some("0".repeat(32)),
        };
        let status = to_status(&error, &context);
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers).unwrap();
        // As HTTP/2 counts metadata (RFC 9113, 6.5.2).
        let sizes = trailers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 32);
        let size: usize = sizes.sum();
        assert!(size < 8_000, "{size}");
        let details = status.get_error_details();
        let violations = details.bad_request().unwrap().field_violations.clone();
        violations.into_iter().map(|found| found.field).collect()
    }

    #[test]
    fn all_violations_are_reported_in_order() {
        let fields = ["codes[2]", "codes[1]", "name"].map(str::to_owned);
        assert_eq!(reported(&fields), fields);
    }

    #[test]
    fn too_many_violations_omit_last_list_elements_only() {
        let lists = ["contact.one", "contact.other"];
        let elements = lists.map(|list| (0..100).map(move |index| format!("{list}[{index}]")));
        let mut fields: Vec<_> = elements.into_iter().flatten().collect();
        fields.push("email".to_owned());
        let shown = reported(&fields);
        assert!((10..30).contains(&shown.len()), "{}", shown.len());
        for field in [
            "email",
            "contact.one[0]",
            "contact.other[0]",
            "contact.other[4]",
        ] {
            assert!(
                shown.iter().any(|found| found == field),
                "{field}: {shown:?}"
            );
        }
    }
}
