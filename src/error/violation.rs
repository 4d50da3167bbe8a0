//! The violations of fields. The list is closed, so that each has a reason for programs and a text for
//! people in every language.

/// The rule that a field of a request violates. Its `Display` is the description for developers, which
/// follows the name of the field and never repeats the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the descriptions document the variants")]
pub enum Violation {
    #[error("must not be empty")]
    Required,
    #[error("must not be empty without a title, given name or family name")]
    NameMissing,
    #[error("must hold at least one type")]
    TypesMissing,
    #[error("must be phone_number or email")]
    ChannelMissing,
    #[error("must be phone_password or generate")]
    PasswordMissing,
    #[error("must be a one-time code: 6 digits")]
    NotACode,
    #[error("must be PLACED or NOT_PLACED")]
    UnknownOutcome,
    #[error("must be a known kind of event")]
    UnknownEventKind,
    #[error("must be a time")]
    NotATime,
    #[error("must be after start_time")]
    EmptyTimeRange,
    #[error("needs a customer_number")]
    CustomerNumberMissing,
    #[error("must be true, or phone_password be given")]
    GenerateFalse,
    #[error("must be false where phone_password is given")]
    PasswordGivenTwice,
    #[error("must be set_email, remove_email or cancel_pending")]
    EmailChangeMissing,
    #[error("must be new_phone_password, generate or clear")]
    PasswordChangeMissing,
    #[error("must be true, or absent")]
    NotTrue,
    #[error("must be the address from which the customer's order came")]
    OrderingAddressMissing,
    #[error("must have at most {max} characters")]
    TooLong { max: usize },
    #[error("must hold at most {max} {of}")]
    TooMany { max: usize, of: &'static str },
    #[error("must not be negative")]
    Negative,
    #[error("must be 0 (for {default}) or at least {min}")]
    AttentionLineTooShort { default: usize, min: usize },
    #[error("must not hold control characters, line breaks or invisible characters")]
    NotASingleLine,
    #[error("must not hold control characters other than line breaks and tabs")]
    ControlCharacters,
    #[error("must be an e-mail address, such as anna@example.com")]
    NotAnEmailAddress,
    #[error("must have 1 to {max} characters before the @")]
    LocalPartLength { max: usize },
    #[error(
        "must have only ASCII letters, digits and !#$%&'*+-/=?^_`{{|}}~ before the @, in parts joined by single dots"
    )]
    LocalPartCharacters,
    #[error("must have a domain name after the @, such as example.com")]
    NotADomain,
    #[error(
        "must be a phone number that can be dialled from abroad, such as +49 721 1234567 or 0721 1234567"
    )]
    NotAPhoneNumber,
    #[error("must have at most {max} digits with its country code; give each number separately")]
    TooManyDigits { max: usize },
    #[error("must be one phone number; give each number separately")]
    SeveralPhoneNumbers,
    #[error(
        "must begin with + and the country code or with 0 and the area code, such as +49 721 1234567 or 0721 1234567"
    )]
    IncompletePhoneNumber,
    #[error("must be a number that can be dialled directly; give it without its extension")]
    ExtensionNotDialable,
    #[error("must be \"de\" or \"en\"")]
    UnknownLocale,
    #[error("must be a known contact type")]
    UnknownContactType,
    #[error("must be a known salutation")]
    UnknownSalutation,
    #[error("must be a known order type")]
    UnknownOrderType,
    #[error("must be a known purpose")]
    UnknownPurpose,
    #[error("must be in the first message, without customer_numbers")]
    AllCustomersNotAlone,
    #[error("must be DELIVERED, FAILED_PERMANENTLY, FAILED_TEMPORARILY or COMPLAINT")]
    UnknownDeliveryStatus,
    #[error("must be an enhanced status code, such as 5.1.1")]
    NotAnEnhancedStatusCode,
    #[error("must not repeat a purpose")]
    RepeatedPurpose,
    #[error("must have 1 to {max} of A-Z, a-z, 0-9, '.', '_' and '-'")]
    NotAnOrderTypeCode { max: usize },
    #[error("must have 1 to {max} of A-Z, a-z, 0-9 and '-'")]
    NotACustomerNumber { max: usize },
    #[error("must not have the form of an erased customer's pseudonym")]
    ReservedCustomerNumber,
    #[error("must be empty or equal to customer_number")]
    OtherCustomer,
    #[error("must be equal to customer_number")]
    Unconfirmed,
    #[error("must be a UUID, such as 0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55")]
    NotAUuid,
    #[error("must have {min} to {max} characters, blanks and hyphens not counted")]
    PasswordTooShort { min: usize, max: usize },
    #[error("must have {min} to {max} characters, blanks and hyphens not counted")]
    PasswordTooLong { min: usize, max: usize },
    #[error("is too common: others would guess it")]
    PasswordTooCommon,
    #[error("must not be the customer number")]
    PasswordIsCustomerNumber,
    #[error("must not be the contact's own name")]
    PasswordIsDisplayName,
    #[error("this request_id was used within the last 24 hours for another request")]
    RequestIdReused,
    #[error("the page_token does not belong to this listing")]
    ForeignPageToken,
    #[error("must name only fields that can be updated, or be a single \"*\"")]
    NotAnUpdatableField,
    #[error("must be at most 16 KiB besides the token")]
    MetadataTooLarge,
    #[error("is longer than this RPC allows")]
    RequestTooLarge,
    #[error("was not sent to its end")]
    RequestIncomplete,
    #[error("is not a message of this RPC")]
    NotAMessage,
    #[error("is not valid JSON at line {line}, column {column}")]
    NotJson { line: usize, column: usize },
    #[error("is not a field of this message")]
    UnknownField,
    #[error("has two values")]
    TwoValues,
    #[error("is not a value of this field in JSON")]
    NotAJsonValue,
    #[error("must be a number of milliseconds with at most 10 digits")]
    NotATimeout,
}

