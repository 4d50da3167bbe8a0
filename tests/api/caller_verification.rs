//! `VerifyContactChannel` (rule 21).

use contact_service::api::proto::{
    self, ChannelMatch, ChannelMatchKind, ChannelOutcome, Contact, ContactType,
    verify_contact_channel_request::Channel,
};
use rstest::rstest;
use tonic::{Code, Status};

use crate::{
    harness::{Backend, Options, TestServer, rejected_fields, rejection},
    requests::only_id,
};

async fn verify(
    server: &TestServer,
    number: &str,
    channel: Option<Channel>,
) -> Result<proto::VerifyContactChannelResponse, Status> {
    let request = proto::VerifyContactChannelRequest {
        customer_number: number.into(),
        channel,
        ..proto::VerifyContactChannelRequest::default()
    };
    let response = server.client().verify_contact_channel(request).await?;
    Ok(response.into_inner())
}

fn phone(text: &str) -> Option<Channel> {
    Some(Channel::PhoneNumber(text.into()))
}

fn email(text: &str) -> Option<Channel> {
    Some(Channel::Email(text.into()))
}

fn matched(contact: &Contact, kind: ChannelMatchKind) -> ChannelMatch {
    ChannelMatch {
        contact_id: contact.contact_id.clone(),
        display_name: contact.display_name.clone(),
        types: contact.types.clone(),
        r#match: kind.into(),
    }
}

fn of(contact: &Contact) -> ChannelMatch {
    matched(contact, ChannelMatchKind::Exact)
}

fn contact_data(kind: ChannelMatchKind) -> ChannelMatch {
    ChannelMatch {
        r#match: kind.into(),
        ..ChannelMatch::default()
    }
}

/// Anna and Berta share a phone number; the contact data has another number and Anna's e-mail
/// address.
async fn two_contacts(server: &TestServer) -> (Contact, Contact) {
    let anna = server.create_customer_with_contact("K-1").await;
    let types = &[ContactType::Technical, ContactType::Owner];
    let berta = server.create_contact("K-1", "Berta", types, "").await;
    for contact in [&anna, &berta] {
        let change = Contact {
            phone_numbers: vec!["+49 171 1234567".into(), "0721 555".into()],
            ..only_id(contact)
        };
        server.update_contact(change, &[]).await.unwrap();
    }
    server.set_confirmed_email(&anna, "info@k-1.example").await;
    (server.contact(&anna).await, server.contact(&berta).await)
}

#[rstest]
#[tokio::test]
async fn rule_21_channel_on_file_is_returned_with_its_contacts(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (anna, berta) = two_contacts(&server).await;
    for number in ["+491711234567", "0171 1234567", "+49 (0)171-1234567"] {
        let found = verify(&server, "K-1", phone(number)).await.unwrap();
        assert_eq!(found.outcome(), ChannelOutcome::OnFile);
        assert_eq!(found.matches, [of(&anna), of(&berta)], "{number}");
    }
    let office = verify(&server, "K-1", phone("0721 913740")).await.unwrap();
    assert_eq!(office.matches, [contact_data(ChannelMatchKind::Exact)]);
    for address in ["info@k-1.example", "INFO@K-1.Example"] {
        let found = verify(&server, "K-1", email(address)).await.unwrap();
        assert_eq!(
            found.matches,
            [contact_data(ChannelMatchKind::Exact), of(&anna)]
        );
    }
}

#[rstest]
#[tokio::test]
async fn rule_21_channel_not_on_file_is_reported(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let (anna, _) = two_contacts(&server).await;
    server.create_customer("K-2").await;
    // A pending address is not on file.
    server
        .change_email(&anna, "neu@muster.example")
        .await
        .unwrap();
    for (number, channel) in [
        ("K-1", phone("0171 1234568")),
        ("K-1", email("neu@muster.example")),
        ("K-1", email("info@k-2.example")),
        ("K-2", phone("0171 1234567")),
        ("K-2", email("info@k-1.example")),
    ] {
        let found = verify(&server, number, channel).await.unwrap();
        assert_eq!(found.outcome(), ChannelOutcome::NotOnFile);
        assert_eq!(found.matches, [], "{number}");
    }
    server
        .delete_contact(&technical(&server).await)
        .await
        .unwrap();
    let found = verify(&server, "K-1", phone("0171 1234567")).await.unwrap();
    assert_eq!(found.matches, [of(&anna)]);
}

async fn technical(server: &TestServer) -> Contact {
    server.contacts("K-1").await.pop().unwrap()
}

