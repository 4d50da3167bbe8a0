//! Built-in and custom templates.

use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::brand::{BrandName, Color};

/// A name that would break HTML.
const NAME: &str = "Wolke & \"Söhne\" <Hosting> 🌩";

fn brand() -> Brand {
    Brand {
        contact: Some(BrandContact::parse("0211 1234-0").unwrap()),
        color: Color::parse("#ffdd00").unwrap(),
        ..Brand::new(BrandName::parse(NAME).unwrap())
    }
}

fn logo() -> Logo {
    Logo::parse(include_bytes!("../../../tests/support/logo.png").to_vec()).unwrap()
}

fn load(folder: Option<&Path>) -> std::result::Result<Templates, String> {
    Templates::load(folder, &brand())
}

/// All built-in e-mails of a brand.
fn mails(brand: &Brand) -> Vec<(MailKind, Locale, Rendered)> {
    let templates = Templates::load(None, brand).unwrap();
    let all = LOCALES.into_iter().flat_map(|locale| {
        let mails = MailKind::ALL.map(|kind| (kind, locale));
        mails.map(|(kind, locale)| {
            let mail = templates.render(kind, locale, &values()).unwrap();
            (kind, locale, mail)
        })
    });
    all.collect()
}

fn values() -> Values {
    Values {
        name: "Anna & Söhne <Büro>".into(),
        customer_number: "K-1001".into(),
        link: "https://contact.example/confirm#K-1001.0f".into(),
        code: "123456".into(),
        expire_time: Some("2026-03-08T09:05:00Z".parse().unwrap()),
        event_time: "2026-07-01T22:30:00Z".parse().unwrap(),
        changes: vec![NoticedChange {
            kind: NoticeKind::ContactAdded,
            contact_id: None,
            name: "Anna & Söhne <Büro>".into(),
            time: "2026-07-01T22:30:00Z".parse().unwrap(),
        }],
    }
}

/// A directory of custom templates with one file.
fn folder_with(name: &str, content: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, content).unwrap();
    let path = folder.path().to_owned();
    (folder, path)
}

#[test]
fn every_mail_names_the_contact_and_the_customer() {
    let templates = load(None).unwrap();
    for locale in LOCALES {
        for kind in MailKind::ALL {
            let mail = templates.render(kind, locale, &values()).unwrap();
            assert!(mail.text.contains("Anna & Söhne <Büro>"), "{kind:?}");
            assert!(mail.html.contains("Anna &amp; Söhne &lt;Büro&gt;"));
            assert!(mail.text.contains("K-1001") && mail.html.contains("K-1001"));
            assert!(mail.html.contains(&format!("lang=\"{}\"", locale.as_str())));
            let holds_link = |body: &str| body.contains(&values().link);
            assert_eq!(holds_link(&mail.text), kind.has_link(), "{kind:?}");
            assert_eq!(holds_link(&mail.html), kind.has_link(), "{kind:?}");
            // Rule 10: no link if there is nothing to confirm.
            assert_eq!(mail.html.contains("href"), kind.has_link(), "{kind:?}");
            assert!(!mail.subject.contains("Anna"));
        }
    }
}

#[test]
fn link_is_on_a_line_of_its_own() {
    let templates = load(None).unwrap();
    for locale in LOCALES {
        let kind = MailKind::EmailConfirmation;
        let mail = templates.render(kind, locale, &values()).unwrap();
        assert!(mail.text.lines().any(|line| line == values().link));
    }
}

#[test]
fn every_mail_names_the_brand_and_says_that_it_can_be_ignored() {
    for (kind, locale, mail) in mails(&brand()) {
        assert!(mail.subject.starts_with(&format!("{NAME}: ")), "{kind:?}");
        let escaped = "Wolke &amp; &quot;Söhne&quot; &lt;Hosting&gt; 🌩";
        // In the sentence that says who writes, and in the closing.
        assert!(mail.text.matches(NAME).count() >= 2, "{}", mail.text);
        assert!(mail.html.matches(escaped).count() >= 4, "{}", mail.html);
        assert!(!mail.html.contains("<Hosting>"));
        let ignore = match locale {
            Locale::German => "ignorieren",
            Locale::English => "ignore",
        };
        for body in [&mail.text, &mail.html] {
            assert!(body.contains(ignore), "{body}");
            assert!(body.contains("0211 1234-0"), "{body}");
            for placeholder in ["{{", "}}", "{%", "%}", "{brand}", "none"] {
                // The button has no underline.
                let body = body.replace("text-decoration:none", "");
                assert!(!body.contains(placeholder), "{body}");
            }
        }
        assert!(mail.html.contains("4px solid #ffdd00"));
        if kind.has_link() {
            assert!(mail.html.contains("background:#ffdd00;color:#000000"));
        }
        assert!(mail.logo.is_none() && !mail.html.contains("<img"));
    }
}

#[test]
fn mails_without_a_contact_line_have_no_empty_one() {
    let brand = Brand::new(BrandName::parse("Example").unwrap());
    for (kind, _, mail) in mails(&brand) {
        assert!(mail.text.ends_with("\nExample\n"), "{kind:?}");
        assert!(!mail.html.contains("border-top"), "{kind:?}");
    }
}

