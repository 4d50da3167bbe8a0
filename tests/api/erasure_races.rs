//! Concurrent or later requests leave no data of an erased customer (rule 26).

use std::{fs, path::Path, sync::Arc};

use chrono::TimeDelta;
use contact_service::{
    api::proto::{self, ContactType},
    storage::Outcome,
};
use rstest::rstest;
use sqlx::{Connection, Executor, PgConnection};
use tonic::Code;

use crate::{
    harness::{Backend, TestServer, new_contact, query_number},
    outbox::claim,
    phone_calls::PASSWORD,
    privacy::{assert_nothing_left, id_for, prepare_full_customer},
    rpcs::{Prepared, prepare},
};

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writes_restore_no_erased_data(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    const ROUNDS: usize = 2;
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
        // Once each of them has written something.
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
        assert!(count > 0, "nothing was written");
        server.outbox.deliver_due().await.unwrap();
        server.clock.advance(TimeDelta::days(6));
        server.app.remind_of_pending_emails().await.unwrap();
        server.clock.advance(TimeDelta::days(2));
        server.app.clear_expired_emails().await.unwrap();
        assert_nothing_left(&server, &number).await;
        assert_eq!(
            server.events(&number).await[0].kind().as_str_name(),
            "EVENT_KIND_CUSTOMER_ERASED"
        );
        assert_eq!(mails_of(&server.mail_folder(), &number), [""; 0]);
    }
}

/// Returns the number of successful writes.
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
                    // A different order each time, otherwise there is nothing to write.
                    suppressed: count % 8 < 4,
                    ordered_by_email: format!("info@{}.example", on.number.to_lowercase()),
                    ..proto::SetAttentionLineRequest::default()
                };
                let set = server.client().set_attention_line(request).await;
                set.map(|_| ())
            }
            _ => server.export(&on.number).await.map(|_| ()),
        };
        match written {
            Ok(()) => count += 1,
            Err(status) if status.code() == Code::NotFound => return count,
            // Too many concurrent requests, or the contact limit is reached.
            Err(status) => assert!(
                [Code::Aborted, Code::Unavailable, Code::ResourceExhausted]
                    .contains(&status.code()),
                "{status:?}"
            ),
        }
    }
}

/// A phone password attempt does not lock its customer, and must not leave a row either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erasure_waits_for_an_attempt_in_flight() {
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
    let blocked_by = |holders: &str| {
        format!(
            "SELECT pid FROM pg_stat_activity \
             WHERE pg_blocking_pids(pid) && ARRAY(SELECT h FROM ({holders}) AS t (h))"
        )
    };
    let trying = blocked_by(&format!("SELECT {holder}"));
    let erasing = blocked_by(&trying);
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
    // On a slow machine either side may have waited too long.
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
async fn mail_files_are_deleted_with_their_customer(
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
    // As another process with its own folder would.
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
async fn background_jobs_restore_no_erased_data(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    prepare_full_customer(&server, "K-1").await;
    let now = server.now();
    let claimed = claim(&server, now, 20).await.remove(0);
    server.erase("K-1").await.unwrap();
    let events = server.events("K-1").await;
    // A worker that claimed an e-mail before finds no row for it.
    let strike_off = server.database.transaction(move |transaction| {
        let mail = claimed.clone();
        Box::pin(async move {
            let deleted = transaction.delete_mail(&mail).await?;
            let dead_lettered = transaction.dead_letter(&mail, now, "SMTP 550").await?;
            Ok(Outcome::Commit((deleted, dead_lettered)))
        })
    });
    assert_eq!(strike_off.await, Ok((false, false)));
    for days in [6, 2, 400] {
        server.clock.advance(TimeDelta::days(days));
        assert_eq!(server.app.remind_of_pending_emails().await, Ok(0));
        assert_eq!(server.app.clear_expired_emails().await, Ok(0));
        assert_eq!(server.outbox.deliver_due().await, Ok(0));
    }
    assert_nothing_left(&server, "K-1").await;
    assert_eq!(server.events("K-1").await, events);
}