#[rstest]
#[tokio::test]
async fn invalid_channel_is_rejected_with_its_field(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    for (channel, field) in [
        (phone("110"), "phone_number"),
        (phone("913740"), "phone_number"),
        (phone("++"), "phone_number"),
        (phone("Anna"), "phone_number"),
        (phone("0211 123456/123457"), "phone_number"),
        (phone("sip:anna@example.com"), "phone_number"),
        (email("no-address"), "email"),
        (None, "channel"),
    ] {
        let rejected = verify(&server, "K 1", channel).await;
        assert_eq!(rejected_fields(rejected), ["customer_number", field]);
    }
    let unknown = rejection(verify(&server, "K-9", phone("0171 1234567")).await);
    assert_eq!(unknown, (Code::NotFound, "CUSTOMER_NOT_FOUND".into()));
}

/// Creates a customer whose only contact has these phone numbers.
async fn create_contact_with_numbers(
    server: &TestServer,
    number: &str,
    phone_numbers: &[&str],
) -> Contact {
    let contact = server.create_customer_with_contact(number).await;
    let change = Contact {
        phone_numbers: phone_numbers.iter().map(|&text| text.into()).collect(),
        ..only_id(&contact)
    };
    server.update_contact(change, &[]).await.unwrap();
    server.contact(&contact).await
}

/// Rule 21 with numbers in the formats that telephone systems send.
#[rstest]
#[tokio::test]
async fn rule_21_accepts_the_formats_of_telephone_systems(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = create_contact_with_numbers(&server, "K-1", &["+49211123456"]).await;
    for number in [
        "+49\u{202F}211\u{202F}123456\n",
        "+49\u{2009}211\u{2007}123\u{2212}456",
        "\u{202A}+49 211 123456\u{202C}",
        "\u{2066}+49 211 123456\u{2069}\u{FEFF}",
        "\u{200E}0211\u{2060}123456",
        "\u{FF0B}\u{FF14}\u{FF19} 211 123456",
        "+49 (0) 211 123456",
        "Tel.: 0211 / 123456",
        "0211123456",
        "0049211123456",
        "49211123456",
        "+490211123456",
        "++49211123456",
        "00211123456",
        "01149211123456",
        "sip:+49211123456@pbx.example;user=phone;transport=udp",
        "sips:0211123456@10.0.0.1:5061",
        "<sip:49211123456@pbx.example>;tag=a1",
        "\"Anna\" <sip:%2B49211123456@pbx.example>",
        "tel:+49-211-123456;phone-context=example.com",
        "tel:0211123456;phone-context=+49",
        "4:+49211123456",
        "PJSIP/0211123456-00000001",
        "#31#0211123456",
        "„0211 123456“,",
    ] {
        let found = verify(&server, "K-1", phone(number)).await.expect(number);
        assert_eq!(found.outcome(), ChannelOutcome::OnFile, "{number:?}");
        assert_eq!(found.matches, [of(&anna)], "{number:?}");
    }
}

/// Digits without "+" that form a French number may also be a German number without its 0.
#[rstest]
#[tokio::test]
async fn rule_21_ambiguous_digits_match_either_number(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let french = create_contact_with_numbers(&server, "K-1", &["+33123456789"]).await;
    let german = create_contact_with_numbers(&server, "K-2", &["+4933123456789"]).await;
    for (number, contact) in [("K-1", &french), ("K-2", &german)] {
        let found = verify(&server, number, phone("33123456789")).await.unwrap();
        assert_eq!(found.matches, [of(contact)]);
        let found = verify(&server, number, phone("33123456788")).await;
        assert!(found.unwrap().matches.is_empty());
    }
}

#[rstest]
#[tokio::test]
async fn rule_21_withheld_number_returns_withheld(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start_with(backend, Options::unlimited_checks()).await;
    let anna = create_contact_with_numbers(&server, "K-1", &["+49211123456"]).await;
    let before = server.events("K-1").await;
    let withheld = [
        "",
        " \u{200E}",
        "anonymous",
        "Anonymous",
        "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1",
        "Anonymous <sip:anonymous@anonymous.invalid>",
        "sip:anonymous@pbx.example",
        "sip:c8oqz84zk7z@anonymous.invalid",
        "sip:unknown@unknown.invalid",
        "sip:@pbx.example",
        "sip:pbx.example",
        "<unknown>",
        "tel:anonymous",
        "restricted",
        "PRIVATE",
        "private number",
        "unknown",
        "unavailable",
        "withheld",
        "Number withheld",
        "(blocked)",
        "Unbekannt",
        "anonym",
        "unterdrückt",
        "unterdru\u{308}ckt",
        "Rufnummer unterdrückt",
        "no number",
        "no-number",
        "Caller ID blocked",
        "Rufnummer nicht übermittelt",
        "asserted-unknown",
        "+266696687",
        "266696687",
        "+266 69 66 87",
        "sip:+266696687@pbx.example",
        "0000000000",
    ];
    for text in withheld {
        let found = verify(&server, "K-1", phone(text)).await.expect(text);
        assert_eq!(found.outcome(), ChannelOutcome::Withheld, "{text:?}");
        assert_eq!(found.matches, [], "{text:?}");
        let missing = verify(&server, "K-9", phone(text)).await;
        assert_eq!(rejection(missing).1, "CUSTOMER_NOT_FOUND", "{text:?}");
        // No number on file can be a withheld one.
        let change = Contact {
            phone_numbers: vec!["+49211123456".into(), text.into()],
            ..only_id(&anna)
        };
        let rejected = server.update_contact(change, &[]).await;
        assert_eq!(rejected_fields(rejected), ["contact.phone_numbers[1]"]);
    }
    let after = server.events("K-1").await;
    assert_eq!(after.len(), before.len() + withheld.len());
    for event in &after[..withheld.len()] {
        assert_eq!(
            event.kind().as_str_name(),
            "EVENT_KIND_CUSTOMER_CHANNEL_NOT_ON_FILE"
        );
        assert_eq!(event.contact_id, "");
        assert_eq!(event.changed_fields, ["phone_number"]);
    }
}

