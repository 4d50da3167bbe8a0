//! Peppers and service keys are rotated, and removed too early.

use contact_service::api::proto::{self, PhonePasswordVerdict, set_phone_password_request::Source};
use rstest::rstest;
use tonic::{Code, Status};

use super::{Cache, create_contact, keys, reason, token, write};
use crate::process::{Backend, Client, Place, Running, client, query_texts};

const PASSWORD: &str = "Roter Dachs 7";
const CALL_ID: &str = "call-1";
const CHECKS: usize = 60;

async fn set_password(client: &mut Client, contact: &proto::Contact) {
    let request = proto::SetPhonePasswordRequest {
        customer_number: contact.customer_number.clone(),
        contact_id: contact.contact_id.clone(),
        source: Some(Source::PhonePassword(PASSWORD.into())),
    };
    client.set_phone_password(request).await.unwrap();
}

async fn clear_password(client: &mut Client, contact: &proto::Contact) {
    let request = proto::ClearPhonePasswordRequest {
        customer_number: contact.customer_number.clone(),
        contact_id: contact.contact_id.clone(),
    };
    client.clear_phone_password(request).await.unwrap();
}

async fn check(
    mut client: Client,
    contact: proto::Contact,
    said: &str,
) -> Result<proto::CheckPhonePasswordResponse, Status> {
    let request = proto::CheckPhonePasswordRequest {
        customer_number: contact.customer_number,
        contact_id: contact.contact_id,
        phone_password: said.into(),
        call_id: CALL_ID.into(),
    };
    let response = client.check_phone_password(request).await?;
    Ok(response.into_inner())
}

/// Everything that is counted against a contact, a phone call or an agent.
async fn counters(place: &Place) -> Vec<String> {
    let sql = "SELECT 'contact ' || consecutive_failures || recent_failures \
            || coalesce(CAST(locked_until AS text), '-') || is_void FROM phone_passwords \
        UNION ALL SELECT 'call ' || call_id || tries FROM phone_password_calls \
        UNION ALL SELECT 'agent ' || agent || failures FROM phone_password_agents ORDER BY 1";
    query_texts(&place.database_url(), sql).await
}

async fn pepper_versions(place: &Place) -> Vec<String> {
    let sql = "SELECT CAST(pepper_version AS text) FROM phone_passwords WHERE hash IS NOT NULL";
    query_texts(&place.database_url(), sql).await
}

/// Where the server's probes and metrics are.
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

async fn migrated(backend: Backend) -> Place {
    let place = Place::on(backend)
        .await
        .with("LISTEN_ADDR", "127.0.0.1:0")
        .with("PHONE_PASSWORD_COST", "m=8192,t=1,p=1")
        .with("PHONE_PEPPER", keys(&[1]))
        .with("SERVICE_KEYS", keys(&[1]));
    place.run(&["migrate", "up"]).printed();
    place
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_pepper_locks_no_contact_and_is_named(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = migrated(backend).await;
    let (server, address) = place.serve(&[]);
    let token = token(&place);
    let mut writer = client(&address, &token);
    write(&mut writer, "K-1", "+4972191374001").await.unwrap();
    let anna = create_contact(&mut writer, "K-1", "Anna Schmidt").await;
    set_password(&mut writer, &anna).await;
    drop(server);
    let before = counters(&place).await;

    let place = place.with("PHONE_PEPPER", keys(&[2]));
    let (mut server, address) = place.serve_unready(&[]);
    server.until(|server| !errors(server).is_empty());
    let checks = (0..CHECKS).map(|nth| {
        let said = if nth % 2 == 0 { PASSWORD } else { "falsch" };
        tokio::spawn(check(client(&address, &token), anna.clone(), said))
    });
    for checked in checks.collect::<Vec<_>>() {
        let status = checked.await.unwrap().unwrap_err();
        let refused = (status.code(), reason(&status));
        assert_eq!(refused, (Code::Unavailable, "PEPPER_MISSING".to_owned()));
    }
    assert_eq!(counters(&place).await, before);
    assert!(!place.healthcheck(&address).status.success());
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

    // Added again after the new one: the first check matches, and renews the hash.
    let place = place.with("PHONE_PEPPER", keys(&[2, 1]));
    let (server, address) = place.serve(&[]);
    let checked = check(client(&address, &token), anna, PASSWORD).await;
    assert_eq!(checked.unwrap().verdict(), PhonePasswordVerdict::Match);
    assert_eq!(pepper_versions(&place).await, ["2"]);
    drop(server);
    let place = place.with("PHONE_PEPPER", keys(&[2]));
    let (_server, _) = place.serve(&[]);
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_follows_the_peppers_that_are_needed(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = migrated(backend).await;
    let (mut old, old_address) = place.serve(&[]);
    let token = token(&place);
    let mut writer = client(&old_address, &token);
    write(&mut writer, "K-1", "+4972191374001").await.unwrap();
    let anna = create_contact(&mut writer, "K-1", "Anna Schmidt").await;
    let bernd = create_contact(&mut writer, "K-1", "Bernd Maier").await;
    set_password(&mut writer, &anna).await;

    // Another instance gets the new pepper before the first one knows it.
    let place = place.with("PHONE_PEPPER", keys(&[2, 1]));
    let (new, new_address) = place.serve(&[]);
    let mut writer = client(&new_address, &token);
    set_password(&mut writer, &bernd).await;
    old.until(|_| !place.healthcheck(&old_address).status.success());
    let status = check(client(&old_address, &token), bernd.clone(), PASSWORD).await;
    assert_eq!(reason(&status.unwrap_err()), "PEPPER_MISSING");
    let checked = check(client(&old_address, &token), anna, PASSWORD).await;
    assert_eq!(checked.unwrap().verdict(), PhonePasswordVerdict::Match);
    assert!(place.healthcheck(&new_address).status.success());
    drop(new);
    // All else works there, and it recovers once the hash is gone.
    clear_password(&mut client(&old_address, &token), &bernd).await;
    old.until(|_| place.healthcheck(&old_address).status.success());
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
    };
    client.update_order_type(request).await.unwrap();
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_a_service_key_end_with_the_key(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let place = migrated(backend).await;
    let (server, address) = place.serve(&[]);
    let token = token(&place);
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

    // The new key is in front, and the old one still accepted.
    let place = place.with("SERVICE_KEYS", keys(&[2, 1]));
    let (server, address) = place.serve(&[]);
    let mut caller = client(&address, &token);
    authorize(&mut caller, &anna, &grant).await.unwrap();
    first_page(&mut caller, &page_token).await.unwrap();
    write(&mut caller, "K-3", "+4972191374001").await.unwrap();
    cache.connect(&address, &token);
    cache.follow_until("K-3").await;
    assert_eq!(cache.expired, 0);
    drop(server);

    let place = place.with("SERVICE_KEYS", keys(&[2]));
    let (_server, address) = place.serve(&[]);
    let mut caller = client(&address, &token);
    let refused = authorize(&mut caller, &anna, &grant).await.unwrap_err();
    let refused = (refused.code(), reason(&refused));
    assert_eq!(
        refused,
        (Code::FailedPrecondition, "GRANT_INVALID".to_owned())
    );
    let refused = first_page(&mut caller, &page_token).await.unwrap_err();
    let refused = (refused.code(), reason(&refused));
    assert_eq!(
        refused,
        (Code::InvalidArgument, "INVALID_PAGE_TOKEN".to_owned())
    );
    // Its cursor is of the new key since the last response; the old one costs a new start.
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
