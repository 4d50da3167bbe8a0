//! Phone orders: `AuthorizePhoneOrder`, `RecordPhoneOrderOutcome`, `GetPhoneOrder`, `ListPhoneOrders`.

use prost::Message;
use uuid::Uuid;

use crate::{
    api::{
        auth::Caller,
        convert::{self, Violations, change_options, timestamp},
        page_token::PageContext,
        proto,
    },
    app::{App, OutcomeRecord, PhoneOrderRequest},
    crypto::keyring::VersionedKeys,
    domain::{
        authentication::AuthenticationMethod,
        ids::parse_uuid,
        phone_order::{
            MAX_REFERENCE_CHARS, OrderBasis, OrderDecision, OrderDenial, OrderOption, OrderTerms,
            PhoneOrder, PhoneOrderFilter, PhoneOrderOutcome, VerifiedChannel,
        },
        restrictions::OrderTypeCode,
        text,
    },
    error::{Error, Result, Violation},
};

/// No grant of this service is longer.
const MAX_GRANT_BYTES: usize = 4096;

pub(super) async fn authorize(
    app: &App,
    caller: &Caller,
    request: proto::AuthorizePhoneOrderRequest,
) -> Result<proto::AuthorizePhoneOrderResponse> {
    let mut violations = Violations::default();
    let contact = violations.contact_ref(&request.customer_number, &request.contact_id);
    if request.grant.is_empty() {
        violations.add("grant", Violation::Required);
    }
    let call_id = violations.call_id(&request.call_id);
    let order_type = violations.check("order_type", OrderTypeCode::parse(&request.order_type));
    let order = (|| {
        Some(PhoneOrderRequest {
            contact: contact?,
            grant: request.grant,
            call_id: call_id?,
            order_type: order_type?,
            customer_administers_product: request.customer_administers_product,
        })
    })();
    let order = violations.finish(order)?;
    let decided = if order.grant.len() > MAX_GRANT_BYTES {
        Err(Error::GrantInvalid)
    } else {
        app.authorize_phone_order(caller.actor(), order).await
    };
    if matches!(decided, Err(Error::GrantInvalid)) {
        caller.record_denial(&Error::GrantInvalid, &request.customer_number);
    }
    let decided = decided?;
    Ok(proto::AuthorizePhoneOrderResponse {
        order: Some(encode(decided.order)),
        restrictions_note: decided.note,
    })
}

pub(super) async fn record_outcome(
    app: &App,
    keys: &VersionedKeys,
    caller: &Caller,
    mut request: proto::RecordPhoneOrderOutcomeRequest,
) -> Result<proto::RecordPhoneOrderOutcomeResponse> {
    const RPC: &str = "RecordPhoneOrderOutcome";
    let mut violations = Violations::default();
    let options = change_options!(violations, keys, RPC, request, String::new());
    let number = violations.customer_number("customer_number", &request.customer_number);
    let id = violations.check("authorization_id", parse_uuid(&request.authorization_id));
    let outcome = violations.check("outcome", to_outcome(request.outcome));
    let reference = violations.check(
        "order_reference",
        text::optional_line(&request.order_reference, MAX_REFERENCE_CHARS),
    );
    let record = (|| {
        Some(OutcomeRecord {
            customer_number: number?,
            id: id?,
            outcome: outcome?,
            reference: reference?,
        })
    })();
    let record = violations.finish(record)?;
    let order = app
        .record_phone_order_outcome(caller.actor(), record, options)
        .await?;
    Ok(proto::RecordPhoneOrderOutcomeResponse {
        order: Some(encode(order)),
    })
}

fn to_outcome(number: i32) -> std::result::Result<PhoneOrderOutcome, Violation> {
    match proto::PhoneOrderOutcome::try_from(number) {
        Ok(proto::PhoneOrderOutcome::Placed) => Ok(PhoneOrderOutcome::Placed),
        Ok(proto::PhoneOrderOutcome::NotPlaced) => Ok(PhoneOrderOutcome::NotPlaced),
        Ok(proto::PhoneOrderOutcome::Unspecified) => Err(Violation::Required),
        Err(_) => Err(Violation::UnknownOutcome),
    }
}

pub(super) async fn get(
    app: &App,
    request: proto::GetPhoneOrderRequest,
) -> Result<proto::GetPhoneOrderResponse> {
    let mut violations = Violations::default();
    let number = violations.customer_number("customer_number", &request.customer_number);
    let id = violations.check("authorization_id", parse_uuid(&request.authorization_id));
    let (number, id) = violations.finish(number.zip(id))?;
    let order = app.get_phone_order(&number, id).await?;
    Ok(proto::GetPhoneOrderResponse {
        order: Some(encode(order)),
    })
}

