//! The texts of errors for people, in the language of the request's metadata `accept-language`.

use contact_service::api::proto::{self, Contact, recipients_result::Outcome};
use prost::Message;
use rstest::rstest;
use tonic::{Code, Request, Status};
use tonic_types::{FieldViolation, LocalizedMessage, StatusExt};

use crate::{
    harness::{Backend, TestServer, new_contact},
    raw::call_with_headers,
    requests::only_id,
};

/// As a German browser sends it.
const GERMAN: &str = "de-DE,de;q=0.9,en;q=0.8";

fn in_language<T>(message: T, accepted: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(accepted) = accepted {
        let metadata = request.metadata_mut();
        metadata.insert("accept-language", accepted.parse().unwrap());
    }
    request
}

fn localized(locale: &str, message: &str) -> LocalizedMessage {
    LocalizedMessage {
        locale: locale.to_owned(),
        message: message.to_owned(),
    }
}

/// Asserts the locale and text of an error.
fn assert_text(status: &Status, reason: &str, locale: &str, message: &str) {
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, reason);
    let text = details.localized_message().unwrap();
    let text = (text.locale.as_str(), text.message.as_str());
    assert_eq!(text, (locale, message), "{reason}");
}

/// The violations of [`invalid_contact`]: field, reason, description, German and English text.
const VIOLATIONS: [[&str; 5]; 7] = [
    [
        "contact.types",
        "REQUIRED",
        "must hold at least one type",
        "Bitte wählen Sie mindestens einen Typ aus.",
        "Please select at least one type.",
    ],
    [
        "contact.display_name",
        "TOO_LONG",
        "must have at most 200 characters",
        "Bitte geben Sie höchstens 200 Zeichen ein.",
        "Please enter at most 200 characters.",
    ],
    [
        "contact.locale",
        "UNKNOWN_LOCALE",
        "must be \"de\" or \"en\"",
        "Bitte wählen Sie Deutsch oder Englisch aus.",
        "Please select German or English.",
    ],
    [
        "contact.phone_numbers[1]",
        "NOT_A_PHONE_NUMBER",
        "must be a phone number that can be dialled from abroad, such as +49 721 1234567 or 0721 1234567",
        "Bitte geben Sie eine gültige Telefonnummer ein, zum Beispiel +49 721 1234567 oder 0721 1234567.",
        "Please enter a valid phone number, for example +49 721 1234567 or 0721 1234567.",
    ],
    [
        "contact.restrictions.note",
        "TOO_LONG",
        "must have at most 1000 characters",
        "Bitte geben Sie höchstens 1.000 Zeichen ein.",
        "Please enter at most 1,000 characters.",
    ],
    [
        "email",
        "NOT_AN_EMAIL_ADDRESS",
        "must be an e-mail address, such as anna@example.com",
        "Bitte geben Sie eine gültige E-Mail-Adresse ein, zum Beispiel name@firma.de.",
        "Please enter a valid e-mail address, for example name@company.com.",
    ],
    [
        "phone_password",
        "TOO_SHORT",
        "must have 6 to 64 characters, blanks and hyphens not counted",
        "Das Telefonpasswort muss mindestens 6 Zeichen haben. Leerzeichen und Bindestriche zählen nicht mit.",
        "The phone password must have at least 6 characters. Spaces and hyphens do not count.",
    ],
];

fn invalid_contact() -> proto::CreateContactRequest {
    let contact = Contact {
        locale: "fr".to_owned(),
        phone_numbers: vec!["0721 1234567".to_owned(), "unknown".to_owned()],
        restrictions: Some(proto::Restrictions {
            note: "n".repeat(1_001),
            ..proto::Restrictions::default()
        }),
        ..new_contact(&"n".repeat(201), &[])
    };
    proto::CreateContactRequest {
        customer_number: "K-1".to_owned(),
        contact: Some(contact),
        email: "anna".to_owned(),
        phone_password: "dachs".to_owned(),
        ..proto::CreateContactRequest::default()
    }
}

