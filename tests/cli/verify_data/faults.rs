//! The faults of stored data, a few for each check: statements that plant one in the data of the
//! samples, and remove it again.

use contact_service::domain::data_check::DataCheck;

/// A fault.
pub(super) struct Fault {
    /// The check that finds it.
    pub(super) check: DataCheck,
    /// The customer that is named.
    pub(super) customer: Option<&'static str>,
    pub(super) plant: &'static str,
    pub(super) remove: &'static str,
}

macro_rules! faults {
    ($($check:ident $customer:literal: $plant:expr, $remove:expr;)*) => {
        pub(super) const FAULTS: &[Fault] = &[$(Fault {
            check: DataCheck::$check,
            customer: if $customer.is_empty() { None } else { Some($customer) },
            plant: $plant,
            remove: $remove,
        }),*];
    };
}

macro_rules! time {
    () => {
        "'2026-01-01T00:00:00+00:00'"
    };
}
/// Inserts a STANDARD contact at a position.
macro_rules! contact {
    ($number:literal, $id:expr, $position:expr) => {
        concat!(
            "INSERT INTO contacts (customer_number, contact_id, position, types, display_name, \
               locale, invoice_email_enabled, restrictions_note, allowed_order_types, \
               denied_order_types, version, create_time, update_time) VALUES ('",
            $number,
            "', ",
            $id,
            ", ",
            $position,
            ", 1, 'X', 'de', false, '', '[]', '[]', 1, ",
            time!(),
            ", ",
            time!(),
            ");"
        )
    };
}
macro_rules! mail {
    ($number:literal, $kind:literal, $contact:expr, $confirmation:expr, $recipient:literal) => {
        concat!(
            "INSERT INTO outbox_mails (customer_number, mail_id, kind, contact_id, \
               confirmation_id, recipient, display_name, locale, state, attempts, due_time, \
               create_time) VALUES ('",
            $number,
            "', {uuid}, '",
            $kind,
            "', ",
            $contact,
            ", ",
            $confirmation,
            ", '",
            $recipient,
            "', 'X', 'de', 'dead', 0, ",
            time!(),
            ", ",
            time!(),
            ")"
        )
    };
}
macro_rules! confirmation {
    ($contact:expr, $state:literal) => {
        concat!(
            "INSERT INTO email_confirmations (customer_number, confirmation_id, contact_id, \
               masked_email, state, expire_time) VALUES ('K-1001', {uuid}, ",
            $contact,
            ", 'a***@m***.example', '",
            $state,
            "', ",
            time!(),
            ")"
        )
    };
}
macro_rules! request {
    ($number:literal, $contact:literal) => {
        concat!(
            "INSERT INTO request_ids (customer_number, actor, request_id, digest, response, \
               contact_id, expire_time) VALUES ('",
            $number,
            "', 'x', {uuid}, {bytes 32}, '{}', ",
            $contact,
            ", ",
            time!(),
            ")"
        )
    };
}
macro_rules! order {
    ($number:literal, $outcome:literal) => {
        concat!(
            "INSERT INTO phone_orders (customer_number, authorization_id, contact_id, agent, \
               call_id, order_type, customer_administers_product, system_management, \
               offered_by_phone, requires_verified_channel, retired, restrictions_note, \
               allowed_order_types, denied_order_types, channel, authentication, decision, \
               decision_time, outcome) VALUES ('",
            $number,
            "', {uuid}, {uuid}, 'x', 'x', 'x', false, false, true, false, false, '', '[]', '[]', \
               'not_verified', 'phone_password', 'allowed', ",
            time!(),
            ", ",
            $outcome,
            ")"
        )
    };
}
macro_rules! of_anna {
    () => {
        "(SELECT contact_id FROM contacts WHERE customer_number = 'K-1001' AND position = 2)"
    };
}

