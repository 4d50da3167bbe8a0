//! Headers hold no text of users.

use mail_parser::{MessageParser, MimeHeaders};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use uuid::Uuid;

use super::*;
use crate::{
    brand::{Brand, BrandName},
    domain::{
        contact::Locale,
        email_address::EmailAddress,
        ids::{ContactId, CustomerNumber},
        mail::MailKind,
    },
    mail::{
        sender::tests::LEGAL_FORMS,
        templates::{Templates, Values},
    },
};

const QUICK_CASES: u32 = 1_000;
const PROOF_CASES: u32 = 100_000;

/// The headers of every message, and no others.
const HEADERS: [&str; 9] = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "MIME-Version",
    "Content-Type",
];

fn now() -> DateTime<Utc> {
    "2026-03-01T09:00:00Z".parse().unwrap()
}

fn load(brand: &Brand) -> Templates {
    Templates::load(None, brand).unwrap()
}

fn brand(name: &str) -> Brand {
    Brand::new(BrandName::parse(name).unwrap())
}

fn mail_to(address: &str, name: &str, kind: MailKind, locale: Locale) -> QueuedMail {
    QueuedMail {
        customer_number: CustomerNumber::parse("K-1001").unwrap(),
        id: Uuid::from_u128(7),
        kind,
        contact_id: Some(ContactId(Uuid::from_u128(8))),
        confirmation_id: None,
        recipient: EmailAddress::from_stored(address.to_owned()),
        display_name: name.to_owned(),
        locale,
        create_time: now(),
        attempt: 1,
        changes: Vec::new(),
    }
}

fn compose_one(templates: &Templates, mail: &QueuedMail, encoding: Encoding) -> Result<Vec<u8>> {
    let sender = Sender::parse("Kontakt <contact@provider.example>").unwrap();
    Ok(compose_from(&sender, templates, mail, encoding)?.formatted())
}

fn compose_from(
    sender: &Sender,
    templates: &Templates,
    mail: &QueuedMail,
    encoding: Encoding,
) -> Result<Message> {
    let values = Values {
        name: mail.display_name.clone(),
        customer_number: "K-1001".into(),
        link: "https://contact.example/confirm#K-1001.0f".into(),
        code: "123456".into(),
        expire_time: Some(now()),
        event_time: now(),
        changes: Vec::new(),
    };
    let rendered = templates.render(mail.kind, mail.locale, &values)?;
    compose(sender, mail, rendered, encoding, now())
}

/// Texts that can break headers: line ends of every kind, lone dots, encoded words, headers,
/// addresses, and arbitrary characters.
fn hostile_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\u{2028}".to_owned()),
        Just("\u{2029}".to_owned()),
        Just("\u{85}".to_owned()),
        Just("\0".to_owned()),
        Just("\r\n.\r\n".to_owned()),
        Just("\n.\n".to_owned()),
        Just("\r\n\r\n".to_owned()),
        Just("Bcc: evil@evil.example".to_owned()),
        Just("\r\nSubject: evil".to_owned()),
        Just("=?utf-8?q?=0D=0ABcc:_evil@evil.example?=".to_owned()),
        Just("=?utf-8?b?DQpCY2M6IGV2aWxAZXZpbC5leGFtcGxl?=".to_owned()),
        Just("\" <evil@evil.example>, \"".to_owned()),
        Just("{{ link }}{% raw %}".to_owned()),
        Just("<script>alert(1)</script>".to_owned()),
        Just("--boundary--".to_owned()),
        Just("Ä".repeat(300)),
        "[ -~]{0,20}",
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// Addresses that the service accepts, and texts that it must reject.
fn hostile_address() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z!#$%&'*+/=?^_`{|}~-]{1,20}@[a-z]{1,10}\\.example",
        hostile_text(),
        (hostile_text(), hostile_text()).prop_map(|(local, domain)| format!("{local}@{domain}")),
    ]
}

fn kind() -> impl Strategy<Value = MailKind> {
    prop::sample::select(&MailKind::ALL[..])
}

fn check_headers(cases: u32) {
    let templates = load(&brand("Example"));
    let strategy = (hostile_text(), hostile_address(), kind(), any::<bool>());
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&strategy, |(name, address, kind, for_servers)| {
            let mail = mail_to(&address, &name, kind, Locale::German);
            let encoding = if for_servers {
                Encoding::ForServers
            } else {
                Encoding::ForReaders
            };
            match compose_one(&templates, &mail, encoding) {
                Ok(bytes) => check_mail(&bytes, &mail),
                // A message can be composed for every address that the service accepts.
                Err(_) => prop_assert!(EmailAddress::parse(&address).is_err(), "{address:?}"),
            }
            Ok(())
        })
        .unwrap();
}