#[test]
fn times_are_in_the_zone_of_the_brand_and_name_it() {
    let cases = [
        (
            chrono_tz::Tz::Europe__Berlin,
            "10:05 Uhr (MEZ)",
            "10:05 (CET)",
            "00:30 Uhr (MESZ)",
            "00:30 (CEST)",
        ),
        (
            chrono_tz::Tz::Europe__London,
            "09:05 Uhr (GMT)",
            "09:05 (GMT)",
            "23:30 Uhr (BST)",
            "23:30 (BST)",
        ),
    ];
    for (time_zone, german_winter, english_winter, german_summer, english_summer) in cases {
        for (kind, locale, mail) in mails(&Brand {
            time_zone,
            ..brand()
        }) {
            let expires = kind.has_link() || kind == MailKind::OneTimeCode;
            let expected = match (expires, locale) {
                (true, Locale::German) => german_winter,
                (true, Locale::English) => english_winter,
                (false, Locale::German) => german_summer,
                (false, Locale::English) => english_summer,
            };
            for body in [&mail.text, &mail.html] {
                let has_time = kind != MailKind::ContactsReview;
                assert_eq!(
                    body.contains(expected),
                    has_time,
                    "{kind:?} {locale:?}: {body}"
                );
                assert!(!body.contains("UTC") && !body.contains("2026-"), "{body}");
            }
        }
    }
}

#[test]
fn logo_is_part_of_mails_that_show_it() {
    let brand = Brand {
        logo: Some(logo()),
        ..brand()
    };
    for (_, _, mail) in mails(&brand) {
        assert_eq!(mail.logo, Some(logo()));
        assert!(
            mail.html
                .contains("src=\"cid:logo@contact-service\" width=\"240\" height=\"60\"")
        );
        // Shown where images are not.
        assert!(mail.html.contains("alt=\"Wolke &amp; &quot;"));
    }
    let (_folder, path) = folder_with("layout.html", "{% block body %}{% endblock %}");
    let templates = Templates::load(Some(&path), &brand).unwrap();
    let mail = templates.render(MailKind::EmailReplaced, Locale::German, &values());
    assert_eq!(mail.unwrap().logo, None);
}

#[test]
fn name_that_looks_like_a_link_is_omitted() {
    let templates = load(None).unwrap();
    for name in [
        "Gewinn http://evil.example",
        "evil.example/login",
        "a@evil.example",
        "Konto gesperrt: evil.example",
    ] {
        let values = Values {
            name: name.into(),
            ..values()
        };
        for kind in MailKind::ALL {
            let mail = templates.render(kind, Locale::German, &values).unwrap();
            assert!(mail.text.starts_with("Guten Tag,\n"), "{}", mail.text);
            assert!(!format!("{mail:?}").contains("evil"), "{name}");
        }
    }
    for name in [
        "Dr. Anna Schmidt",
        "Vertrieb/Technik",
        "Meier & Co. KG",
        "A.",
    ] {
        assert_eq!(greeted_name(name), name);
    }
}

#[test]
fn custom_template_replaces_the_built_in_one() {
    let (_folder, path) = folder_with("en/email_replaced.subject", "Gone, {{ name }}\n");
    let templates = load(Some(&path)).unwrap();
    let render = |locale| {
        let kind = MailKind::EmailReplaced;
        templates.render(kind, locale, &values()).unwrap().subject
    };
    assert_eq!(render(Locale::English), "Gone, Anna & Söhne <Büro>");
    let built_in = format!("{NAME}: Ihre E-Mail-Adresse wurde ersetzt");
    assert_eq!(render(Locale::German), built_in);
}

#[test]
fn template_errors_are_reported_at_the_start() {
    for (name, content, complaint) in [
        (
            "de/email_replaced.txt",
            "\n{{ nme }}",
            "de/email_replaced.txt, line 2: undefined value",
        ),
        (
            "de/email_replaced.txt",
            "{% if %}",
            "de/email_replaced.txt, line 1: syntax error",
        ),
        (
            "en/email_replaced.subject",
            "one\ntwo",
            "en/email_replaced.subject: must give one line",
        ),
        (
            "en/email_replaced.subject",
            " \n",
            "en/email_replaced.subject: must give one line",
        ),
        (
            "de/email_replaced.html",
            " ",
            "de/email_replaced.html: must not be empty",
        ),
        (
            "de/email_confirmation.txt",
            "Bitte bestätigen.",
            "de/email_confirmation.txt: must hold {{ link }}",
        ),
        (
            "layout.html",
            "{{ nme }}",
            "layout.html, line 1: undefined value",
        ),
    ] {
        let (_folder, path) = folder_with(name, content);
        assert_eq!(load(Some(&path)).unwrap_err(), complaint);
    }
    let (_folder, path) = folder_with("de/email_confirmed.txt", "x");
    let complaint = load(Some(&path)).unwrap_err();
    assert!(complaint.contains("de/email_confirmed.txt replaces no template"));
    let (_folder, path) = folder_with(".git/config", "x");
    assert!(load(Some(&path)).is_ok());
}
