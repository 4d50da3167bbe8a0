//! Order types: `ListOrderTypes`, `UpdateOrderType`.

use std::collections::BTreeMap;

use crate::{
    api::{auth::Caller, convert::Violations, mask::Mask, proto},
    app::{App, OrderTypeUpdate},
    domain::{
        contact::Locale,
        phone_order::{MAX_ORDER_TYPE_NAME_CHARS, OrderTerms, OrderType},
        restrictions::OrderTypeCode,
        text,
    },
    error::{Result, Violation},
};

pub(super) async fn list(
    app: &App,
    request: proto::ListOrderTypesRequest,
) -> Result<proto::ListOrderTypesResponse> {
    let order_types = app.list_order_types(request.show_retired).await?;
    Ok(proto::ListOrderTypesResponse {
        order_types: order_types.into_iter().map(encode).collect(),
    })
}

pub(super) async fn update(
    app: &App,
    caller: &Caller,
    request: proto::UpdateOrderTypeRequest,
) -> Result<proto::UpdateOrderTypeResponse> {
    let mut violations = Violations::default();
    let new = request.order_type.unwrap_or_default();
    let leaves = &OrderTypeUpdate::FIELDS;
    let mask = Mask::decode(request.update_mask, leaves, &mut violations);
    let is_populated = |field: &str| match field {
        "display_name" => !new.display_name.is_empty(),
        "display_names" => !new.display_names.is_empty(),
        "system_management" => new.system_management,
        "offered_by_phone" => new.offered_by_phone,
        "requires_verified_channel" => new.requires_verified_channel,
        _ => new.retired,
    };
    let sets = |field: &&&str| mask.sets(field, is_populated(field));
    let fields: Vec<_> = leaves.iter().filter(sets).copied().collect();
    let code = violations.check("order_type.code", OrderTypeCode::parse(&new.code));
    // One that is created needs a name, whatever the mask.
    let display_name = if request.allow_missing || fields.contains(&"display_name") {
        let name = text::single_line(&new.display_name, MAX_ORDER_TYPE_NAME_CHARS);
        violations.check("order_type.display_name", name)
    } else {
        Some(String::new())
    };
    let terms = OrderTerms {
        system_management: new.system_management,
        offered_by_phone: new.offered_by_phone,
        requires_verified_channel: new.requires_verified_channel,
        retired: new.retired,
    };
    let display_names = names(&mut violations, new.display_names);
    let (code, display_name) = violations.finish(code.zip(display_name))?;
    let order_type = OrderType {
        code,
        display_name,
        display_names,
        terms,
    };
    let update = OrderTypeUpdate { order_type, fields };
    let (allow_missing, validate_only) = (request.allow_missing, request.validate_only);
    let updated = app
        .update_order_type(caller.actor(), update, allow_missing, validate_only)
        .await?;
    Ok(proto::UpdateOrderTypeResponse {
        order_type: Some(encode(updated)),
    })
}

fn names(
    violations: &mut Violations,
    names: impl IntoIterator<Item = (String, String)>,
) -> BTreeMap<Locale, String> {
    let mut parsed = BTreeMap::new();
    for (language, name) in names {
        // An empty language would be the default one.
        let locale = Locale::parse(&language)
            .ok()
            .filter(|_| !language.is_empty());
        let Some(locale) = locale else {
            violations.add("order_type.display_names", Violation::UnknownLocale);
            continue;
        };
        let field = format!("order_type.display_names[{}]", locale.as_str());
        let name = text::single_line(&name, MAX_ORDER_TYPE_NAME_CHARS);
        parsed.extend(violations.check(field, name).map(|name| (locale, name)));
    }
    parsed
}

fn encode(order_type: OrderType) -> proto::OrderType {
    let OrderTerms {
        system_management,
        offered_by_phone,
        requires_verified_channel,
        retired,
    } = order_type.terms;
    let names = order_type.display_names.into_iter();
    proto::OrderType {
        code: order_type.code.as_str().to_owned(),
        display_name: order_type.display_name,
        display_names: names
            .map(|(locale, name)| (locale.as_str().to_owned(), name))
            .collect(),
        system_management,
        offered_by_phone,
        requires_verified_channel,
        retired,
    }
}