#[rstest]
#[tokio::test]
async fn rule_21_extension_of_a_number_on_file_is_same_line(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    let anna = create_contact_with_numbers(&server, "K-1", &["+49 211 123456"]).await;
    create_contact_with_numbers(&server, "K-2", &["+49 211 123456-0"]).await;
    for (number, caller, kind) in [
        ("K-1", "+49 211 123456", Some(ChannelMatchKind::Exact)),
        ("K-1", "+49 211 123456-1", Some(ChannelMatchKind::SameLine)),
        ("K-1", "+49 211 123456-12", Some(ChannelMatchKind::SameLine)),
        (
            "K-1",
            "sip:+4921112345612@pbx.example",
            Some(ChannelMatchKind::SameLine),
        ),
        (
            "K-1",
            "tel:+49211123456;ext=12",
            Some(ChannelMatchKind::SameLine),
        ),
        (
            "K-1",
            "0211 123456 Durchwahl 123",
            Some(ChannelMatchKind::SameLine),
        ),
        (
            "K-1",
            "+49 211 123456-1234",
            Some(ChannelMatchKind::SameLine),
        ),
        (
            "K-1",
            "+49 211 1234561234",
            Some(ChannelMatchKind::SameLine),
        ),
        // Five digits, fewer digits, another line.
        ("K-1", "+49 211 123456-12345", None),
        ("K-1", "+49 211 123456789012", None),
        ("K-1", "+49 211 12345", None),
        ("K-1", "+49 211 123457-12", None),
        // The number on file ends in -0 and is no prefix of the extension.
        ("K-2", "+49 211 123456-12", None),
        ("K-2", "+49 211 123456", None),
        ("K-2", "+49 211 123456-0", Some(ChannelMatchKind::Exact)),
        ("K-2", "+49 211 123456-01", Some(ChannelMatchKind::SameLine)),
    ] {
        let found = verify(&server, number, phone(caller)).await;
        let found = found.unwrap_or_else(|status| panic!("{caller} {status:?}"));
        let kinds: Vec<_> = found.matches.iter().map(ChannelMatch::r#match).collect();
        assert_eq!(kinds, Vec::from_iter(kind), "{number} {caller}");
    }
    let found = verify(&server, "K-1", phone("0211 123456-12"))
        .await
        .unwrap();
    assert_eq!(found.outcome(), ChannelOutcome::OnFile);
    assert_eq!(found.matches, [matched(&anna, ChannelMatchKind::SameLine)]);
    let event = server.events("K-1").await.remove(0);
    assert_eq!(
        event.kind().as_str_name(),
        "EVENT_KIND_CONTACT_CHANNEL_VERIFIED"
    );
    assert_eq!(event.contact_id, anna.contact_id);
}

#[rstest]
#[tokio::test]
async fn rule_21_exact_matches_precede_same_line_matches(
    #[values(Backend::Sqlite, Backend::Postgres)] backend: Backend,
) {
    let server = TestServer::start(backend).await;
    // In the order of creation: the main line, nothing, both, the extension.
    let anna = create_contact_with_numbers(&server, "K-1", &["0721 913740", "0721 91374"]).await;
    let mut others = Vec::new();
    for numbers in [
        &["0721 5551"][..],
        &["0721 91374", "0721 91374012", "0721 913740"],
        &["0721 91374012"],
    ] {
        let types = &[ContactType::Technical];
        let other = server.create_contact("K-1", "Other", types, "").await;
        let change = Contact {
            phone_numbers: numbers.iter().map(|&text| text.into()).collect(),
            ..only_id(&other)
        };
        server.update_contact(change, &[]).await.unwrap();
        others.push(server.contact(&other).await);
    }
    let found = verify(&server, "K-1", phone("0721 913740-12"))
        .await
        .unwrap();
    // The contact data has 0721 913740.
    assert_eq!(
        found.matches,
        [
            of(&others[1]),
            of(&others[2]),
            contact_data(ChannelMatchKind::SameLine),
            matched(&anna, ChannelMatchKind::SameLine),
        ]
    );
}
