//! Rotation of peppers and service keys, and their removal too early.

use contact_service::api::proto::{self, PhonePasswordVerdict, set_phone_password_request::Source};
use rstest::rstest;
use tonic::{Code, Status};

use super::{Cache, create_contact, keys, reason, token, write};
use crate::process::{Backend, Client, Running, Sandbox, client, query_texts};

const PASSWORD: &str = "Roter Dachs 7";
const CALL_ID: &str = "call-1";
const CHECKS: usize = 60;

async fn set_password(client: &mut Client, contact: &proto::Contact) {
    let request = proto::SetPhonePasswordRequest {
        customer_number: contact.customer_number.clone(),
        contact_id: contact.contact_id.clone(),
        source: Some(Source::PhonePassword(PASSWORD.into())),
        ..proto::SetPhonePasswordRequest::default()
    };
    client.set_phone_password(request).await.unwrap();
}

async fn clear_password(client: &mut Client, contact: &proto::Contact) {
    let request = proto::ClearPhonePasswordRequest {
        customer_number: contact.customer_number.clone(),
        contact_id: contact.contact_id.clone(),
        ..proto::ClearPhonePasswordRequest::default()
    };
    client.clear_phone_password(request).await.unwrap();
}

async fn check(
    mut client: Client,
    contact: proto::Contact,
    password: &str,
) -> Result<proto::CheckPhonePasswordResponse, Status> {
    let request = proto::CheckPhonePasswordRequest {
        customer_number: contact.customer_number,
        contact_id: contact.contact_id,
        phone_password: password.into(),
        call_id: CALL_ID.into(),
    };
    let response = client.check_phone_password(request).await?;
    Ok(response.into_inner())
}

/// Returns all counters of attempts.
async fn counters(sandbox: &Sandbox) -> Vec<String> {
    let sql = "SELECT 'contact ' || consecutive_failures || recent_failures \
            || coalesce(CAST(locked_until AS text), '-') || is_revoked FROM phone_passwords \
        UNION ALL SELECT 'call ' || call_id || attempts FROM phone_password_calls \
        UNION ALL SELECT 'agent ' || agent || failures FROM phone_password_agents ORDER BY 1";
    query_texts(&sandbox.database_url(), sql).await
}

async fn pepper_versions(sandbox: &Sandbox) -> Vec<String> {
    let sql = "SELECT CAST(pepper_version AS text) FROM phone_passwords WHERE hash IS NOT NULL";
    query_texts(&sandbox.database_url(), sql).await
}