#[rstest]
#[tokio::test]
async fn violations_have_texts_in_the_language_of_the_request(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    server.create_customer("K-1").await;
    for (accepted, locale) in [
        (Some(GERMAN), "de"),
        (Some("en-GB,en;q=0.9,de;q=0.8"), "en"),
        (Some("fr"), "en"),
        (None, "en"),
    ] {
        let request = in_language(invalid_contact(), accepted);
        let status = server.client().create_contact(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let text = match locale {
            "de" => "Bitte prüfen Sie Ihre Angaben.",
            _ => "Please check your entries.",
        };
        assert_text(&status, "INVALID_FIELD", locale, text);
        let details = status.get_details_bad_request().unwrap();
        let expected = VIOLATIONS.map(|[field, reason, description, german, english]| {
            let text = if locale == "de" { german } else { english };
            FieldViolation {
                field: field.to_owned(),
                description: description.to_owned(),
                reason: reason.to_owned(),
                localized_message: Some(localized(locale, text)),
            }
        });
        let found = format!("{:#?}", details.field_violations);
        assert_eq!(found, format!("{expected:#?}"), "{accepted:?}");
    }
}

#[rstest]
#[tokio::test]
async fn errors_have_texts_in_the_language_of_the_request(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = server.create_customer_with_contact("K-1").await;
    let mut client = server.client();
    let deletion = proto::DeleteContactRequest {
        customer_number: "K-1".to_owned(),
        contact_id: anna.contact_id.clone(),
        ..proto::DeleteContactRequest::default()
    };
    let request = in_language(deletion, Some(GERMAN));
    let last = client.delete_contact(request).await.unwrap_err();
    let text = "Mindestens ein Ansprechpartner muss vom Typ „Standard“ sein. Bitte weisen Sie diesen Typ zuerst einem anderen Ansprechpartner zu.";
    assert_text(&last, "LAST_STANDARD_CONTACT", "de", text);

    let update = proto::UpdateContactRequest {
        contact: Some(Contact {
            etag: "stale".to_owned(),
            ..only_id(&anna)
        }),
        ..proto::UpdateContactRequest::default()
    };
    let request = in_language(update, Some(GERMAN));
    let stale = client.update_contact(request).await.unwrap_err();
    let text = "Diese Daten wurden inzwischen geändert. Bitte laden Sie die Seite neu und nehmen Sie Ihre Änderung noch einmal vor.";
    assert_text(&stale, "ETAG_MISMATCH", "de", text);

    server
        .change_email(&anna, "a@muster.example")
        .await
        .unwrap();
    for _ in 0..3 {
        server.resend(&anna).await.unwrap();
    }
    let resend = proto::ResendEmailConfirmationRequest {
        customer_number: "K-1".to_owned(),
        contact_id: anna.contact_id.clone(),
        ..proto::ResendEmailConfirmationRequest::default()
    };
    let request = in_language(resend, Some(GERMAN));
    let limit = client.resend_email_confirmation(request).await.unwrap_err();
    let delay = limit.get_details_retry_info().unwrap().retry_delay.unwrap();
    let minutes = delay.as_secs().div_ceil(60);
    let text = format!(
        "Der Bestätigungslink wurde schon mehrmals verschickt. Bitte versuchen Sie es in {minutes} Minuten erneut."
    );
    assert_text(&limit, "RESEND_LIMIT", "de", &text);
}

/// These have their errors before the RPC is called.
#[tokio::test]
async fn rejected_requests_have_texts_in_their_language_and_their_trace_id() {
    let server = TestServer::start(Backend::Sqlite).await;
    let trace_id = "0af7651916cd43dd8448eb211c80319c";
    let traceparent = format!("00-{trace_id}-b7ad6b7169203331-01");
    for (rpc, reason, text) in [
        ("GetCustomer", "TOKEN_MISSING", "Bitte melden Sie sich an."),
        (
            "Guess",
            "UNIMPLEMENTED",
            "Diese Funktion steht nicht zur Verfügung.",
        ),
    ] {
        let headers = [
            ("accept-language", GERMAN.to_owned()),
            ("traceparent", traceparent.clone()),
        ];
        let called = call_with_headers(&server, &headers, rpc, vec![Vec::new()]).await;
        let status = called.unwrap_err();
        assert_text(&status, reason, "de", text);
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.metadata["trace_id"], trace_id, "{rpc}");
        assert_eq!(status.metadata().get("x-trace-id").unwrap(), trace_id);
    }
}

#[rstest]
#[tokio::test]
async fn results_and_the_end_of_a_stream_have_texts_in_its_language(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let numbers = ["K-9", "K 1"].map(str::to_owned);
    let messages = [numbers.to_vec(), Vec::new()].map(|numbers| proto::StreamRecipientsRequest {
        customer_numbers: numbers,
        purpose: proto::Purpose::General.into(),
        ..proto::StreamRecipientsRequest::default()
    });
    let request = in_language(tokio_stream::iter(messages), Some(GERMAN));
    let responses = server.client().stream_recipients(request).await;
    let mut responses = responses.unwrap().into_inner();
    let results = responses.message().await.unwrap().unwrap().results;
    let statuses: Vec<_> = results.into_iter().map(error_of).collect();
    let text = "Diese Kundennummer ist uns nicht bekannt.";
    assert_text(&statuses[0], "CUSTOMER_NOT_FOUND", "de", text);
    let text = "Bitte prüfen Sie Ihre Angaben.";
    assert_text(&statuses[1], "INVALID_FIELD", "de", text);
    let end = responses.message().await.unwrap_err();
    assert_text(&end, "INVALID_FIELD", "de", text);
    let violations = end.get_details_bad_request().unwrap().field_violations;
    let text = violations[0].localized_message.clone().unwrap();
    assert_eq!(text.message, "Bitte füllen Sie dieses Feld aus.");
}

fn error_of(result: proto::RecipientsResult) -> Status {
    let Some(Outcome::Error(status)) = result.outcome else {
        panic!("no error: {result:?}");
    };
    let details = status.encode_to_vec();
    Status::with_details(status.code.into(), status.message, details.into())
}
