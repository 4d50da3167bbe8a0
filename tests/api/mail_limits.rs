//! Rate limits of confirmation e-mails: per recipient address across all contacts, customers and
//! instances, and per customer.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::TimeDelta;
use contact_service::{
    api::proto::{self, Contact, ContactType},
    app::{
        App, AppParts, ChangeOptions, CustomerRows, EmailEdit, FileRow, ImportMode, NewContact,
        RowOutcome, UpdateContact,
    },
    crypto::{keyring::VersionedKeys, random::Random},
    domain::{
        audit::Actor, contact_change::ContactChange, contact_import::ImportKey,
        contact_types::ContactTypes, customer::CustomerChange, email_address::EmailAddress,
        ids::CustomerNumber,
    },
};
use futures::future::join_all;
use rstest::rstest;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    harness::{Backend, Options, TestServer, new_contact, query_number, rejection},
    mailbox::Mail,
    phone_calls::contact_ref,
};

const VICTIM: &str = "Victim@muster.example";
const HOUR: TimeDelta = TimeDelta::hours(1);
const TECHNICAL: &[ContactType] = &[ContactType::Technical];

/// Servers that share a database and service keys; SQLite has one.
struct Instances(Vec<TestServer>);

impl Instances {
    async fn start(backend: Backend) -> Self {
        let first = TestServer::start(backend).await;
        let mut all = vec![];
        if backend == Backend::Postgres {
            all.push(first.start_peer(Options::default()).await);
        }
        all.insert(0, first);
        Self(all)
    }

    fn nth(&self, nth: usize) -> &TestServer {
        &self.0[nth % self.0.len()]
    }

    fn advance(&self, time: TimeDelta) {
        for server in &self.0 {
            server.clock.advance(time);
        }
    }

    /// Number of e-mails to the victim since the last call.
    async fn mails_to_victim(&self) -> usize {
        let mails = self.0[0].mails().await;
        mails.iter().filter(|mail| is_to_victim(mail)).count()
    }
}

fn is_to_victim(mail: &Mail) -> bool {
    mail.to.eq_ignore_ascii_case(VICTIM)
}

/// A customer with contacts without addresses.
async fn customer_with_contacts(server: &TestServer, number: &str, count: usize) -> Vec<Contact> {
    let first = server.create_customer_with_contact(number).await;
    let mut contacts = vec![first];
    for nth in 1..count {
        let name = format!("Kontakt {nth}");
        let contact = server.create_contact(number, &name, TECHNICAL, "").await;
        contacts.push(contact);
    }
    contacts
}

/// Asserts a rejection by a limit; returns its retry delay.
fn retry_delay(status: &Status, limit: &str) -> Duration {
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.metadata["limit"], limit, "{status:?}");
    let rejected = rejection::<()>(Err(status.clone()));
    assert_eq!(
        rejected,
        (Code::ResourceExhausted, "RESEND_LIMIT".to_owned())
    );
    let delay = status.get_details_retry_info().unwrap().retry_delay;
    delay.unwrap()
}

