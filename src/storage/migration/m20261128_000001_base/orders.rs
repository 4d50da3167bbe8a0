//! Order types, and the records of decisions about phone orders.

use sea_orm_migration::{
    prelude::{
        ForeignKey, ForeignKeyAction, Index, IndexCreateStatement, Table, TableCreateStatement,
    },
    schema::{
        boolean, string_len, string_len_null, text, text_null, timestamp_with_time_zone,
        timestamp_with_time_zone_null, uuid,
    },
};

use super::columns::{customer_number, index};

pub(super) fn tables() -> Vec<TableCreateStatement> {
    vec![order_types(), phone_orders()]
}

/// Ids of orders begin with the time of the decision, so that lists are ordered by them.
pub(super) fn indexes() -> Vec<IndexCreateStatement> {
    let orders = "phone_orders";
    vec![
        index("phone_orders_by_id", orders, ["authorization_id"]),
        index(
            "phone_orders_by_agent",
            orders,
            ["agent", "authorization_id"],
        ),
        index("phone_orders_by_time", orders, ["decision_time"]),
    ]
}

fn order_types() -> TableCreateStatement {
    Table::create()
        .table("order_types")
        .col(string_len("code", 64).primary_key().take())
        .col(text("display_name"))
        // The names by language as a JSON object.
        .col(text("display_names"))
        .col(boolean("system_management"))
        .col(boolean("offered_by_phone"))
        .col(boolean("requires_verified_channel"))
        .col(boolean("retired"))
        .col(text("updated_by"))
        .col(timestamp_with_time_zone("update_time"))
        .to_owned()
}

/// No foreign key to the contact: the record of the decision outlives it.
fn phone_orders() -> TableCreateStatement {
    Table::create()
        .table("phone_orders")
        .col(customer_number())
        .col(uuid("authorization_id"))
        .col(uuid("contact_id"))
        .col(text("agent"))
        .col(text("call_id"))
        .col(string_len("order_type", 64))
        .col(boolean("customer_administers_product"))
        // The properties that decided the order, as order types and contacts change.
        .col(boolean("system_management"))
        .col(boolean("offered_by_phone"))
        .col(boolean("requires_verified_channel"))
        .col(boolean("retired"))
        .col(text("restrictions_note"))
        .col(text("allowed_order_types"))
        .col(text("denied_order_types"))
        .col(string_len("channel", 16))
        .col(string_len_null("channel_match", 16))
        .col(string_len("authentication", 24))
        .col(string_len("decision", 32))
        .col(timestamp_with_time_zone("decision_time"))
        .col(string_len_null("outcome", 16))
        .col(text_null("order_reference"))
        .col(timestamp_with_time_zone_null("outcome_time"))
        .primary_key(
            Index::create()
                .col("customer_number")
                .col("authorization_id"),
        )
        .foreign_key(
            ForeignKey::create()
                .name("phone_orders_customer")
                .from("phone_orders", "customer_number")
                .to("customers", "customer_number")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}
