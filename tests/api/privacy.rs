//! A customer that is exported whole and erased whole (rule 26).

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use chrono::TimeDelta;
use contact_service::api::proto::{self, ContactType, MailRecord, OrderDecision};
use prost::Message;
use rstest::rstest;
use sqlx::{Connection, Executor, PgConnection};
use tonic::{Code, Status};

use crate::{
    calls::only_id,
    harness::{
        Backend, TestServer, execute, new_contact, query_number, query_texts, refusal,
        refused_fields,
    },
    phone_calls::{PASSWORD, call_id_of},
    rpcs::{Prepared, prepare},
};

const REQUEST_ID: &str = "0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55";

impl TestServer {
    async fn export(&self, number: &str) -> Result<proto::ExportCustomerResponse, Status> {
        let request = proto::ExportCustomerRequest {
            customer_number: number.into(),
        };
        let response = self.client().export_customer(request).await?;
        Ok(response.into_inner())
    }

    async fn erase(&self, number: &str) -> Result<(), Status> {
        let request = proto::EraseCustomerRequest {
            customer_number: number.into(),
            confirm_customer_number: number.into(),
        };
        self.client().erase_customer(request).await.map(|_| ())
    }
}

/// All tables that hold rows of customers, with the count of this one's.
async fn rows_of(server: &TestServer, number: &str) -> BTreeMap<String, i64> {
    let url = &server.database_url;
    let tables = if url.starts_with("sqlite") {
        "SELECT m.name FROM sqlite_schema m, pragma_table_info(m.name) c \
         WHERE m.type = 'table' AND c.name = 'customer_number'"
    } else {
        "SELECT table_name::text FROM information_schema.columns \
         WHERE table_schema = current_schema() AND column_name = 'customer_number'"
    };
    let mut counts = BTreeMap::new();
    for table in query_texts(url, tables).await {
        let count = format!("SELECT count(*) FROM {table} WHERE customer_number = '{number}'");
        counts.insert(table, query_number(url, &count).await);
    }
    counts
}

async fn assert_nothing_left(server: &TestServer, number: &str) {
    let left = rows_of(server, number).await;
    assert!(left.values().all(|count| *count == 0), "{left:?}");
}

/// A customer with rows in every table that has any of customers.
async fn prepare_whole(server: &TestServer, number: &str) -> Prepared {
    let on = prepare(server, number).await;
    let mut client = server.client();
    client
        .authorize_phone_order(proto::AuthorizePhoneOrderRequest {
            customer_number: number.into(),
            contact_id: on.berta.contact_id.clone(),
            grant: on.grant.clone(),
            call_id: call_id_of(number),
            order_type: "canary.denied".into(),
            customer_administers_product: false,
        })
        .await
        .unwrap();
    client
        .update_contact(proto::UpdateContactRequest {
            contact: Some(proto::Contact {
                display_name: "Anna Neu".into(),
                ..only_id(&on.anna)
            }),
            request_id: id_for(number, 1),
            ..proto::UpdateContactRequest::default()
        })
        .await
        .unwrap();
    client
        .set_attention_line(proto::SetAttentionLineRequest {
            customer_number: number.into(),
            suppressed: true,
            ordered_by_email: "anna@example.com".into(),
        })
        .await
        .unwrap();
    server.unlock(&on.berta).await.unwrap();
    let import = format!(
        "INSERT INTO contact_imports (customer_number, import_key, contact_id, import_time)
         SELECT customer_number, {}, contact_id, create_time FROM contacts
         WHERE customer_number = '{number}' AND display_name = 'Anna Neu'",
        if server.database_url.starts_with("sqlite") {
            "zeroblob(32)"
        } else {
            "decode(repeat('00', 32), 'hex')"
        }
    );
    execute(&server.database_url, &import).await;
    let rows = rows_of(server, number).await;
    assert!(rows.len() >= 11, "{rows:?}");
    assert!(rows.values().all(|count| *count > 0), "{rows:?}");
    on
}