async fn cancel(server: &TestServer, contact: &Contact) {
    let request = proto::CancelEmailChangeRequest {
        customer_number: contact.customer_number.clone(),
        contact_id: contact.contact_id.clone(),
        ..proto::CancelEmailChangeRequest::default()
    };
    let _none_pending = server.client().cancel_email_change(request).await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn address_gets_five_emails_an_hour_from_all_contacts(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let instances = Instances::start(backend).await;
    let mut contacts = Vec::new();
    for number in ["K-1", "K-2"] {
        contacts.extend(customer_with_contacts(instances.nth(0), number, 10).await);
    }
    // Round-robin, alternating between entry and cancellation.
    let (mut mails, mut rejected) = (0, Vec::new());
    for (nth, contact) in contacts.iter().enumerate() {
        for enters in [nth, nth + 1] {
            let server = instances.nth(enters);
            let spelling = [VICTIM.to_lowercase(), VICTIM.to_uppercase()];
            let entered = server.change_email(contact, &spelling[enters % 2]).await;
            rejected.extend(entered.err());
            mails += instances.mails_to_victim().await;
            cancel(server, contact).await;
        }
    }
    assert_eq!((mails, rejected.len()), (5, 35));
    for status in &rejected {
        let hour = Duration::from_hours(1);
        assert_eq!(retry_delay(status, "mails_per_address"), hour);
    }
    // All concurrently, every hour, until the day's quota is used up.
    for hour in 1..5 {
        instances.advance(HOUR);
        let instances = &instances;
        let entered = contacts
            .iter()
            .enumerate()
            .map(|(nth, contact)| async move {
                let server = instances.nth(nth);
                server.change_email(contact, VICTIM).await
            });
        let entered = join_all(entered).await;
        let accepted = entered.iter().filter(|entered| entered.is_ok()).count();
        let expected = if hour < 4 { 5 } else { 0 };
        assert_eq!(
            (accepted, instances.mails_to_victim().await),
            (expected, expected)
        );
        for contact in &contacts {
            cancel(instances.nth(0), contact).await;
        }
    }
    let later = instances.nth(1).change_email(&contacts[0], VICTIM).await;
    let wait = retry_delay(&later.unwrap_err(), "mails_per_address");
    assert_eq!(wait, Duration::from_hours(20));
    instances.advance(HOUR * 20);
    instances
        .nth(1)
        .change_email(&contacts[0], VICTIM)
        .await
        .unwrap();
}

#[rstest]
#[tokio::test]
async fn request_rejected_by_a_mail_limit_stores_nothing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contacts = customer_with_contacts(&server, "K-1", 2).await;
    for _ in 0..5 {
        cancel(&server, &contacts[0]).await;
        server.change_email(&contacts[0], VICTIM).await.unwrap();
        server.mails().await;
    }
    let before = server.state("K-1").await;
    for validate_only in [false, true] {
        let created = create(&server, "Neu", "", validate_only).await;
        retry_delay(&created.unwrap_err(), "mails_per_address");
    }
    let changed = server.change_email(&contacts[1], VICTIM).await;
    retry_delay(&changed.unwrap_err(), "mails_per_address");
    let resent = server.resend(&contacts[0]).await;
    retry_delay(&resent.unwrap_err(), "mails_per_address");
    assert_eq!(server.state("K-1").await, before);
    assert!(server.mails().await.is_empty());
    // The rows that count its e-mails do not contain the address.
    let rows = "SELECT count(*) FROM mail_recipients";
    assert_eq!(query_number(&server.database_url, rows).await, 1);
    server.clock.advance(TimeDelta::days(2));
    server.app.purge_mail_counts().await.unwrap();
    assert_eq!(query_number(&server.database_url, rows).await, 0);
}

/// Creates a contact of customer K-1 with the victim's address.
async fn create(
    server: &TestServer,
    name: &str,
    request_id: &str,
    validate_only: bool,
) -> Result<(), Status> {
    let request = proto::CreateContactRequest {
        customer_number: "K-1".into(),
        contact: Some(new_contact(name, TECHNICAL)),
        email: VICTIM.into(),
        request_id: request_id.into(),
        validate_only,
        ..proto::CreateContactRequest::default()
    };
    server.client().create_contact(request).await.map(|_| ())
}

#[rstest]
#[tokio::test]
async fn replays_and_validations_use_no_mail_quota(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contacts = customer_with_contacts(&server, "K-1", 1).await;
    for nth in 0..5 {
        let id = format!("0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c0{nth}");
        for validate_only in [true, false, false] {
            let id = if validate_only { "" } else { &id };
            create(&server, "Neu", id, validate_only).await.unwrap();
        }
    }
    let rejected = server.change_email(&contacts[0], VICTIM).await;
    retry_delay(&rejected.unwrap_err(), "mails_per_address");
}

#[rstest]
#[tokio::test]
async fn customer_limit_is_100_confirmation_emails_an_hour(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let instances = Instances::start(backend).await;
    let contacts = customer_with_contacts(instances.nth(0), "K-1", 1).await;
    let others = customer_with_contacts(instances.nth(0), "K-2", 1).await;
    let enter = async |nth: usize, contact: &Contact| {
        let email = format!("mail-{nth}@muster.example");
        instances.nth(nth).change_email(contact, &email).await
    };
    for nth in 0..100 {
        enter(nth, &contacts[0]).await.unwrap();
        if nth == 49 {
            instances.advance(TimeDelta::minutes(10));
        }
    }
    let rejected = enter(100, &contacts[0]).await.unwrap_err();
    let wait = retry_delay(&rejected, "mails_per_customer");
    assert_eq!(wait, Duration::from_mins(50));
    enter(101, &others[0]).await.unwrap();
    instances.advance(TimeDelta::minutes(50));
    enter(102, &contacts[0]).await.unwrap();
}

/// The use cases of an instance with these service keys, newest first.
fn app_with(server: &TestServer, versions: &[u8]) -> App {
    let key = |version: &u8| format!("{version}:{}", STANDARD.encode([*version; 32]));
    let keys: Vec<_> = versions.iter().map(key).collect();
    App::new(AppParts {
        database: server.database.clone(),
        clock: server.clock.clone(),
        random: Random::system(),
        service_keys: VersionedKeys::parse(&keys.join(",")).unwrap(),
        hasher: server.hasher.clone(),
        channel_checks_per_minute: None,
        code_answer_time: Duration::ZERO,
        mail_folder: None,
    })
}