impl Violation {
    /// Returns the reason for programs, such as `TOO_LONG`.
    pub const fn reason(self) -> &'static str {
        self.names().0
    }

    /// Returns the name of the text for people in the catalogues of languages, such as `too-long`.
    pub const fn text_id(self) -> &'static str {
        self.names().1
    }

    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Required => ("REQUIRED", "required"),
            Self::NameMissing => ("REQUIRED", "name-missing"),
            Self::TypesMissing => ("REQUIRED", "types-missing"),
            Self::ChannelMissing => ("REQUIRED", "channel-missing"),
            Self::PasswordMissing | Self::GenerateFalse => ("REQUIRED", "password-missing"),
            Self::EmailChangeMissing | Self::PasswordChangeMissing | Self::NotTrue => {
                ("REQUIRED", "choice-missing")
            }
            Self::NotACode => ("NOT_A_CODE", "not-a-code"),
            Self::UnknownOutcome => ("UNKNOWN_OUTCOME", "unknown-outcome"),
            Self::UnknownEventKind => ("UNKNOWN_EVENT_KIND", "unknown-event-kind"),
            Self::NotATime => ("INVALID_TIME", "not-a-time"),
            Self::EmptyTimeRange => ("INVALID_TIME", "empty-time-range"),
            Self::CustomerNumberMissing => ("REQUIRED", "customer-number-missing"),
            Self::PasswordGivenTwice => ("MISMATCH", "password-given-twice"),
            Self::OrderingAddressMissing => ("REQUIRED", "ordering-address-missing"),
            Self::TooLong { .. } => ("TOO_LONG", "too-long"),
            Self::TooMany { .. } => ("TOO_MANY", "too-many"),
            Self::Negative => ("OUT_OF_RANGE", "negative"),
            Self::AttentionLineTooShort { .. } => ("OUT_OF_RANGE", "attention-line-too-short"),
            Self::NotASingleLine => ("CHARACTERS_NOT_ALLOWED", "not-a-single-line"),
            Self::ControlCharacters => ("CHARACTERS_NOT_ALLOWED", "control-characters"),
            Self::NotAnEmailAddress => ("NOT_AN_EMAIL_ADDRESS", "not-an-email-address"),
            Self::LocalPartLength { .. } => ("NOT_AN_EMAIL_ADDRESS", "local-part-length"),
            Self::LocalPartCharacters => ("NOT_AN_EMAIL_ADDRESS", "local-part-characters"),
            Self::NotADomain => ("NOT_AN_EMAIL_ADDRESS", "not-a-domain"),
            Self::NotAPhoneNumber => ("NOT_A_PHONE_NUMBER", "not-a-phone-number"),
            Self::TooManyDigits { .. } => ("NOT_A_PHONE_NUMBER", "too-many-digits"),
            Self::SeveralPhoneNumbers => ("SEVERAL_PHONE_NUMBERS", "several-phone-numbers"),
            Self::IncompletePhoneNumber => ("INCOMPLETE_PHONE_NUMBER", "incomplete-phone-number"),
            Self::ExtensionNotDialable => ("EXTENSION_NOT_DIALABLE", "extension-not-dialable"),
            Self::UnknownLocale => ("UNKNOWN_LOCALE", "unknown-locale"),
            Self::UnknownContactType => ("UNKNOWN_CONTACT_TYPE", "unknown-contact-type"),
            Self::UnknownSalutation => ("UNKNOWN_SALUTATION", "unknown-salutation"),
            Self::UnknownOrderType => ("UNKNOWN_ORDER_TYPE", "order-type-not-found"),
            Self::UnknownPurpose => ("UNKNOWN_PURPOSE", "unknown-purpose"),
            Self::AllCustomersNotAlone => ("MISMATCH", "all-customers-not-alone"),
            Self::UnknownDeliveryStatus => ("UNKNOWN_DELIVERY_STATUS", "unknown-delivery-status"),
            Self::NotAnEnhancedStatusCode => {
                ("NOT_AN_ENHANCED_STATUS_CODE", "not-an-enhanced-status-code")
            }
            Self::RepeatedPurpose => ("DUPLICATE", "repeated-purpose"),
            Self::NotAnOrderTypeCode { .. } => ("NOT_AN_ORDER_TYPE_CODE", "not-an-order-type-code"),
            Self::NotACustomerNumber { .. } => ("NOT_A_CUSTOMER_NUMBER", "not-a-customer-number"),
            Self::ReservedCustomerNumber => ("RESERVED", "reserved-customer-number"),
            Self::OtherCustomer => ("MISMATCH", "other-customer"),
            Self::Unconfirmed => ("MISMATCH", "unconfirmed"),
            Self::NotAUuid => ("NOT_A_UUID", "not-a-uuid"),
            Self::PasswordTooShort { .. } => ("TOO_SHORT", "password-too-short"),
            Self::PasswordTooLong { .. } => ("TOO_LONG", "password-too-long"),
            Self::PasswordTooCommon => ("TOO_COMMON", "password-too-common"),
            Self::PasswordIsCustomerNumber => {
                ("EQUALS_CUSTOMER_NUMBER", "password-is-customer-number")
            }
            Self::PasswordIsDisplayName => ("EQUALS_DISPLAY_NAME", "password-is-display-name"),
            Self::RequestIdReused => ("REUSED", "request-id-reused"),
            Self::ForeignPageToken => ("NOT_A_PAGE_TOKEN", "invalid-page-token"),
            Self::NotAnUpdatableField => ("NOT_AN_UPDATABLE_FIELD", "not-an-updatable-field"),
            Self::MetadataTooLarge | Self::RequestTooLarge => ("TOO_LARGE", "too-large"),
            Self::RequestIncomplete
            | Self::NotAMessage
            | Self::NotJson { .. }
            | Self::UnknownField
            | Self::TwoValues
            | Self::NotAJsonValue
            | Self::NotATimeout => ("MALFORMED", "malformed"),
        }
    }

    /// Returns the names and values of the limits in the texts.
    pub fn limits(self) -> Vec<(&'static str, usize)> {
        if let Self::PasswordTooShort { min, max } | Self::PasswordTooLong { min, max } = self {
            return vec![("min", min), ("max", max)];
        }
        if let Self::AttentionLineTooShort { min, .. } = self {
            return vec![("min", min)];
        }
        if let Self::TooLong { max }
        | Self::TooMany { max, .. }
        | Self::LocalPartLength { max }
        | Self::TooManyDigits { max }
        | Self::NotAnOrderTypeCode { max }
        | Self::NotACustomerNumber { max } = self
        {
            return vec![("max", max)];
        }
        Vec::new()
    }
}

/// An invalid field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field in the request, such as `contact.phone_numbers[2]`.
    pub field: String,
    /// The rule that the field violates.
    pub violation: Violation,
}

impl FieldViolation {
    /// Creates a violation of `field`.
    pub fn new(field: impl Into<String>, violation: Violation) -> Self {
        Self {
            field: field.into(),
            violation,
        }
    }
}