/// An id for the requests of one customer.
fn id_for(number: &str, nth: usize) -> String {
    let bytes: String = number.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("0190d6d2-5a3c-7cc1-8{nth:03}-{bytes:0>12.12}")
}

/// Kinds, newest first.
fn kinds(events: &[proto::AuditEvent]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

#[rstest]
#[tokio::test]
async fn an_erased_customer_is_in_no_table_and_others_are_untouched(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    prepare_whole(&server, "K-10").await;
    prepare_whole(&server, "K-1").await;
    let other = (rows_of(&server, "K-10").await, server.state("K-10").await);
    server.erase("K-1").await.unwrap();
    assert_nothing_left(&server, "K-1").await;
    let after = (rows_of(&server, "K-10").await, server.state("K-10").await);
    assert_eq!(after, other);
    let gone = (Code::NotFound, "CUSTOMER_NOT_FOUND".to_owned());
    assert_eq!(refusal(server.erase("K-1").await), gone);
    assert_eq!(refusal(server.export("K-1").await), gone);
}

#[rstest]
#[tokio::test]
async fn both_numbers_have_to_be_the_same(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let before = server.state("K-1").await;
    for confirmed in ["", "k-1", "K-1 ", "K-2"] {
        let request = proto::EraseCustomerRequest {
            customer_number: "K-1".into(),
            confirm_customer_number: confirmed.into(),
        };
        let refused = server.client().erase_customer(request).await;
        assert_eq!(refused_fields(refused), ["confirm_customer_number"]);
    }
    assert_eq!(server.state("K-1").await, before);
}

#[rstest]
#[tokio::test]
async fn the_trail_goes_on_under_a_pseudonym_and_a_new_customer_begins_its_own(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    let before = server.events("K-1").await;
    server.clock.advance(TimeDelta::hours(1));
    server.erase("K-1").await.unwrap();

    let after = server.events("K-1").await;
    assert_eq!(after[0].kind, "customer.erased");
    assert_eq!(
        (after[0].actor.as_str(), &*after[0].contact_id),
        ("tester", "")
    );
    let pseudonym = after[0].customer_number.clone();
    assert!(pseudonym.starts_with("erased-") && pseudonym.len() == 32);
    let renamed = before.iter().cloned().map(|event| proto::AuditEvent {
        customer_number: pseudonym.clone(),
        ..event
    });
    let first: Vec<_> = renamed.collect();
    assert_eq!(after[1..], first);
    assert_eq!(after[1].contact_id, anna.contact_id);
    assert_eq!(server.events(&pseudonym).await, after);
    let sealed = "SELECT count(*) FROM audit_events WHERE sealed_customer_number IS NOT NULL";
    assert_eq!(query_number(&server.database_url, sealed).await, 1);

    server.create_customer_with_contact("K-1").await;
    let new = server.events("K-1").await;
    assert_eq!(kinds(&new), ["contact.created", "customer.created"]);
    assert!(new.iter().all(|event| event.customer_number == "K-1"));
    server.erase("K-1").await.unwrap();
    let both = server.events("K-1").await;
    assert_eq!(both[3..], after);
    let second = ["customer.erased", "contact.created", "customer.created"];
    assert_eq!(kinds(&both[..3]), second);
    assert!(both.iter().all(|event| event.customer_number == pseudonym));

    // Nobody may join it.
    let request = proto::UpdateCustomerRequest {
        customer: Some(proto::Customer {
            customer_number: pseudonym,
            ..proto::Customer::default()
        }),
        allow_missing: true,
        ..proto::UpdateCustomerRequest::default()
    };
    let refused = server.client().update_customer(request).await;
    assert_eq!(refused_fields(refused), ["customer.customer_number"]);
}

#[rstest]
#[tokio::test]
async fn pages_of_an_erased_trail_follow_one_another(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    prepare(&server, "K-1").await;
    server.erase("K-1").await.unwrap();
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = proto::ListAuditEventsRequest {
            customer_number: "K-1".into(),
            page_size: 2,
            page_token,
        };
        let page = server.client().list_audit_events(request).await.unwrap();
        let page = page.into_inner();
        seen.extend(page.events);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, server.events("K-1").await);
    assert!(seen.len() > 8, "{seen:?}");
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_comes_back_to_life_by_whoever_was_writing(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    const ROUNDS: usize = 4;
    let server = Arc::new(TestServer::start(backend).await);
    for round in 0..ROUNDS {
        let number = format!("K-{round}");
        let on = Arc::new(prepare(&server, &number).await);
        let mut writers: Vec<_> = (0..8)
            .map(|nth| {
                let (server, on) = (Arc::clone(&server), Arc::clone(&on));
                tokio::spawn(async move { write_until_gone(&server, &on, nth).await })
            })
            .collect();
        let mails = Arc::clone(&server);
        writers.push(tokio::spawn(async move {
            mails.outbox.deliver_due().await.unwrap();
            mails.app.remind_of_pending_emails().await.unwrap();
            0
        }));
        // Once each of them has written.
        while server.contacts(&number).await.len() < 8 {
            tokio::task::yield_now().await;
        }
        while let Err(status) = server.erase(&number).await {
            assert!(
                [Code::Aborted, Code::Unavailable].contains(&status.code()),
                "{status:?}"
            );
        }
        let mut count = 0;
        for writer in writers {
            count += writer.await.unwrap();
        }
        assert!(count > 0, "nobody wrote");
        server.outbox.deliver_due().await.unwrap();
        server.clock.advance(TimeDelta::days(6));
        server.app.remind_of_pending_emails().await.unwrap();
        server.clock.advance(TimeDelta::days(2));
        server.app.clear_lapsed_emails().await.unwrap();
        assert_nothing_left(&server, &number).await;
        assert_eq!(server.events(&number).await[0].kind, "customer.erased");
        assert_eq!(mails_of(&server.mail_folder(), &number), [""; 0]);
    }
}

/// Gives how often it wrote something.
async fn write_until_gone(server: &TestServer, on: &Prepared, nth: usize) -> usize {
    let mut count = 0;
    loop {
        let written = match nth % 4 {
            0 => {
                let request = proto::CreateContactRequest {
                    customer_number: on.number.clone(),
                    contact: Some(new_contact("Emil", &[ContactType::Other])),
                    email: format!("emil{count}@example.com"),
                    phone_password: PASSWORD.into(),
                    request_id: id_for(&on.number, nth * 100 + count),
                    ..proto::CreateContactRequest::default()
                };
                let created = server.client().create_contact(request).await;
                created.map(|_| ())
            }
            1 => {
                let email = format!("neu{nth}-{count}@example.com");
                server.change_email(&on.anna, &email).await.map(|_| ())
            }
            2 => {
                let request = proto::SetAttentionLineRequest {
                    customer_number: on.number.clone(),
                    suppressed: true,
                    ordered_by_email: "anna@example.com".into(),
                };
                let set = server.client().set_attention_line(request).await;
                set.map(|_| ())
            }
            _ => server.export(&on.number).await.map(|_| ()),
        };
        match written {
            Ok(()) => count += 1,
            Err(status) if status.code() == Code::NotFound => return count,
            // Too many at once, or as many contacts as there may be.
            Err(status) => assert!(
                [Code::Aborted, Code::Unavailable, Code::ResourceExhausted]
                    .contains(&status.code()),
                "{status:?}"
            ),
        }
    }
}

/// A try on a phone password does not lock its customer: it must not leave a row either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_waits_for_a_try_that_is_under_way() {
    let server = Arc::new(TestServer::start(Backend::Postgres).await);
    let on = prepare(&server, "K-1").await;
    let url = &server.database_url;
    let mut agents = PgConnection::connect(url).await.unwrap();
    agents.execute("BEGIN").await.unwrap();
    let lock = "UPDATE phone_password_agents SET update_time = update_time";
    agents.execute(lock).await.unwrap();
    let holder: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut agents)
        .await
        .unwrap();
    let behind = |holders: &str| {
        format!(
            "SELECT pid FROM pg_stat_activity \
             WHERE pg_blocking_pids(pid) && ARRAY(SELECT h FROM ({holders}) AS t (h))"
        )
    };
    let trying = behind(&format!("SELECT {holder}"));
    let erasing = behind(&trying);
    let count = |pids: &str| format!("SELECT count(*) FROM ({pids}) AS t");
    let (of, anna) = (Arc::clone(&server), on.anna.clone());
    let attempt = tokio::spawn(async move { of.check_password(&anna, "falsch", "late").await });
    while query_number(url, &count(&trying)).await == 0 && !attempt.is_finished() {
        tokio::task::yield_now().await;
    }
    let of = Arc::clone(&server);
    let erasure = tokio::spawn(async move { of.erase("K-1").await });
    while query_number(url, &count(&erasing)).await == 0 && !erasure.is_finished() {
        tokio::task::yield_now().await;
    }
    agents.execute("COMMIT").await.unwrap();
    // On a slow machine either may have waited for too long.
    let _ = attempt.await.unwrap();
    if erasure.await.unwrap().is_err() {
        server.erase("K-1").await.unwrap();
    }
    assert_nothing_left(&server, "K-1").await;
}

