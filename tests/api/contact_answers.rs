//! Answers that responses give so that clients need no rules of their own: is this the last STANDARD
//! contact, may it get invoices, and who is written to for every purpose.

use contact_service::api::proto::{self, Contact, ContactType};
use rstest::rstest;
use tonic::Status;

use crate::harness::{Backend, TestServer, rejected_fields};

#[rstest]
#[tokio::test]
async fn shown_answers_follow_other_contacts(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    let answers = async |contact: &Contact| {
        let shown = server.contact(contact).await;
        let listed = server.contacts("K-1").await;
        assert!(listed.contains(&shown));
        (shown.last_standard_contact, shown.invoice_email_available)
    };
    assert_eq!(answers(&anna).await, (true, false));
    server
        .change_email(&anna, "anna@xn--mller-kva.example")
        .await
        .unwrap();
    assert_eq!(answers(&anna).await, (true, true));
    let pending = server.contact(&anna).await.pending_email.unwrap();
    assert_eq!(pending.email_unicode, "anna@müller.example");
    let standard = &[ContactType::Standard];
    let bernd = server.create_contact("K-1", "Bernd", standard, "").await;
    assert_eq!(answers(&anna).await, (false, true));
    assert_eq!(answers(&bernd).await, (false, false));
    server.delete_contact(&bernd).await.unwrap();
    assert_eq!(answers(&anna).await, (true, true));
    let technical = &[ContactType::Technical];
    let carla = server
        .create_contact("K-1", "Carla", technical, "carla@muster.example")
        .await;
    assert_eq!(answers(&carla).await, (false, false));

    server
        .set_confirmed_email(&anna, "anna@xn--mller-kva.example")
        .await;
    let confirmed = server.contact(&anna).await;
    assert_eq!(confirmed.email_unicode, "anna@müller.example");
    assert!(confirmed.email_confirm_time.is_some());
    let removal = proto::RemoveEmailRequest {
        customer_number: "K-1".into(),
        contact_id: anna.contact_id.clone(),
        ..proto::RemoveEmailRequest::default()
    };
    let removed = server.client().remove_email(removal).await;
    let removed = removed.unwrap().into_inner().contact.unwrap();
    assert_eq!(
        (removed.email_confirm_time, removed.email_unicode),
        (None, String::new())
    );
}

#[rstest]
#[tokio::test]
async fn purposes_are_resolved_together(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer_with_contact("K-1").await;
    let batch = async |purposes: &[i32]| {
        let request = proto::BatchResolveRecipientsRequest {
            customer_number: "K-1".into(),
            purposes: purposes.to_vec(),
            ..proto::BatchResolveRecipientsRequest::default()
        };
        let resolved = server.client().batch_resolve_recipients(request).await?;
        Ok::<_, Status>(resolved.into_inner().resolutions)
    };
    let all = batch(&[]).await.unwrap();
    let purposes: Vec<_> = all.iter().map(|resolution| resolution.purpose).collect();
    assert_eq!(purposes, [1, 2, 3, 4, 5, 6]);
    for resolution in &all {
        assert_eq!(
            *resolution,
            server.resolve("K-1", resolution.purpose()).await
        );
    }
    let some = batch(&[6, 1]).await.unwrap();
    assert_eq!(some, [all[5].clone(), all[0].clone()]);
    let rejected = batch(&[1, 0, 1]).await;
    assert_eq!(rejected_fields(rejected), ["purposes[1]", "purposes[2]"]);
}