fn check_mail(bytes: &[u8], mail: &QueuedMail) {
    let head_end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let head = std::str::from_utf8(&bytes[..head_end.unwrap()]).unwrap();
    assert!(head.is_ascii());
    let names: Vec<_> = head
        .split("\r\n")
        .filter(|line| !line.starts_with([' ', '\t']))
        .map(|line| line.split_once(':').unwrap().0)
        .collect();
    assert_eq!(names, HEADERS);
    assert!(!head.replace("\r\n", "").contains(['\r', '\n']));

    let parsed = MessageParser::default().parse(bytes).unwrap();
    let to = parsed.to().unwrap().as_list().unwrap();
    assert_eq!(to.len(), 1);
    let recipient = EmailAddress::parse(mail.recipient.as_str()).unwrap();
    assert_eq!(to[0].address.as_deref(), Some(recipient.as_str()));
    assert_eq!(to[0].name, None);
    assert!(parsed.bcc().is_none() && parsed.cc().is_none());
    let message_id = format!("{}@provider.example", mail.id);
    assert_eq!(parsed.message_id(), Some(message_id.as_str()));
    assert!(!parsed.subject().unwrap().contains("evil"));
    assert_eq!(parsed.text_body.len(), 1);
    assert_eq!(parsed.html_body.len(), 1);
    assert_eq!(parsed.attachments().count(), 0);
    assert!(
        parsed
            .parts
            .iter()
            .all(|part| part.attachment_name().is_none())
    );
}

#[test]
fn names_and_addresses_change_no_header() {
    check_headers(QUICK_CASES);
}

#[test]
#[ignore = "minutes long: scripts/proof runs it"]
fn proof_100000_names_and_addresses_leave_the_headers_as_they_are() {
    check_headers(PROOF_CASES);
}

#[test]
fn files_are_readable_and_servers_get_ascii() {
    let templates = load(&brand("Example"));
    let kind = MailKind::EmailConfirmation;
    let mail = mail_to("anna@example.com", "Jürgen", kind, Locale::German);
    let file = compose_one(&templates, &mail, Encoding::ForReaders).unwrap();
    let file = String::from_utf8(file).unwrap();
    assert!(file.contains("\r\nhttps://contact.example/confirm#K-1001.0f\r\n"));
    assert!(file.contains("Guten Tag Jürgen,\r\n"));
    let wire = compose_one(&templates, &mail, Encoding::ForServers).unwrap();
    assert!(wire.is_ascii());
}

/// Names that break headers which are put together by hand.
const NAMES: &[&str] = &[
    "Example",
    "Müller Hosting GmbH",
    "Hoster, Inc.",
    "\"Quoted\" \\ (comment) <x@evil.example>",
    "a: b; c@d",
    "=?utf-8?q?=0D=0ABcc:_evil@evil.example?=",
    "Wolke 👩‍💻 Cloud",
    "株式会社ホスティング",
    "ÄÖÜ ÄÖÜ ÄÖÜ ÄÖÜ ÄÖÜ ÄÖÜ ÄÖÜ ÄÖÜ ÄÖÜ ÄÖÜ ÄÖÜ ÄÖÜ ÄÖÜ ÄÖÜ ÄÖÜ",
];

#[test]
fn brand_is_the_sender_name_and_in_the_subject() {
    let kind = MailKind::EmailReplaced;
    let mail = mail_to("anna@example.com", "Anna", kind, Locale::English);
    for name in NAMES {
        let brand = brand(name);
        let sender = Sender::parse("contact@provider.example").unwrap();
        let sender = sender.with_default_name(&brand.name);
        let message = compose_from(&sender, &load(&brand), &mail, Encoding::ForServers);
        let bytes = message.unwrap().formatted();
        assert!(bytes.is_ascii(), "{name}");
        let head = std::str::from_utf8(&bytes).unwrap();
        let (head, _) = head.split_once("\r\n\r\n").unwrap();
        let lines: Vec<_> = head.split("\r\n").collect();
        assert!(lines.iter().all(|line| line.len() <= 998), "{name}");
        let starts_header = |line: &&&str| !line.starts_with([' ', '\t']);
        let names: Vec<_> = lines.iter().filter(starts_header).collect();
        assert_eq!(names.len(), HEADERS.len(), "{head}");
        let parsed = MessageParser::default().parse(&bytes).unwrap();
        let from = parsed.from().unwrap().as_list().unwrap();
        assert_eq!(from.len(), 1, "{head}");
        assert_eq!(from[0].address(), Some("contact@provider.example"));
        if !name.starts_with("=?") {
            assert_eq!(from[0].name(), Some(*name), "{head}");
            let subject = format!("{name}: Your e-mail address was replaced");
            assert_eq!(parsed.subject(), Some(subject.as_str()), "{head}");
        }
        assert!(parsed.bcc().is_none());
    }
}