/// The sample customer without contacts gets 101 of them.
const TOO_MANY_CONTACTS: &str = "\
    UPDATE customers SET write_count = 1000 WHERE customer_number = 'K-1003'; \
    INSERT INTO contacts (customer_number, contact_id, position, types, display_name, locale, \
      invoice_email_enabled, restrictions_note, allowed_order_types, denied_order_types, version, \
      create_time, update_time) \
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 101) \
    SELECT 'K-1003', {uuid n}, n, 1, 'X', 'de', false, '', '[]', '[]', 1, create_time, update_time \
    FROM numbers, customers WHERE customer_number = 'K-1003'";
/// It gets a contact with 11 numbers.
const TOO_MANY_PHONE_NUMBERS: &str = concat!(
    contact!("K-1003", "{uuid}", 1),
    "INSERT INTO contact_phone_numbers (customer_number, contact_id, rank, phone_number) \
     WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10) \
     SELECT 'K-1003', {uuid}, n, '+49721913740' FROM numbers"
);

faults! {
    UNREADABLE_CUSTOMER "K-1003":
        "UPDATE customers SET locale = 'xx' WHERE customer_number = 'K-1003'",
        "UPDATE customers SET locale = 'de' WHERE customer_number = 'K-1003'";
    UNREADABLE_CONTACT "K-1001":
        "UPDATE contacts SET salutation = 9 WHERE customer_number = 'K-1001' AND position = 3",
        "UPDATE contacts SET salutation = 0 WHERE customer_number = 'K-1001' AND position = 3";
    UNREADABLE_MAIL "K-1001":
        mail!("K-1001", "unknown_kind", "NULL", "NULL", "x@example.com"),
        "DELETE FROM outbox_mails WHERE mail_id = {uuid}";
    LAST_STANDARD_CONTACT "K-1002":
        "UPDATE contacts SET types = 2 WHERE customer_number = 'K-1002' AND position = 2",
        "UPDATE contacts SET types = 1 WHERE customer_number = 'K-1002' AND position = 2";
    TOO_MANY_CONTACTS "K-1003": TOO_MANY_CONTACTS, "DELETE FROM contacts WHERE customer_number = 'K-1003'";
    TOO_MANY_PHONE_NUMBERS "K-1003": TOO_MANY_PHONE_NUMBERS,
        "DELETE FROM contact_phone_numbers WHERE customer_number = 'K-1003'; \
         DELETE FROM contacts WHERE customer_number = 'K-1003'";
    INVOICE_EMAIL "K-1001":
        "UPDATE contacts SET invoice_email_enabled = true \
         WHERE customer_number = 'K-1001' AND position = 5",
        "UPDATE contacts SET invoice_email_enabled = false \
         WHERE customer_number = 'K-1001' AND position = 5";
    EMAIL_FORM "K-1003":
        "UPDATE customers SET email = 'a b@verein.example', email_key = 'a b@verein.example' \
         WHERE customer_number = 'K-1003'",
        "UPDATE customers SET email = 'kontakt@verein.example', \
           email_key = 'kontakt@verein.example' WHERE customer_number = 'K-1003'";
    EMAIL_FORM "K-1001":
        mail!("K-1001", "contacts_review", "NULL", "NULL", "nowhere"),
        "DELETE FROM outbox_mails WHERE mail_id = {uuid}";
    EMAIL_KEY "K-1003":
        "UPDATE customers SET email_key = NULL WHERE customer_number = 'K-1003'",
        "UPDATE customers SET email_key = email WHERE customer_number = 'K-1003'";
    EMAIL_KEY "K-1001":
        "UPDATE contacts SET email_key = 'x' WHERE customer_number = 'K-1001' AND position = 2",
        "UPDATE contacts SET email_key = email WHERE customer_number = 'K-1001' AND position = 2";
    PHONE_NUMBER_FORM "K-1003":
        "UPDATE customers SET phone_number = '0721 91374' WHERE customer_number = 'K-1003'",
        "UPDATE customers SET phone_number = NULL WHERE customer_number = 'K-1003'";
    CONFIRMED_WITHOUT_EMAIL "K-1002":
        concat!("UPDATE contacts SET email_bounce_time = ", time!(),
            " WHERE customer_number = 'K-1002' AND position = 3"),
        "UPDATE contacts SET email_bounce_time = NULL \
         WHERE customer_number = 'K-1002' AND position = 3";
    PENDING_WITHOUT_CONFIRMATION "K-1002":
        "UPDATE email_confirmations SET state = 'superseded' WHERE customer_number = 'K-1002'",
        "UPDATE email_confirmations SET state = 'pending' WHERE customer_number = 'K-1002'";
    CONFIRMATION_WITHOUT_PENDING "K-1001":
        confirmation!(of_anna!(), "pending"),
        "DELETE FROM email_confirmations WHERE confirmation_id = {uuid}";
    CONFIRMATION_MISMATCH "K-1002":
        concat!("UPDATE email_confirmations SET expire_time = ", time!(),
            " WHERE customer_number = 'K-1002'"),
        "UPDATE email_confirmations SET expire_time = ( \
           SELECT pending_email_expire_time FROM contacts \
           WHERE contacts.contact_id = email_confirmations.contact_id \
             AND contacts.customer_number = 'K-1002') WHERE customer_number = 'K-1002'";
    CONFIRMATION_MISMATCH "K-1002":
        "UPDATE email_confirmations SET masked_email = 'x' || masked_email \
         WHERE customer_number = 'K-1002'",
        "UPDATE email_confirmations SET masked_email = substr(masked_email, 2) \
         WHERE customer_number = 'K-1002'";
    CONTACT_WITHOUT_CUSTOMER "K-0000":
        contact!("K-0000", "{uuid}", 1),
        "DELETE FROM contacts WHERE customer_number = 'K-0000'";
    PHONE_NUMBER_WITHOUT_CONTACT "K-1001":
        "INSERT INTO contact_phone_numbers VALUES ('K-1001', {uuid}, 0, '+4972191374')",
        "DELETE FROM contact_phone_numbers WHERE contact_id = {uuid}";
    CONFIRMATION_WITHOUT_CONTACT "K-1001":
        confirmation!("{uuid}", "pending"),
        "DELETE FROM email_confirmations WHERE confirmation_id = {uuid}";
    TOKEN_WITHOUT_CONFIRMATION "K-1001":
        "INSERT INTO confirmation_tokens (customer_number, token_hash, confirmation_id) \
         VALUES ('K-1001', {bytes 32}, {uuid})",
        "DELETE FROM confirmation_tokens WHERE confirmation_id = {uuid}";
    MAIL_WITHOUT_CUSTOMER "K-0000":
        mail!("K-0000", "contacts_review", "NULL", "NULL", "x@example.com"),
        "DELETE FROM outbox_mails WHERE mail_id = {uuid}";
    MAIL_WITHOUT_CONFIRMATION "K-1001":
        mail!("K-1001", "email_confirmation", of_anna!(), "{uuid}", "x@example.com"),
        "DELETE FROM outbox_mails WHERE mail_id = {uuid}";
    MAIL_COUNT_WITHOUT_CUSTOMER "K-9999":
        concat!("INSERT INTO mail_customers VALUES ('K-9999', '[]', ", time!(), ")"),
        "DELETE FROM mail_customers WHERE customer_number = 'K-9999'";
    MAIL_COUNT_FORM "":
        concat!("INSERT INTO mail_recipients VALUES ({bytes 5}, '[]', ", time!(), ")"),
        "DELETE FROM mail_recipients WHERE recipient_hash = {bytes 5}";
    IMPORT_WITHOUT_CUSTOMER "K-0000":
        concat!("INSERT INTO contact_imports (customer_number, import_key, contact_id, \
            import_time) VALUES ('K-0000', {bytes 32}, {uuid}, ", time!(), ")"),
        "DELETE FROM contact_imports WHERE customer_number = 'K-0000'";
    REQUEST_WITHOUT_CUSTOMER "K-0000":
        request!("K-0000", "NULL"), "DELETE FROM request_ids WHERE request_id = {uuid}";
    REQUEST_WITHOUT_CONTACT "K-1001":
        request!("K-1001", "{uuid}"), "DELETE FROM request_ids WHERE request_id = {uuid}";
    PHONE_PASSWORD_WITHOUT_CONTACT "K-1001":
        concat!("INSERT INTO phone_passwords (customer_number, contact_id, hash, pepper_version, \
            set_time, consecutive_failures, recent_failures, is_revoked, update_time) \
            VALUES ('K-1001', {uuid}, 'x', 1, ", time!(), ", 0, '[]', false, ", time!(), ")"),
        "DELETE FROM phone_passwords WHERE contact_id = {uuid}";
    PHONE_PASSWORD_INCOMPLETE "K-1001":
        "UPDATE phone_passwords SET set_time = NULL WHERE customer_number = 'K-1001'",
        concat!("UPDATE phone_passwords SET set_time = ", time!(),
            " WHERE customer_number = 'K-1001'");
    PEPPER_MISSING "":
        "UPDATE phone_passwords SET pepper_version = 7", "UPDATE phone_passwords SET pepper_version = 1";
    CODE_WITHOUT_CONTACT "K-1001":
        concat!("INSERT INTO one_time_codes (customer_number, contact_id, method, key_version, \
            attempts, expire_time, mail_times) VALUES ('K-1001', {uuid}, 'code_by_email', 1, 0, ",
            time!(), ", '[]')"),
        "DELETE FROM one_time_codes WHERE contact_id = {uuid}";
    ORDER_WITHOUT_CUSTOMER "K-0000":
        order!("K-0000", "NULL"), "DELETE FROM phone_orders WHERE authorization_id = {uuid}";
    ORDER_OUTCOME "K-1001":
        order!("K-1001", "'placed'"), "DELETE FROM phone_orders WHERE authorization_id = {uuid}";
    EVENT_WITHOUT_CUSTOMER "K-0000":
        concat!("INSERT INTO audit_events (customer_number, sequence, event_id, event_time, actor, \
            kind, changed_fields) VALUES ('K-0000', 1, {uuid}, ", time!(), ", 'x', 'x', '[]')"),
        "DELETE FROM audit_events WHERE event_id = {uuid}";
    WRITE_COUNT "K-1001":
        "UPDATE customers SET write_count = 5 WHERE customer_number = 'K-1001'",
        "UPDATE customers SET write_count = 1000 WHERE customer_number = 'K-1001'";
    FEED_STATE "":
        "UPDATE change_feed SET epoch = NULL", "UPDATE change_feed SET epoch = {uuid}";
    FEED_GAP "":
        "UPDATE change_feed SET last_position = last_position + 1",
        "UPDATE change_feed SET last_position = last_position - 1";
    FEED_GAP "":
        "UPDATE feed_entries SET position = 0 WHERE position = 5",
        "UPDATE feed_entries SET position = 5 WHERE position = 0";
    FEED_END "K-1003":
        "UPDATE change_feed SET last_position = last_position - 1",
        "UPDATE change_feed SET last_position = last_position + 1";
    FEED_ENTRY_WITHOUT_EVENT "K-1003":
        "UPDATE feed_entries SET event_id = {uuid} WHERE customer_number = 'K-1003'",
        "UPDATE feed_entries SET event_id = ( \
           SELECT event_id FROM audit_events WHERE customer_number = 'K-1003') \
         WHERE customer_number = 'K-1003'";
    FEED_ENTRY_WITHOUT_CUSTOMER "K-0000":
        "UPDATE feed_entries SET customer_number = 'K-0000' WHERE customer_number = 'K-1003'",
        "UPDATE feed_entries SET customer_number = 'K-1003' WHERE customer_number = 'K-0000'";
    INBOX_WITHOUT_EVENT "K-1001":
        concat!("INSERT INTO feed_inbox (customer_number, sequence, event_id, event_time, kind, \
            changed_fields) VALUES ('K-1001', 1, {uuid}, ", time!(), ", 'x', '[]')"),
        "DELETE FROM feed_inbox WHERE event_id = {uuid}";
}