pub(super) async fn list(
    app: &App,
    keys: &VersionedKeys,
    mut request: proto::ListPhoneOrdersRequest,
) -> Result<proto::ListPhoneOrdersResponse> {
    let page_size = std::mem::take(&mut request.page_size);
    let page_token = std::mem::take(&mut request.page_token);
    let mut violations = Violations::default();
    let customer_number = violations.customer_or_none(&request.customer_number);
    let contact_id = violations.contact_of(&request.customer_number, &request.contact_id);
    let filter = PhoneOrderFilter {
        contact_id,
        agent: violations.subject("agent", &request.agent),
        times: violations.time_range(request.start_time, request.end_time),
        customer_number,
    };
    let page_size = violations.page_size(page_size);
    violations.finish(Some(()))?;
    let context = PageContext {
        rpc: "ListPhoneOrders",
        customer_number: &request.customer_number,
        filter: &request.encode_to_vec(),
    };
    let before = convert::page_start(keys, context, &page_token, Uuid::max())?;
    let page = app.list_phone_orders(&filter, before, page_size).await?;
    Ok(proto::ListPhoneOrdersResponse {
        orders: page.orders.into_iter().map(encode).collect(),
        next_page_token: convert::next_page_token(keys, context, page.next_before)?,
    })
}

/// Encodes the record of a decision.
pub(super) fn encode(order: PhoneOrder) -> proto::PhoneOrder {
    let (decision, denial) = encode_decision(order.decision);
    let outcome = order.outcome;
    let outcome_kind =
        outcome.as_ref().map_or(
            proto::PhoneOrderOutcome::Unspecified,
            |recorded| match recorded.outcome {
                PhoneOrderOutcome::Placed => proto::PhoneOrderOutcome::Placed,
                PhoneOrderOutcome::NotPlaced => proto::PhoneOrderOutcome::NotPlaced,
            },
        );
    proto::PhoneOrder {
        authorization_id: order.id.to_string(),
        customer_number: order.customer_number.as_str().to_owned(),
        contact_id: order.contact_id.0.to_string(),
        agent: order.agent,
        call_id: order.call_id,
        order_type: order.order_type.as_str().to_owned(),
        decision: decision.into(),
        denial: denial.into(),
        customer_administers_product: order.customer_administers_product,
        judged_by: Some(encode_basis(&order.basis)),
        channel: Some(encode_channel(order.channel)),
        authentication: encode_authentication(order.authentication).into(),
        create_time: Some(timestamp(order.decision_time)),
        outcome: outcome_kind.into(),
        outcome_time: outcome.as_ref().map(|recorded| timestamp(recorded.time)),
        order_reference: outcome.map_or_else(String::new, |recorded| recorded.reference),
    }
}

fn encode_basis(basis: &OrderBasis) -> proto::OrderBasis {
    let OrderTerms {
        system_management,
        offered_by_phone,
        requires_verified_channel,
        retired,
    } = basis.terms;
    proto::OrderBasis {
        restrictions: Some(convert::restrictions(&basis.restrictions)),
        system_management,
        offered_by_phone,
        requires_verified_channel,
        retired,
    }
}

fn encode_channel(channel: VerifiedChannel) -> proto::OrderChannel {
    let (verified, kind) = match channel {
        VerifiedChannel::NotVerified => (proto::VerifiedChannel::NotVerified, None),
        VerifiedChannel::Contact(kind) => (proto::VerifiedChannel::ContactChannel, Some(kind)),
        VerifiedChannel::ContactData(kind) => {
            (proto::VerifiedChannel::ContactDataChannel, Some(kind))
        }
    };
    proto::OrderChannel {
        verified: verified.into(),
        r#match: kind
            .map_or(proto::ChannelMatchKind::Unspecified, convert::match_kind)
            .into(),
    }
}

/// Encodes the way in which a caller was authenticated.
pub(super) fn encode_authentication(method: AuthenticationMethod) -> proto::AuthenticationMethod {
    match method {
        AuthenticationMethod::PhonePassword => proto::AuthenticationMethod::PhonePassword,
        AuthenticationMethod::CodeByEmail => proto::AuthenticationMethod::CodeByEmail,
        AuthenticationMethod::CodeFromPortal => proto::AuthenticationMethod::CodeFromPortal,
    }
}

/// Encodes the decisions about an order type.
pub(super) fn encode_option(option: &OrderOption) -> proto::OrderOption {
    let (decision, denial) = encode_decision(option.provider_administered);
    let (of_customer, denial_of_customer) = encode_decision(option.customer_administered);
    proto::OrderOption {
        order_type: option.code.as_str().to_owned(),
        decision: decision.into(),
        denial: denial.into(),
        customer_administered_decision: of_customer.into(),
        customer_administered_denial: denial_of_customer.into(),
    }
}

fn encode_decision(decision: OrderDecision) -> (proto::OrderDecision, proto::OrderDenial) {
    let (decision, denial) = match decision {
        OrderDecision::Allowed => (proto::OrderDecision::Allowed, None),
        OrderDecision::AgentDecision => (proto::OrderDecision::AgentDecision, None),
        OrderDecision::Denied(denial) => (proto::OrderDecision::Denied, Some(denial)),
    };
    let denial = match denial {
        None => proto::OrderDenial::Unspecified,
        Some(OrderDenial::ExcludedByProvider) => proto::OrderDenial::ExcludedByProvider,
        Some(OrderDenial::PortalRequired) => proto::OrderDenial::PortalRequired,
        Some(OrderDenial::Restricted) => proto::OrderDenial::Restricted,
        Some(OrderDenial::ChannelNotVerified) => proto::OrderDenial::ChannelNotVerified,
    };
    (decision, denial)
}
