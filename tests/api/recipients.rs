//! `ResolveRecipients` over the wire; the whole table of purposes is tested in the domain.

use contact_service::api::proto::{self, Delivery, ExclusionReason, Purpose, RecipientReason};
use rstest::rstest;
use tonic::Code;

use crate::harness::{Backend, TestServer, refusal, refused_fields};

async fn resolve(
    server: &TestServer,
    number: &str,
    purpose: Purpose,
    attention_line_chars: i32,
) -> Result<proto::Resolution, tonic::Status> {
    let request = proto::ResolveRecipientsRequest {
        customer_number: number.into(),
        purpose: purpose.into(),
        attention_line_chars,
    };
    let response = server.client().resolve_recipients(request).await?;
    Ok(response.into_inner().resolution.unwrap())
}

fn written(resolution: &proto::Resolution) -> Vec<String> {
    let recipients = resolution
        .recipients
        .iter()
        .map(|recipient| format!("{} {:?}", recipient.email, recipient.reason()));
    let exclusions = resolution
        .exclusions
        .iter()
        .map(|exclusion| format!("-{:?}", exclusion.reason()));
    recipients.chain(exclusions).collect()
}

#[rstest]
#[tokio::test]
async fn the_samples_answer_as_the_readme_says(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.app.load_samples().await.unwrap();
    server.app.load_samples().await.unwrap();

    let invoice = resolve(&server, "K-1001", Purpose::Invoice, 0)
        .await
        .unwrap();
    assert_eq!(
        written(&invoice),
        [
            format!(
                "anna.schmidt@muster.example {:?}",
                RecipientReason::TypeMatch
            ),
            format!(
                "buchhaltung@muster.example {:?}",
                RecipientReason::TypeMatch
            ),
            format!("-{:?}", ExclusionReason::DuplicateAddress),
        ]
    );
    assert_eq!(invoice.delivery(), Delivery::Email);
    assert_eq!(
        invoice.attention_line,
        "z.Hd. Bernd Maier, Buchhaltung Filiale Süd"
    );

    let short = resolve(&server, "K-1001", Purpose::Invoice, 20)
        .await
        .unwrap();
    assert_eq!(short.attention_line, "z.Hd. Bernd Maier");
    assert_eq!(short.attention_names_left_out, ["Buchhaltung Filiale Süd"]);

    let postal = resolve(&server, "K-1002", Purpose::Invoice, 0)
        .await
        .unwrap();
    assert_eq!(postal.delivery(), Delivery::Postal);
    assert_eq!(
        written(&postal),
        [
            format!("-{:?}", ExclusionReason::InvoiceEmailOff),
            format!("-{:?}", ExclusionReason::EmailUnconfirmed),
        ]
    );

    let notice = resolve(&server, "K-1003", Purpose::SecurityNotice, 0)
        .await
        .unwrap();
    assert_eq!(
        written(&notice),
        [format!(
            "kontakt@verein.example {:?}",
            RecipientReason::ContactDataSetting
        )]
    );
}

#[rstest]
#[tokio::test]
async fn what_cannot_be_asked_is_refused(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let unknown = resolve(&server, "K-9", Purpose::General, 0).await;
    assert_eq!(
        refusal(unknown),
        (Code::NotFound, "CUSTOMER_NOT_FOUND".into())
    );
    let all_wrong = resolve(&server, "K 9", Purpose::Unspecified, 7).await;
    assert_eq!(
        refused_fields(all_wrong),
        ["customer_number", "purpose", "attention_line_chars"]
    );
}