fn mails_of(folder: &Path, number: &str) -> Vec<String> {
    let begin = format!("{number}_");
    let entries = fs::read_dir(folder).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(&begin)).collect()
}

#[rstest]
#[tokio::test]
async fn mails_in_the_folder_go_with_their_customer_whichever_process_erased_it(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for number in ["K-1", "K-2", "K-3"] {
        prepare(&server, number).await;
    }
    server.outbox.deliver_due().await.unwrap();
    let folder = server.mail_folder();
    assert!(
        ["K-1", "K-2", "K-3"]
            .iter()
            .all(|number| !mails_of(&folder, number).is_empty())
    );
    server.erase("K-1").await.unwrap();
    assert_eq!(mails_of(&folder, "K-1"), [""; 0]);
    // As another process would, whose folder is another one.
    let elsewhere = folder.with_file_name("elsewhere");
    fs::rename(&folder, &elsewhere).unwrap();
    server.erase("K-2").await.unwrap();
    fs::rename(&elsewhere, &folder).unwrap();
    assert!(!mails_of(&folder, "K-2").is_empty());
    assert_eq!(server.app.clean_files().await, Ok(1));
    assert_eq!(mails_of(&folder, "K-2"), [""; 0]);
    assert!(!mails_of(&folder, "K-3").is_empty());
}

