//! Built-in and custom templates.

use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

fn values() -> Values {
    Values {
        name: "Anna & Söhne <Büro>".into(),
        customer_number: "K-1001".into(),
        link: "https://contact.example/confirm#K-1001.0f".into(),
        expire_time: Some("2026-03-08T09:05:00Z".parse().unwrap()),
        event_time: "2026-07-01T22:30:00Z".parse().unwrap(),
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
    let templates = Templates::load(None).unwrap();
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
    let templates = Templates::load(None).unwrap();
    for locale in LOCALES {
        let kind = MailKind::EmailConfirmation;
        let mail = templates.render(kind, locale, &values()).unwrap();
        assert!(mail.text.lines().any(|line| line == values().link));
    }
}

#[test]
fn times_are_german_local_time() {
    let winter = "2026-03-08T09:05:00Z".parse().unwrap();
    let summer = "2026-06-30T22:30:00Z".parse().unwrap();
    for (time, locale, spelt) in [
        (winter, Locale::German, "8. März 2026, 10:05 Uhr"),
        (winter, Locale::English, "8 March 2026, 10:05 CET"),
        (summer, Locale::German, "1. Juli 2026, 00:30 Uhr"),
        (summer, Locale::English, "1 July 2026, 00:30 CEST"),
    ] {
        assert_eq!(spell_time(time, locale), spelt);
    }
}

#[test]
fn name_that_looks_like_a_link_is_omitted() {
    let templates = Templates::load(None).unwrap();
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
    let templates = Templates::load(Some(&path)).unwrap();
    let render = |locale| {
        let kind = MailKind::EmailReplaced;
        templates.render(kind, locale, &values()).unwrap().subject
    };
    assert_eq!(render(Locale::English), "Gone, Anna & Söhne <Büro>");
    assert_eq!(render(Locale::German), "Ihre E-Mail-Adresse wurde ersetzt");
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
        assert_eq!(Templates::load(Some(&path)).unwrap_err(), complaint);
    }
    let (_folder, path) = folder_with("de/email_confirmed.txt", "x");
    let complaint = Templates::load(Some(&path)).unwrap_err();
    assert!(complaint.contains("de/email_confirmed.txt replaces no template"));
    let (_folder, path) = folder_with(".git/config", "x");
    assert!(Templates::load(Some(&path)).is_ok());
}
