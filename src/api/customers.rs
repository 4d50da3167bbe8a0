//! Customers: `GetCustomer`, `UpdateCustomer`, `SetAttentionLine`.

use crate::{
    api::{
        auth::{Caller, Scope},
        convert::{self, Violations, change_options},
        mask::Mask,
        proto,
    },
    app::{App, AttentionLineRequest, UpdateCustomer},
    crypto::keyring::VersionedKeys,
    domain::{
        contact::Locale, customer::CustomerChange, email_address::EmailAddress,
        phone_number::PhoneNumber,
    },
    error::{Result, Violation},
};

const EMAIL: &str = "contact_data.email";
const PHONE_NUMBER: &str = "contact_data.phone_number";
const LOCALE: &str = "contact_data.locale";
const SECURITY_NOTICES: &str = "notification_settings.security_notices";
const PLANNED_MAINTENANCE: &str = "notification_settings.planned_maintenance";
const OUTAGES: &str = "notification_settings.outages";
const CONTACT_CHANGES: &str = "notification_settings.contact_changes";
const UPDATABLE: &[&str] = &[
    EMAIL,
    PHONE_NUMBER,
    LOCALE,
    SECURITY_NOTICES,
    PLANNED_MAINTENANCE,
    OUTAGES,
    CONTACT_CHANGES,
];

pub(super) async fn get(
    app: &App,
    request: proto::GetCustomerRequest,
) -> Result<proto::GetCustomerResponse> {
    let mut violations = Violations::default();
    let number = violations.customer_number("customer_number", &request.customer_number);
    let customer = app.get_customer(&violations.finish(number)?).await?;
    Ok(proto::GetCustomerResponse {
        customer: Some(convert::customer(customer)),
    })
}

pub(super) async fn update(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::UpdateCustomerRequest,
) -> Result<proto::UpdateCustomerResponse> {
    let mut violations = Violations::default();
    let etag = request
        .customer
        .as_ref()
        .map(|customer| customer.etag.clone());
    let etag = etag.unwrap_or_default();
    let options = change_options!(violations, keys, "UpdateCustomer", request, etag);
    let mask = Mask::decode(request.update_mask, UPDATABLE, &mut violations);
    let customer = request.customer.unwrap_or_default();
    check_scopes(caller, &customer, &mask, request.allow_missing)?;
    let number = violations.customer_number("customer.customer_number", &customer.customer_number);
    let change = decode_change(&customer, &mask, &mut violations);
    let update = UpdateCustomer {
        customer_number: violations.finish(number)?,
        change,
        options,
        allow_missing: request.allow_missing,
    };
    let customer = app.update_customer(caller.actor(), update).await?;
    Ok(proto::UpdateCustomerResponse {
        customer: Some(convert::customer(customer)),
    })
}

/// Rule 24: contact data has a scope of its own. A request that may create a customer is treated as one
/// that does, so that the response does not disclose if the customer exists.
fn check_scopes(
    caller: &Caller,
    customer: &proto::Customer,
    mask: &Mask,
    allow_missing: bool,
) -> Result<()> {
    let data = customer.contact_data.as_ref();
    let given = |value: fn(&proto::ContactData) -> &str| data.is_some_and(|d| !value(d).is_empty());
    let sets_contact_data = mask.sets(EMAIL, given(|data| &data.email))
        || mask.sets(PHONE_NUMBER, given(|data| &data.phone_number))
        || mask.sets(LOCALE, given(|data| &data.locale));
    let needs_contact_data = sets_contact_data || allow_missing;
    let settings = customer.notification_settings.unwrap_or_default();
    let sets_settings = mask.sets(SECURITY_NOTICES, settings.security_notices.is_some())
        || mask.sets(PLANNED_MAINTENANCE, settings.planned_maintenance.is_some())
        || mask.sets(OUTAGES, settings.outages.is_some())
        || mask.sets(CONTACT_CHANGES, settings.contact_changes.is_some());
    if sets_settings || !needs_contact_data {
        caller.require_for(Scope::CustomersWrite, &customer.customer_number)?;
    }
    if needs_contact_data {
        caller.require_for(Scope::ContactDataWrite, &customer.customer_number)?;
    }
    Ok(())
}

fn decode_change(
    customer: &proto::Customer,
    mask: &Mask,
    violations: &mut Violations,
) -> CustomerChange {
    let data = customer.contact_data.clone().unwrap_or_default();
    let email = mask.sets(EMAIL, !data.email.is_empty()).then(|| {
        let field = "customer.contact_data.email";
        violations.optional(field, &data.email, EmailAddress::parse)
    });
    let number_given = !data.phone_number.is_empty();
    let phone_number = mask.sets(PHONE_NUMBER, number_given).then(|| {
        let field = "customer.contact_data.phone_number";
        violations.optional(field, &data.phone_number, PhoneNumber::parse)
    });
    let locale = mask.sets(LOCALE, !data.locale.is_empty()).then(|| {
        let locale = Locale::parse(&data.locale);
        violations.check("customer.contact_data.locale", locale)
    });
    // Rule 24: a setting that the mask names and the message omits has its default: on.
    let settings = customer.notification_settings;
    let setting = |leaf, value: fn(&proto::NotificationSettings) -> Option<bool>| {
        let given = settings.as_ref().and_then(value);
        mask.sets(leaf, given.is_some())
            .then(|| given.unwrap_or(true))
    };
    CustomerChange {
        email,
        phone_number,
        locale: locale.flatten(),
        security_notices: setting(SECURITY_NOTICES, |settings| settings.security_notices),
        planned_maintenance: setting(PLANNED_MAINTENANCE, |settings| settings.planned_maintenance),
        outages: setting(OUTAGES, |settings| settings.outages),
        contact_changes: setting(CONTACT_CHANGES, |settings| settings.contact_changes),
    }
}

pub(super) async fn set_attention_line(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::SetAttentionLineRequest,
) -> Result<proto::SetAttentionLineResponse> {
    const ORDERED_BY: &str = "ordered_by_email";
    let mut violations = Violations::default();
    let etag = request.etag.clone();
    let options = change_options!(violations, keys, "SetAttentionLine", request, etag);
    let number = violations.customer_number("customer_number", &request.customer_number);
    if request.suppressed && request.ordered_by_email.is_empty() {
        violations.add(ORDERED_BY, Violation::OrderingAddressMissing);
    }
    let ordered_by =
        violations.optional(ORDERED_BY, &request.ordered_by_email, EmailAddress::parse);
    let order = AttentionLineRequest {
        customer_number: violations.finish(number)?,
        suppressed: request.suppressed,
        ordered_by,
        options,
    };
    let customer = app.set_attention_line(caller.actor(), order).await?;
    Ok(proto::SetAttentionLineResponse {
        customer: Some(convert::customer(customer)),
    })
}