#[rstest]
#[tokio::test]
async fn what_time_brings_about_leaves_nothing_of_an_erased_customer(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    prepare_whole(&server, "K-1").await;
    let now = server.now();
    let claim = server.database.transaction(move |transaction| {
        Box::pin(async move {
            let mails = transaction.claim_mails(now, now, 20).await?;
            Ok(contact_service::storage::Outcome::Commit(mails))
        })
    });
    let claimed = claim.await.unwrap().remove(0);
    server.erase("K-1").await.unwrap();
    let events = server.events("K-1").await;
    // One who claimed a mail before finds no row of it.
    let strike_off = server.database.transaction(move |transaction| {
        let mail = claimed.clone();
        Box::pin(async move {
            let deleted = transaction.delete_mail(&mail).await?;
            let buried = transaction.bury_mail(&mail, now, "SMTP 550").await?;
            Ok(contact_service::storage::Outcome::Commit((deleted, buried)))
        })
    });
    assert_eq!(strike_off.await, Ok((false, false)));
    for days in [6, 2, 400] {
        server.clock.advance(TimeDelta::days(days));
        assert_eq!(server.app.remind_of_pending_emails().await, Ok(0));
        assert_eq!(server.app.clear_lapsed_emails().await, Ok(0));
        assert_eq!(server.outbox.deliver_due().await, Ok(0));
    }
    assert_nothing_left(&server, "K-1").await;
    assert_eq!(server.events("K-1").await, events);
}

