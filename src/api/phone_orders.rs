//! Phone orders and order types: `ListOrderTypes`, `UpdateOrderType`, `AuthorizePhoneOrder`.

use crate::{
    api::{auth::Caller, convert::Violations, proto},
    app::{App, PhoneOrderRequest},
    domain::{
        phone_order::{MAX_ORDER_TYPE_NAME_CHARS, OrderDecision, OrderDenial, OrderType},
        restrictions::OrderTypeCode,
        text,
    },
    error::{Error, Result, Violation},
};

/// No grant of this service is longer.
const MAX_GRANT_BYTES: usize = 4096;

pub(super) async fn list_types(
    app: &App,
    request: proto::ListOrderTypesRequest,
) -> Result<proto::ListOrderTypesResponse> {
    let order_types = app.list_order_types(request.show_retired).await?;
    Ok(proto::ListOrderTypesResponse {
        order_types: order_types.into_iter().map(to_message).collect(),
    })
}

pub(super) async fn update_type(
    app: &App,
    caller: &Caller,
    request: proto::UpdateOrderTypeRequest,
) -> Result<proto::UpdateOrderTypeResponse> {
    let mut violations = Violations::default();
    let order_type = request.order_type.unwrap_or_default();
    let code = violations.check("order_type.code", OrderTypeCode::parse(&order_type.code));
    let display_name = violations.check(
        "order_type.display_name",
        text::single_line(&order_type.display_name, MAX_ORDER_TYPE_NAME_CHARS),
    );
    let (code, display_name) = violations.finish(code.zip(display_name))?;
    let order_type = OrderType {
        code,
        display_name,
        system_management: order_type.system_management,
        offered_by_phone: order_type.offered_by_phone,
        retired: order_type.retired,
    };
    let allow_missing = request.allow_missing;
    let updated = app
        .update_order_type(
            caller.actor(),
            order_type,
            allow_missing,
            request.validate_only,
        )
        .await?;
    Ok(proto::UpdateOrderTypeResponse {
        order_type: Some(to_message(updated)),
    })
}

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
    let (decision, denial) = encode_decision(decided.order.decision);
    Ok(proto::AuthorizePhoneOrderResponse {
        decision: decision.into(),
        denial: denial.into(),
        restrictions_note: decided.note,
        authorization_id: decided.order.id.to_string(),
    })
}

/// Encodes a decision.
pub(super) fn encode_decision(
    decision: OrderDecision,
) -> (proto::OrderDecision, proto::OrderDenial) {
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
    };
    (decision, denial)
}

fn to_message(order_type: OrderType) -> proto::OrderType {
    proto::OrderType {
        code: order_type.code.as_str().to_owned(),
        display_name: order_type.display_name,
        system_management: order_type.system_management,
        offered_by_phone: order_type.offered_by_phone,
        retired: order_type.retired,
    }
}