/// An instance that has a new key and one that lacks it still count the same e-mails.
#[rstest]
#[tokio::test]
async fn mail_counts_survive_a_service_key_rotation(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let contacts = customer_with_contacts(&server, "K-1", 7).await;
    let (old, new) = (app_with(&server, &[1]), app_with(&server, &[2, 1]));
    let agent = Actor("agent".into());
    let mut entered = Vec::new();
    for (nth, contact) in contacts.iter().enumerate() {
        let app = if nth % 2 == 0 { &old } else { &new };
        let email = EmailAddress::parse(VICTIM).unwrap();
        let update = UpdateContact {
            email: Some(EmailEdit::Enter(email)),
            ..UpdateContact::new(contact_ref(contact), ChangeOptions::default())
        };
        let changed = app.update_contact(&agent, update);
        entered.push(changed.await.is_ok());
    }
    assert_eq!(entered, [true, true, true, true, true, false, false]);
}

fn row(number: &CustomerNumber, nth: usize, email: &str) -> FileRow {
    FileRow {
        key: ImportKey::from_external_id(number, &nth.to_string()),
        contact: NewContact {
            customer_number: number.clone(),
            types: ContactTypes::from_bits(1).unwrap(),
            display_name: format!("Kontakt {nth}"),
            fields: ContactChange::default(),
            email: Some(EmailAddress::parse(email).unwrap()),
            phone_password: None,
            options: ChangeOptions::default(),
            shows_recipient_changes: false,
        },
        customer: CustomerChange::default(),
    }
}

pub async fn import(
    server: &TestServer,
    number: &str,
    count: usize,
    email: &str,
) -> Vec<RowOutcome> {
    let number = CustomerNumber::parse(number).unwrap();
    let rows = (0..count).map(|nth| row(&number, nth, email)).collect();
    let mode = ImportMode {
        dry_run: false,
        emails_confirmed: false,
        create_customers: true,
    };
    let customers = [CustomerRows {
        number,
        change: CustomerChange::default(),
        rows,
    }];
    let imported = server.app.import_contacts(&customers, mode);
    imported.await.unwrap().remove(0).rows
}

/// An imported row whose address has used up its quota is accepted; its e-mail is sent later.
#[rstest]
#[tokio::test]
async fn mail_limit_delays_emails_of_imported_rows(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let instances = Instances::start(backend).await;
    let outcomes = import(instances.nth(0), "K-1", 8, VICTIM).await;
    assert!(
        outcomes
            .iter()
            .all(|o| *o == RowOutcome::Imported { mails_queued: true })
    );
    assert_eq!(instances.mails_to_victim().await, 5);
    instances.advance(HOUR - TimeDelta::seconds(1));
    assert_eq!(instances.mails_to_victim().await, 0);
    instances.advance(TimeDelta::seconds(1));
    assert_eq!(instances.mails_to_victim().await, 3);
    // Delayed e-mails count: two are left of this hour's quota.
    let contacts = customer_with_contacts(instances.nth(0), "K-2", 3).await;
    for (nth, contact) in contacts.iter().enumerate() {
        let changed = instances.nth(nth).change_email(contact, VICTIM).await;
        assert_eq!(changed.is_ok(), nth < 2);
    }
    assert_eq!(instances.mails_to_victim().await, 2);
}

/// Rows whose e-mail could not be sent within the confirmation period are rejected, to be
/// imported later.
#[rstest]
#[tokio::test]
async fn imported_rows_are_rejected_if_their_email_would_be_late(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let instances = Instances::start(backend).await;
    let server = instances.nth(0);
    let first = import(server, "K-1", 100, VICTIM).await;
    let second = import(server, "K-2", 100, VICTIM).await;
    let is_imported =
        |outcome: &&RowOutcome| **outcome == RowOutcome::Imported { mails_queued: true };
    let imported = [&first, &second].map(|outcomes| outcomes.iter().filter(is_imported).count());
    // Six days of twenty, and the hour in which the seventh begins.
    assert_eq!(imported, [100, 25]);
    let RowOutcome::Rejected(rejected) = &second[99] else {
        panic!("{:?}", second[99]);
    };
    assert!(rejected.to_string().contains("later"), "{rejected}");
    let mut mails = Vec::new();
    for _ in 0..7 * 24 {
        mails.push(instances.mails_to_victim().await);
        instances.advance(HOUR);
    }
    assert!(mails.iter().all(|count| *count <= 5), "{mails:?}");
    for day in mails.windows(24) {
        assert!(day.iter().sum::<usize>() <= 20, "{mails:?}");
    }
    assert_eq!(mails.iter().sum::<usize>(), 125);
    // The same rows again, later.
    let again = import(server, "K-2", 100, VICTIM).await;
    assert!(matches!(again[99], RowOutcome::Imported { .. }));
}
