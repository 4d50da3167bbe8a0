//! The database: connections, transactions, and the statements of each noun.
//!
//! Owns everything that names `sea_orm`. Holds no business rules. Reads and writes have pools of
//! their own: the readers' pool never opens a writing transaction, so an abandoned one can only
//! remain in the writers' pool, where every connection is rolled back before it is handed out.
//!
//! # Errors
//! Every function returns [`Error::DatabaseUnavailable`](crate::error::Error::DatabaseUnavailable)
//! if the database does not answer, [`Error::Conflict`](crate::error::Error::Conflict) if another
//! transaction was in the way, and [`Error::DataLoss`](crate::error::Error::DataLoss) for a row
//! that cannot be read. The functions name only the errors that they add.

#![allow(
    clippy::missing_errors_doc,
    reason = "the errors of every function are listed once, above"
)]

mod audit;
mod backup;
mod batch;
mod bulk;
mod by_index;
mod caller_verification;
mod change_feed;
mod columns;
mod contact_imports;
mod contacts;
mod customer_queue;
mod customer_search;
mod customers;
mod data_check;
mod database;
mod database_file;
mod delivery_marks;
mod email_confirmations;
mod entity;
mod erasure;
mod error;
mod export;
mod feed_inbox;
mod grants;
mod key_use;
mod mail_counts;
mod migration;
mod noticed_changes;
mod notices;
mod one_time_codes;
mod order_types;
mod outbox;
mod pepper_versions;
mod phone_attempts;
mod phone_orders;
mod phone_password;
mod pools;
mod privileges;
mod recipients;
mod request_ids;
mod retention;
mod snapshot;
mod tables;
mod timeout;
mod transaction;
mod verified_channels;
mod write_probe;

pub use self::{
    batch::{channel_checks::ChannelCheck, disclosures::Disclosure, recipients::FoundAddressees},
    change_feed::FeedBounds,
    contact_imports::ImportedRows,
    customer_queue::{CustomerQueue, QueuePermit},
    customers::LockedCustomer,
    data_check::{
        FeedRow, FeedState, InboxRow, NumberRange, StoredContact, StoredCustomer, StoredMail,
    },
    database::Database,
    delivery_marks::AddressEvents,
    feed_inbox::{FeedLock, InboxRange, SequencedBatch},
    grants::grant_statements,
    key_use::RowsByVersion,
    mail_counts::RecipientHash,
    migration::MigrationState,
    one_time_codes::{NewCode, StoredCode},
    outbox::DueMail,
    phone_attempts::{AttemptCounts, AttemptKey},
    phone_password::{PhonePasswordChange, PhonePasswordRecord, StoredHash},
    pools::url::DatabaseUrl,
    request_ids::{CachedResponse, RequestDigest, RequestRecord},
    snapshot::Snapshot,
    tables::{Distribution, TABLE_DISTRIBUTIONS},
    transaction::{Outcome, Transaction},
    write_probe::ProbeOutcome,
};