#[rstest]
#[tokio::test]
async fn an_export_holds_everything_but_secrets(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    prepare_whole(&server, "K-2").await;
    let on = prepare_whole(&server, "K-1").await;
    let (customer, contacts, mut events) = server.state("K-1").await;
    events.reverse();
    let export = server.export("K-1").await.unwrap();
    assert_eq!(export.customer, Some(customer));
    assert_eq!(export.contacts, contacts);
    let (last, earlier) = export.audit_events.split_last().unwrap();
    assert_eq!(
        (last.kind.as_str(), last.actor.as_str()),
        ("customer.exported", "tester")
    );
    assert_eq!(earlier, events);
    assert_eq!(export.attention_line_ordered_by_email, "anna@example.com");

    let [order] = export.phone_orders.as_slice() else {
        panic!("{:?}", export.phone_orders);
    };
    assert_eq!(order.contact_id, on.berta.contact_id);
    assert_eq!(
        (order.agent.as_str(), &*order.order_type),
        ("tester", "canary.denied")
    );
    assert_eq!(
        (order.call_id.as_str(), order.decision()),
        (&*call_id_of("K-1"), OrderDecision::Allowed)
    );
    let states = export.email_confirmations.iter();
    let states: Vec<_> = states
        .map(|of| (of.masked_email.as_str(), of.state().as_str_name()))
        .collect();
    assert!(
        states.contains(&("a***@e***.com", "CONFIRMATION_STATE_CONFIRMED")),
        "{states:?}"
    );
    let is_for_carla = |mail: &&MailRecord| mail.email == "carla@example.com" && !mail.given_up;
    assert!(
        export.mails.iter().any(|mail| is_for_carla(&mail)),
        "{:?}",
        export.mails
    );
    let [tries] = export.phone_passwords.as_slice() else {
        panic!("{:?}", export.phone_passwords);
    };
    assert_eq!(tries.unlock_reason, "Rückruf unter der hinterlegten Nummer");
    assert!(tries.set_time.is_some());
    let [request] = export.requests.as_slice() else {
        panic!("{:?}", export.requests);
    };
    assert_eq!(request.request_id, id_for("K-1", 1));
    assert_eq!(request.contact.as_ref().unwrap().display_name, "Anna Neu");
    assert_eq!(export.imports[0].contact_id, on.anna.contact_id);
    let whole = String::from_utf8_lossy(&export.encode_to_vec()).into_owned();
    for secret in [
        "argon2",
        PASSWORD,
        &on.grant,
        on.token.split_once('.').unwrap().1,
        "K-2",
    ] {
        assert!(!whole.contains(secret), "{secret}");
    }
}

#[rstest]
#[tokio::test]
async fn what_was_answered_about_a_contact_goes_with_it_and_its_id_stays_used(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let request = |name: &str| proto::CreateContactRequest {
        customer_number: "K-1".into(),
        contact: Some(new_contact(name, &[ContactType::Other])),
        request_id: REQUEST_ID.into(),
        ..proto::CreateContactRequest::default()
    };
    let created = server
        .client()
        .create_contact(request("Emil"))
        .await
        .unwrap();
    let emil = created.into_inner().contact.unwrap();
    let holding = "SELECT count(*) FROM request_ids WHERE answer LIKE '%Emil%'";
    assert_eq!(query_number(&server.database_url, holding).await, 1);
    server.delete_contact(&emil).await.unwrap();
    assert_eq!(query_number(&server.database_url, holding).await, 0);
    let before = server.state("K-1").await;
    let again = server.client().create_contact(request("Emil")).await;
    assert_eq!(refusal(again), (Code::NotFound, "CONTACT_NOT_FOUND".into()));
    let other = server.client().create_contact(request("Otto")).await;
    assert_eq!(refused_fields(other), ["request_id"]);
    assert_eq!(server.state("K-1").await, before);
    let export = server.export("K-1").await.unwrap();
    assert_eq!(export.requests[0].contact, None);
}
