//! One confirmation link, used concurrently.

use contact_service::api::proto;
use rstest::rstest;

use crate::harness::{Backend, TestServer};

const PRESSES: usize = 16;
const QUICK_ROUNDS: usize = 10;
const PROOF_ROUNDS: usize = 200;

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_8_one_of_many_concurrent_confirmations_takes_effect(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    race(backend, QUICK_ROUNDS).await;
}

#[rstest]
#[ignore = "minutes long: scripts/proof runs it"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proof_rule_8_holds_for_200_rounds_of_16(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    race(backend, PROOF_ROUNDS).await;
}

async fn race(backend: Backend, rounds: usize) {
    let server = TestServer::start(backend).await;
    let mut already = 0;
    for round in 0..rounds {
        let number = format!("R-{round}");
        let [old, new] = ["alt", "neu"].map(|name| format!("{name}-{round}@muster.example"));
        let contact = server.create_customer_with_contact(&number).await;
        server.set_confirmed_email(&contact, &old).await;
        server.change_email(&contact, &new).await.unwrap();
        let token = server.mailed_token(&new).await;
        let known = server.events(&number).await.len();
        let presses = (0..PRESSES).map(|_| {
            let mut client = server.client();
            let token = token.clone();
            tokio::spawn(async move {
                let request = proto::ConfirmEmailRequest { token };
                client.confirm_email(request).await.unwrap().into_inner()
            })
        });
        let mut transitions = 0;
        for press in presses.collect::<Vec<_>>() {
            let response = press.await.unwrap();
            assert_eq!(response.contact_id, contact.contact_id);
            transitions += usize::from(!response.already_confirmed);
        }
        assert_eq!(transitions, 1, "round {round}");
        already += PRESSES - transitions;
        let events = server.events(&number).await;
        assert_eq!(events.len(), known + 1);
        assert_eq!(
            events[0].kind().as_str_name(),
            "EVENT_KIND_CONTACT_EMAIL_CONFIRMED"
        );
        let notices = server.mails().await;
        assert_eq!(notices.len(), 1, "round {round}");
        assert_eq!(notices[0].to, old);
    }
    assert_eq!(already, rounds * (PRESSES - 1));
    println!(
        "{backend:?}: {rounds} rounds of {PRESSES}: {rounds} transitions, {already} already \
         confirmed, one event and one notice a round"
    );
}