#[test]
fn sender_with_a_name_keeps_it() {
    for (text, name) in [
        ("Kontakt <a@b.example>", "Kontakt"),
        ("a@b.example", "Example"),
    ] {
        let sender = Sender::parse(text).unwrap();
        let sender = sender.with_default_name(&brand("Example").name);
        assert_eq!(sender.0.name.as_deref(), Some(name));
    }
    for (text, name) in [
        ("Kontakt <a@b.example>", "Kontakt"),
        ("a@b.example", "b.example"),
    ] {
        assert_eq!(Sender::parse(text).unwrap().name_or_domain(), name);
    }
}

#[test]
fn logo_is_an_inline_part_next_to_the_html() {
    let bytes = include_bytes!("../../../tests/support/logo.png");
    let logo = Logo::parse(bytes.to_vec()).unwrap();
    let templates = load(&Brand {
        logo: Some(logo),
        ..brand("Example")
    });
    let kind = MailKind::EmailConfirmation;
    let mail = mail_to("anna@example.com", "Anna", kind, Locale::German);
    for encoding in [Encoding::ForServers, Encoding::ForReaders] {
        let message = compose_one(&templates, &mail, encoding).unwrap();
        let parsed = MessageParser::default().parse(&message).unwrap();
        let types = parsed.parts.iter().map(|part| {
            let content_type = part.content_type().unwrap();
            format!(
                "{}/{}",
                content_type.ctype(),
                content_type.subtype().unwrap()
            )
        });
        let types: Vec<_> = types.collect();
        assert_eq!(
            types,
            [
                "multipart/alternative",
                "text/plain",
                "multipart/related",
                "text/html",
                "image/png"
            ]
        );
        let image = &parsed.parts[4];
        assert_eq!(image.content_id(), Some(LOGO_ID));
        assert_eq!(image.contents(), bytes);
        assert!(image.content_disposition().unwrap().is_inline());
        let html = parsed.body_html(0).unwrap();
        assert!(html.contains(&format!("src=\"cid:{LOGO_ID}\"")));
        assert!(!html.contains("src=\"http"));
    }
}

#[test]
fn subject_of_a_custom_template_stays_one_line() {
    for name in ["a\r\nBcc: evil@evil.example", "a\u{2028}b", "a\u{85}b\tc"] {
        assert!(!single_line(name).contains(['\r', '\n', '\t', '\u{2028}', '\u{85}']));
    }
}

#[test]
fn message_accepts_every_legal_form_of_sender() {
    let templates = load(&brand("Example"));
    let kind = MailKind::EmailConfirmation;
    let mail = mail_to("anna@example.com", "Anna", kind, Locale::German);
    for (text, name, address) in LEGAL_FORMS {
        let sender = Sender::parse(text).unwrap();
        let message = compose_from(&sender, &templates, &mail, Encoding::ForServers);
        let message = message.unwrap_or_else(|_| panic!("{text:?}"));
        let envelope = message.envelope();
        assert_eq!(envelope.from().unwrap().as_ref() as &str, *address);
        let to: Vec<&str> = envelope.to().iter().map(AsRef::as_ref).collect();
        assert_eq!(to, ["anna@example.com"]);

        let bytes = message.formatted();
        let header = std::str::from_utf8(&bytes).unwrap().lines().next().unwrap();
        let written = match name {
            None => format!("From: {address}"),
            Some(_) => format!("<{address}>"),
        };
        assert!(header.ends_with(&written), "{header:?}");
        if name.is_some() {
            let parsed = MessageParser::default().parse(&bytes).unwrap();
            let from = parsed.from().unwrap().first().unwrap();
            assert_eq!(from.name(), *name, "{text:?}");
        }
    }
}
