//! Phone passwords, one-time codes and their attempts, and searches.

use sea_orm_migration::{
    prelude::{
        ColumnDef, ForeignKey, ForeignKeyAction, Index, IndexCreateStatement, Table,
        TableCreateStatement,
    },
    schema::{
        big_integer, big_integer_null, binary_len_null, boolean, small_integer, string_len, text,
        text_null, timestamp_with_time_zone, timestamp_with_time_zone_null, uuid, uuid_null,
    },
};

use super::columns::{customer_number, index};

pub(super) fn tables() -> Vec<TableCreateStatement> {
    let agents = text("agent").primary_key().take();
    let customers = customer_number().primary_key().take();
    vec![
        phone_passwords(),
        phone_password_calls(),
        phone_password_agents(),
        one_time_codes(),
        channel_checks("channel_check_agents", agents.clone()),
        channel_checks("channel_check_customers", customers),
        channel_checks("customer_search_agents", agents),
    ]
}

pub(super) fn indexes() -> Vec<IndexCreateStatement> {
    vec![
        // Finds attempts on contacts without a password.
        index(
            "phone_passwords_by_set_and_update_time",
            "phone_passwords",
            ["set_time", "update_time"],
        ),
        index(
            "phone_password_calls_by_expiry",
            "phone_password_calls",
            ["expire_time"],
        ),
        index(
            "phone_password_agents_by_update_time",
            "phone_password_agents",
            ["update_time"],
        ),
        index(
            "channel_check_agents_by_window_end",
            "channel_check_agents",
            ["window_end"],
        ),
        index(
            "channel_check_customers_by_window_end",
            "channel_check_customers",
            ["window_end"],
        ),
        index(
            "customer_search_agents_by_window_end",
            "customer_search_agents",
            ["window_end"],
        ),
        index(
            "one_time_codes_by_expiry",
            "one_time_codes",
            ["expire_time"],
        ),
    ]
}

pub(super) const PARTIAL_INDEXES: &[&str] = &[
    // A revoked password is never checked again, so its pepper is not needed.
    "CREATE INDEX phone_passwords_by_pepper_version ON phone_passwords (pepper_version)
       WHERE pepper_version IS NOT NULL AND NOT is_revoked",
    // Finds the contacts whose last attempt failed recently.
    "CREATE INDEX phone_passwords_by_failure ON phone_passwords (update_time)
       WHERE consecutive_failures > 0",
];

/// No foreign key: attempts on unknown contacts are limited alike.
fn phone_passwords() -> TableCreateStatement {
    Table::create()
        .table("phone_passwords")
        .col(customer_number())
        .col(uuid("contact_id"))
        .col(text_null("hash"))
        .col(big_integer_null("pepper_version"))
        .col(timestamp_with_time_zone_null("set_time"))
        .col(small_integer("consecutive_failures"))
        .col(timestamp_with_time_zone_null("locked_until"))
        .col(text("recent_failures"))
        .col(boolean("is_revoked"))
        .col(timestamp_with_time_zone_null("notice_time"))
        .col(text_null("unlock_reason"))
        // The agent of the last failed attempt, which reveals guesses that are spread over many
        // contacts.
        .col(text_null("failed_by"))
        .col(timestamp_with_time_zone("update_time"))
        .primary_key(Index::create().col("customer_number").col("contact_id"))
        .to_owned()
}

/// No foreign key, as with `phone_passwords`.
fn phone_password_calls() -> TableCreateStatement {
    Table::create()
        .table("phone_password_calls")
        .col(customer_number())
        .col(text("call_id"))
        .col(small_integer("attempts"))
        .col(timestamp_with_time_zone("expire_time"))
        .primary_key(Index::create().col("customer_number").col("call_id"))
        .to_owned()
}

fn phone_password_agents() -> TableCreateStatement {
    Table::create()
        .table("phone_password_agents")
        .col(text("agent").primary_key().take())
        .col(text("failures"))
        .col(timestamp_with_time_zone("update_time"))
        .to_owned()
}

/// No foreign key: checks of customers that are not on file are limited alike.
fn channel_checks(name: &'static str, key: ColumnDef) -> TableCreateStatement {
    Table::create()
        .table(name)
        .col(key)
        .col(big_integer("checks"))
        .col(timestamp_with_time_zone("window_end"))
        .to_owned()
}

/// The latest code of each method. A used or ended code leaves its row for the times of the mails.
fn one_time_codes() -> TableCreateStatement {
    let contact = ("customer_number", "contact_id");
    Table::create()
        .table("one_time_codes")
        .col(customer_number())
        .col(uuid("contact_id"))
        .col(string_len("method", 24))
        .col(binary_len_null("code_hash", 32))
        // The version of the service key.
        .col(big_integer("key_version"))
        // The e-mail that has the code.
        .col(uuid_null("mail_id"))
        // Wrong codes.
        .col(small_integer("attempts"))
        .col(timestamp_with_time_zone("expire_time"))
        .col(text("mail_times"))
        .primary_key(
            Index::create()
                .col("customer_number")
                .col("contact_id")
                .col("method"),
        )
        .foreign_key(
            ForeignKey::create()
                .name("one_time_codes_contact")
                .from("one_time_codes", contact)
                .to("contacts", contact)
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}