/// Requests a path of the probes and metrics.
async fn monitoring(server: &Running, path: &str) -> (u16, String) {
    let log = server.stderr();
    let (_, after) = log.split_once("metrics=Some(").unwrap();
    let (address, _) = after.split_once(')').unwrap();
    let answer = reqwest::get(format!("http://{address}{path}")).await;
    let answer = answer.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn errors(server: &Running) -> Vec<String> {
    let log = server.stderr();
    let errors = log.lines().filter(|line| line.contains("ERROR"));
    errors.map(str::to_owned).collect()
}

async fn migrated(backend: Backend) -> Sandbox {
    Sandbox::migrated_on(backend)
        .await
        .with("PHONE_PASSWORD_COST", "m=8192,t=1,p=1")
        .with("PHONE_PEPPER", keys(&[1]))
        .with("SERVICE_KEYS", keys(&[1]))
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_pepper_locks_no_contact_and_is_named(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = migrated(backend).await;
    let (server, address) = sandbox.serve(&[]);
    let token = token(&sandbox);
    let mut writer = client(&address, &token);
    write(&mut writer, "K-1", "+4972191374001").await.unwrap();
    let anna = create_contact(&mut writer, "K-1", "Anna Schmidt").await;
    set_password(&mut writer, &anna).await;
    drop(server);
    let before = counters(&sandbox).await;

    let sandbox = sandbox.with("PHONE_PEPPER", keys(&[2]));
    let (mut server, address) = sandbox.serve_unready(&[]);
    server.until(|server| !errors(server).is_empty());
    let checks = (0..CHECKS).map(|nth| {
        let password = if nth % 2 == 0 { PASSWORD } else { "falsch" };
        tokio::spawn(check(client(&address, &token), anna.clone(), password))
    });
    for checked in checks.collect::<Vec<_>>() {
        let status = checked.await.unwrap().unwrap_err();
        let rejected = (status.code(), reason(&status));
        assert_eq!(rejected, (Code::Unavailable, "PEPPER_MISSING".to_owned()));
    }
    assert_eq!(counters(&sandbox).await, before);
    assert!(!sandbox.healthcheck(&address).status.success());
    assert_eq!(monitoring(&server, "/readyz").await.0, 503);
    for line in [
        "contact_missing_pepper_versions 1",
        "contact_phone_password_hashes{pepper_version=\"1\"} 1",
        "contact_phone_password_hashes{pepper_version=\"2\"} 0",
    ] {
        let (_, metrics) = monitoring(&server, "/metrics").await;
        assert!(metrics.lines().any(|found| found == line), "{metrics}");
    }
    let errors = errors(&server);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("PHONE_PEPPER") && errors[0].contains("[1]"),
        "{errors:?}"
    );
    drop(server);

    // The pepper is added again after the new one: the first check matches, and renews the hash.
    let sandbox = sandbox.with("PHONE_PEPPER", keys(&[2, 1]));
    let (server, address) = sandbox.serve(&[]);
    let checked = check(client(&address, &token), anna, PASSWORD).await;
    assert_eq!(checked.unwrap().verdict(), PhonePasswordVerdict::Match);
    assert_eq!(pepper_versions(&sandbox).await, ["2"]);
    drop(server);
    let sandbox = sandbox.with("PHONE_PEPPER", keys(&[2]));
    let (_server, _) = sandbox.serve(&[]);
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_follows_the_peppers_that_are_needed(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = migrated(backend).await;
    let (mut old, old_address) = sandbox.serve(&[]);
    let token = token(&sandbox);
    let mut writer = client(&old_address, &token);
    write(&mut writer, "K-1", "+4972191374001").await.unwrap();
    let anna = create_contact(&mut writer, "K-1", "Anna Schmidt").await;
    let bernd = create_contact(&mut writer, "K-1", "Bernd Maier").await;
    set_password(&mut writer, &anna).await;

    // Another instance has the new pepper before the first one.
    let sandbox = sandbox.with("PHONE_PEPPER", keys(&[2, 1]));
    let (new, new_address) = sandbox.serve(&[]);
    let mut writer = client(&new_address, &token);
    set_password(&mut writer, &bernd).await;
    old.until(|_| !sandbox.healthcheck(&old_address).status.success());
    let status = check(client(&old_address, &token), bernd.clone(), PASSWORD).await;
    assert_eq!(reason(&status.unwrap_err()), "PEPPER_MISSING");
    let checked = check(client(&old_address, &token), anna, PASSWORD).await;
    assert_eq!(checked.unwrap().verdict(), PhonePasswordVerdict::Match);
    assert!(sandbox.healthcheck(&new_address).status.success());
    drop(new);
    // Other requests work there, and it recovers when the hash is deleted.
    clear_password(&mut client(&old_address, &token), &bernd).await;
    old.until(|_| sandbox.healthcheck(&old_address).status.success());
    assert_eq!(errors(&old).len(), 1);
}

async fn first_page(client: &mut Client, page_token: &str) -> Result<String, Status> {
    let request = proto::ListContactsRequest {
        customer_number: "K-1".into(),
        page_size: 1,
        page_token: page_token.into(),
        ..proto::ListContactsRequest::default()
    };
    let page = client.list_contacts(request).await?;
    Ok(page.into_inner().next_page_token)
}

async fn authorize(
    client: &mut Client,
    contact: &proto::Contact,
    grant: &str,
) -> Result<(), Status> {
    let request = proto::AuthorizePhoneOrderRequest {
        customer_number: contact.customer_number.clone(),
        contact_id: contact.contact_id.clone(),
        grant: grant.into(),
        call_id: CALL_ID.into(),
        order_type: "reboot".into(),
        ..proto::AuthorizePhoneOrderRequest::default()
    };
    client.authorize_phone_order(request).await.map(|_| ())
}

async fn create_order_type(client: &mut Client) {
    let request = proto::UpdateOrderTypeRequest {
        order_type: Some(proto::OrderType {
            code: "reboot".into(),
            display_name: "Reboot".into(),
            offered_by_phone: true,
            ..proto::OrderType::default()
        }),
        allow_missing: true,
        ..proto::UpdateOrderTypeRequest::default()
    };
    client.update_order_type(request).await.unwrap();
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_a_service_key_end_with_the_key(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let sandbox = migrated(backend).await;
    let (server, address) = sandbox.serve(&[]);
    let token = token(&sandbox);
    let mut caller = client(&address, &token);
    write(&mut caller, "K-1", "+4972191374001").await.unwrap();
    create_order_type(&mut caller).await;
    let anna = create_contact(&mut caller, "K-1", "Anna Schmidt").await;
    create_contact(&mut caller, "K-1", "Bernd Maier").await;
    set_password(&mut caller, &anna).await;
    let checked = check(caller.clone(), anna.clone(), PASSWORD).await;
    let grant = checked.unwrap().grant;
    let page_token = first_page(&mut caller, "").await.unwrap();
    let mut cache = Cache::of(&address, &token);
    write(&mut caller, "K-2", "+4972191374001").await.unwrap();
    cache.follow_until("K-2").await;
    let old_cursor = cache.cursor.clone();
    drop(server);

    // The new key signs, and the old one is still accepted.
    let sandbox = sandbox.with("SERVICE_KEYS", keys(&[2, 1]));
    let (server, address) = sandbox.serve(&[]);
    let mut caller = client(&address, &token);
    authorize(&mut caller, &anna, &grant).await.unwrap();
    first_page(&mut caller, &page_token).await.unwrap();
    write(&mut caller, "K-3", "+4972191374001").await.unwrap();
    cache.connect(&address, &token);
    cache.follow_until("K-3").await;
    assert_eq!(cache.expired, 0);
    drop(server);

    let sandbox = sandbox.with("SERVICE_KEYS", keys(&[2]));
    let (_server, address) = sandbox.serve(&[]);
    let mut caller = client(&address, &token);
    let rejected = authorize(&mut caller, &anna, &grant).await.unwrap_err();
    let rejected = (rejected.code(), reason(&rejected));
    assert_eq!(
        rejected,
        (Code::FailedPrecondition, "GRANT_INVALID".to_owned())
    );
    let rejected = first_page(&mut caller, &page_token).await.unwrap_err();
    let rejected = (rejected.code(), reason(&rejected));
    assert_eq!(
        rejected,
        (Code::InvalidArgument, "INVALID_PAGE_TOKEN".to_owned())
    );
    // The last response had a cursor of the new key; an old cursor requires a restart.
    cache.connect(&address, &token);
    write(&mut caller, "K-4", "+4972191374001").await.unwrap();
    cache.follow_until("K-4").await;
    assert_eq!(cache.expired, 0);
    cache.cursor = old_cursor;
    write(&mut caller, "K-5", "+4972191374001").await.unwrap();
    cache.follow_until("K-5").await;
    assert_eq!(cache.expired, 1);
    let stored = ["K-1", "K-2", "K-3", "K-4", "K-5"].map(str::to_owned);
    cache.assert_holds(&stored).await;
}
