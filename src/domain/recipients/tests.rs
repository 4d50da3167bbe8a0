//! One case for every cell of the table of purposes, in a compact notation of contacts and
//! resolutions.

use chrono::TimeDelta;
use rstest::rstest;
use uuid::Uuid;

use super::*;

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH
}

/// Parses contacts such as `S+A:a@x:inv`: types (S, A, T, O), then the address:
/// `a@x` confirmed, `!a@x` bounced, `?` pending, `-` none; `inv` enables invoice e-mail.
fn contacts(text: &str) -> Vec<Candidate> {
    text.split_whitespace()
        .zip(1u128..)
        .map(|(word, id)| {
            let mut parts = word.split(':');
            let types = parts.next().unwrap().split('+').map(|letter| match letter {
                "S" => ContactType::Standard,
                "A" => ContactType::Accounting,
                "T" => ContactType::Technical,
                "O" => ContactType::Owner,
                other => panic!("no type {other}"),
            });
            let address = parts.next().unwrap();
            let has_bounced = address.starts_with('!');
            let address = address.trim_start_matches('!');
            Candidate {
                id: ContactId(Uuid::from_u128(id)),
                types: types.collect(),
                display_name: format!("Name {id}"),
                locale: Locale::English,
                email: (!matches!(address, "?" | "-")).then(|| email(address)),
                pending_email_expire_time: (address == "?").then(|| now() + TimeDelta::days(1)),
                invoice_email_enabled: parts.next() == Some("inv"),
                email_bounced: has_bounced,
            }
        })
        .collect()
}

fn email(text: &str) -> EmailAddress {
    EmailAddress::parse(&format!("{text}.example")).unwrap()
}

fn addressees(contact_data: &str, settings: bool, text: &str) -> Addressees {
    Addressees {
        contact_data_bounced: false,
        customer_number: CustomerNumber::parse("K-1").unwrap(),
        contact_data_email: (contact_data != "-").then(|| email(contact_data)),
        contact_data_locale: Locale::English,
        notification_settings: NotificationSettings {
            security_notices: settings,
            planned_maintenance: settings,
            outages: settings,
            ..NotificationSettings::default()
        },
        attention_line_suppressed: false,
        contacts: contacts(text),
    }
}

/// Formats a resolution as `1 a@x TypeMatch; -2 NoEmail; -data NotificationsOff`.
fn summary(resolution: &Resolution) -> String {
    let party = |id: Option<ContactId>| {
        id.map_or_else(|| "data".to_owned(), |id| id.0.as_u128().to_string())
    };
    let recipients = resolution.recipients.iter().map(|recipient| {
        let address = recipient.email.as_str().trim_end_matches(".example");
        format!(
            "{} {address} {:?}",
            party(recipient.contact_id),
            recipient.reason
        )
    });
    let exclusions = resolution
        .exclusions
        .iter()
        .map(|exclusion| format!("-{} {:?}", party(exclusion.contact_id), exclusion.reason));
    recipients.chain(exclusions).collect::<Vec<_>>().join("; ")
}

#[rstest]
#[case::standard_and_accounting_serve(
    "S:a@x:inv A:b@x:inv",
    "1 a@x TypeMatch; 2 b@x TypeMatch",
    DeliveryMethod::Email
)]
#[case::other_types_are_ignored("S:a@x:inv T:t@x O:o@x", "1 a@x TypeMatch", DeliveryMethod::Email)]
#[case::disabled(
    "S:a@x A:b@x:inv",
    "2 b@x TypeMatch; -1 InvoiceEmailOff",
    DeliveryMethod::Email
)]
#[case::disabled_takes_precedence_over_no_address(
    "S:-",
    "-1 InvoiceEmailOff",
    DeliveryMethod::Postal
)]
#[case::unconfirmed("S:?:inv", "-1 EmailUnconfirmed", DeliveryMethod::Postal)]
#[case::ended_with_the_last_address("S:-:inv", "-1 InvoiceEmailOff", DeliveryMethod::Postal)]
#[case::duplicate_address(
    "S:a@x:inv A:A@X:inv",
    "1 a@x TypeMatch; -2 DuplicateAddress",
    DeliveryMethod::Email
)]
#[case::both_types("S+A:a@x:inv", "1 a@x TypeMatch", DeliveryMethod::Email)]
#[case::disabled_for_all(
    "S:a@x A:b@x",
    "-1 InvoiceEmailOff; -2 InvoiceEmailOff",
    DeliveryMethod::Postal
)]
#[case::no_contacts("", "", DeliveryMethod::Postal)]
fn invoice(#[case] contacts: &str, #[case] expected: &str, #[case] delivery: DeliveryMethod) {
    for (data, settings) in [("d@x", true), ("d@x", false), ("-", true)] {
        let resolution = resolve(
            &addressees(data, settings, contacts),
            Purpose::Invoice,
            70,
            now(),
        );
        assert_eq!(summary(&resolution), expected);
        assert_eq!(resolution.delivery, delivery);
    }
}

#[rstest]
#[case::accounting_serves("d@x", "S:a@x A:b@x", "2 b@x TypeMatch")]
#[case::accounting_without_address_falls_back(
    "d@x",
    "S:a@x A:?",
    "1 a@x StandardFallback; -2 EmailUnconfirmed"
)]
#[case::one_of_two_accounting("d@x", "S:a@x A:- A:b@x", "3 b@x TypeMatch; -2 NoEmail")]
#[case::no_accounting("d@x", "S:a@x T:t@x", "1 a@x StandardFallback")]
#[case::all_standard_contacts(
    "d@x",
    "S:a@x S:b@x S:-",
    "1 a@x StandardFallback; 2 b@x StandardFallback; -3 NoEmail"
)]
#[case::then_contact_data(
    "d@x",
    "S:? A:-",
    "data d@x ContactDataFallback; -1 EmailUnconfirmed; -2 NoEmail"
)]
#[case::both_types_are_excluded_once("d@x", "S+A:-", "data d@x ContactDataFallback; -1 NoEmail")]
#[case::no_contacts("d@x", "", "data d@x ContactDataFallback")]
#[case::no_recipient("-", "S:-", "-1 NoEmail; -data NoEmail")]
#[case::duplicate_address("d@x", "S:a@x A:b@x A:B@x", "2 b@x TypeMatch; -3 DuplicateAddress")]
#[case::invoice_setting_is_ignored("d@x", "S:a@x:inv A:b@x", "2 b@x TypeMatch")]
fn payment_reminder(#[case] data: &str, #[case] contacts: &str, #[case] expected: &str) {
    for settings in [true, false] {
        let customer = addressees(data, settings, contacts);
        let resolution = resolve(&customer, Purpose::PaymentReminder, 70, now());
        assert_eq!(summary(&resolution), expected);
        check_delivery(&resolution);
    }
}

/// Checks the rules of all purposes except INVOICE.
fn check_delivery(resolution: &Resolution) {
    let expected = if resolution.recipients.is_empty() {
        DeliveryMethod::None
    } else {
        DeliveryMethod::Email
    };
    assert_eq!(resolution.delivery, expected);
    assert_eq!(resolution.attention_line, AttentionLine::default());
}

/// Resolves one of the purposes that have a notification setting. Only the purpose's own setting
/// applies; the other two are set to the opposite.
fn notice(purpose: Purpose, data: &str, setting: bool, contacts: &str) -> String {
    let mut customer = addressees(data, setting, contacts);
    customer.notification_settings = NotificationSettings {
        security_notices: (purpose == Purpose::SecurityNotice) == setting,
        planned_maintenance: (purpose == Purpose::PlannedMaintenance) == setting,
        outages: (purpose == Purpose::Outage) == setting,
        ..NotificationSettings::default()
    };
    let resolution = resolve(&customer, purpose, 70, now());
    check_delivery(&resolution);
    summary(&resolution)
}

#[rstest]
#[case::technical_and_data("d@x", "S:a@x T:t@x", "2 t@x TypeMatch; data d@x ContactDataSetting")]
#[case::technical_alone("-", "S:a@x T:t@x", "2 t@x TypeMatch; -data NoEmail")]
#[case::data_alone("d@x", "S:a@x", "data d@x ContactDataSetting")]
#[case::no_contacts("d@x", "", "data d@x ContactDataSetting")]
#[case::technical_unconfirmed("d@x", "T:?", "data d@x ContactDataSetting; -1 EmailUnconfirmed")]
#[case::technical_without_address("d@x", "T:-", "data d@x ContactDataSetting; -1 NoEmail")]
#[case::technical_bounced("d@x", "T:!t@x", "data d@x ContactDataSetting; -1 EmailBounced")]
#[case::duplicate_address("t@x", "T:t@x", "1 t@x TypeMatch; -data DuplicateAddress")]
#[case::two_technical_same_address(
    "d@x",
    "T:t@x T:T@x",
    "1 t@x TypeMatch; data d@x ContactDataSetting; -2 DuplicateAddress"
)]
#[case::standard_without_data(
    "-",
    "S:a@x S:b@x",
    "1 a@x StandardFallback; 2 b@x StandardFallback; -data NoEmail"
)]
#[case::standard_with_unreachable_technical(
    "-",
    "S:a@x T:? T:- T:!t@x",
    "1 a@x StandardFallback; -2 EmailUnconfirmed; -3 NoEmail; -4 EmailBounced; -data NoEmail"
)]
#[case::standard_where_data_bounces(
    "t@x",
    "S:a@x T:!t@x",
    "1 a@x StandardFallback; -2 EmailBounced; -data EmailBounced"
)]
#[case::one_of_both_types("-", "S+T:a@x", "1 a@x TypeMatch; -data NoEmail")]
#[case::one_of_both_types("-", "S+T:-", "-1 NoEmail; -data NoEmail")]
#[case::standard_unreachable_too(
    "-",
    "S:? S:- S:!a@x A:b@x",
    "-1 EmailUnconfirmed; -2 NoEmail; -3 EmailBounced; -data NoEmail"
)]
#[case::no_contacts_at_all("-", "", "-data NoEmail")]
fn enabled_notices(
    #[values(Purpose::SecurityNotice, Purpose::PlannedMaintenance, Purpose::Outage)]
    purpose: Purpose,
    #[case] data: &str,
    #[case] contacts: &str,
    #[case] expected: &str,
) {
    assert_eq!(notice(purpose, data, true, contacts), expected);
}

#[rstest]
#[case::technical_alone("d@x", "S:a@x T:t@x", "2 t@x TypeMatch; -data NotificationsOff")]
#[case::technical_without_data("-", "T:t@x", "1 t@x TypeMatch; -data NotificationsOff")]
#[case::one_of_three_technical(
    "d@x",
    "T:- T:t@x T:!u@x",
    "2 t@x TypeMatch; -1 NoEmail; -3 EmailBounced; -data NotificationsOff"
)]
#[case::data_serves("d@x", "S:a@x", "data d@x ContactDataFallback")]
#[case::no_contacts("d@x", "", "data d@x ContactDataFallback")]
#[case::data_with_unreachable_technical(
    "d@x",
    "S:a@x T:? T:- T:!t@x",
    "data d@x ContactDataFallback; -2 EmailUnconfirmed; -3 NoEmail; -4 EmailBounced"
)]
#[case::standard_without_data(
    "-",
    "S:a@x T:?",
    "1 a@x StandardFallback; -2 EmailUnconfirmed; -data NoEmail"
)]
#[case::standard_where_data_bounces(
    "t@x",
    "S:a@x T:!t@x",
    "1 a@x StandardFallback; -2 EmailBounced; -data EmailBounced"
)]
#[case::standard_unreachable_too("-", "S:? O:o@x", "-1 EmailUnconfirmed; -data NoEmail")]
#[case::no_contacts_at_all("-", "", "-data NoEmail")]
fn disabled_notices(
    #[values(Purpose::SecurityNotice, Purpose::PlannedMaintenance)] purpose: Purpose,
    #[case] data: &str,
    #[case] contacts: &str,
    #[case] expected: &str,
) {
    assert_eq!(notice(purpose, data, false, contacts), expected);
}

#[rstest]
#[case::technical("d@x", "S:a@x T:t@x", "2 t@x TypeMatch; -data NotificationsOff")]
#[case::no_fallback("d@x", "S:a@x", "-data NotificationsOff")]
#[case::no_fallback_without_data("-", "S:a@x", "-data NotificationsOff")]
#[case::technical_unreachable(
    "d@x",
    "S:a@x T:? T:- T:!t@x",
    "-2 EmailUnconfirmed; -3 NoEmail; -4 EmailBounced; -data NotificationsOff"
)]
#[case::no_contacts("d@x", "", "-data NotificationsOff")]
fn disabled_outages(#[case] data: &str, #[case] contacts: &str, #[case] expected: &str) {
    assert_eq!(notice(Purpose::Outage, data, false, contacts), expected);
}

#[rstest]
#[case::contact_data("d@x", "S:a@x", "data d@x ContactData")]
#[case::standard_serves(
    "-",
    "S:a@x T:t@x S:b@x",
    "1 a@x StandardFallback; 3 b@x StandardFallback; -data NoEmail"
)]
#[case::no_recipient("-", "S:? T:t@x", "-1 EmailUnconfirmed; -data NoEmail")]
#[case::duplicate_address(
    "-",
    "S:a@x S:a@x",
    "1 a@x StandardFallback; -2 DuplicateAddress; -data NoEmail"
)]
#[case::no_contacts("d@x", "", "data d@x ContactData")]
#[case::data_bounces(
    "a@x",
    "S:!a@x S:b@x",
    "2 b@x StandardFallback; -1 EmailBounced; -data EmailBounced"
)]
#[case::all_bounced("a@x", "S:!a@x", "-1 EmailBounced; -data EmailBounced")]
fn general(#[case] data: &str, #[case] contacts: &str, #[case] expected: &str) {
    for settings in [true, false] {
        let customer = addressees(data, settings, contacts);
        let resolution = resolve(&customer, Purpose::General, 70, now());
        assert_eq!(summary(&resolution), expected);
        check_delivery(&resolution);
    }
}

#[rstest]
#[case::another_remains(
    Purpose::Invoice,
    "S:!a@x:inv A:b@x:inv",
    "2 b@x TypeMatch; -1 EmailBounced"
)]
#[case::none_remains(
    Purpose::Invoice,
    "S:!a@x:inv A:!b@x:inv S:c@x",
    "-1 EmailBounced; -2 EmailBounced; -3 InvoiceEmailOff"
)]
#[case::first_fallback_serves(
    Purpose::PaymentReminder,
    "S:a@x A:!b@x",
    "1 a@x StandardFallback; -2 EmailBounced"
)]
#[case::one_of_both_types_is_listed_once(
    Purpose::PaymentReminder,
    "S+A:!a@x S:b@x",
    "2 b@x StandardFallback; -1 EmailBounced"
)]
#[case::last_fallback_serves(
    Purpose::PaymentReminder,
    "S+A:!a@x S:!b@x",
    "data d@x ContactDataFallback; -1 EmailBounced; -2 EmailBounced"
)]
#[case::last_fallback_bounces(
    Purpose::PaymentReminder,
    "S+A:!d@x S:!b@x",
    "-1 EmailBounced; -2 EmailBounced; -data EmailBounced"
)]
#[case::same_address_bounced_for_all(
    Purpose::Invoice,
    "S:!a@x:inv A:!A@x:inv A:b@x:inv",
    "3 b@x TypeMatch; -1 EmailBounced; -2 EmailBounced"
)]
#[case::confirmed_after_the_bounce(
    Purpose::Invoice,
    "S:!a@x:inv A:a@x:inv A:b@x:inv",
    "1 a@x TypeMatch; 3 b@x TypeMatch; -2 DuplicateAddress"
)]
#[case::confirmed_by_an_unrelated_contact(Purpose::Invoice, "S:!a@x:inv O:a@x", "1 a@x TypeMatch")]
#[case::data_is_the_same_address(
    Purpose::Outage,
    "T:!d@x T:t@x",
    "2 t@x TypeMatch; -1 EmailBounced; -data EmailBounced"
)]
#[case::all_addresses_bounced(
    Purpose::SecurityNotice,
    "T:!d@x S:!a@x",
    "-1 EmailBounced; -2 EmailBounced; -data EmailBounced"
)]
fn bounced(#[case] purpose: Purpose, #[case] contacts: &str, #[case] expected: &str) {
    let resolution = resolve(&addressees("d@x", true, contacts), purpose, 70, now());
    assert_eq!(summary(&resolution), expected);
    if purpose != Purpose::Invoice {
        check_delivery(&resolution);
    } else if resolution.recipients.is_empty() {
        assert_eq!(resolution.delivery, DeliveryMethod::Postal);
    }
}

#[test]
fn attention_line_includes_contacts_with_bounced_address() {
    let customer = addressees("d@x", true, "A:!a@x:inv A:b@x:inv");
    let line = resolve(&customer, Purpose::Invoice, 70, now()).attention_line;
    assert_eq!(line.text, "z.Hd. Name 1, Name 2");
}

#[rstest]
#[case::accounting("S:a@x A:- A:b@x", "z.Hd. Name 2, Name 3")]
#[case::standard_when_no_accounting("S:- T:t@x S:a@x", "z.Hd. Name 1, Name 3")]
#[case::no_contacts("", "")]
fn rule_23_attention_line(#[case] contacts: &str, #[case] expected: &str) {
    let mut customer = addressees("d@x", true, contacts);
    let line =
        |customer: &Addressees, purpose| resolve(customer, purpose, 70, now()).attention_line.text;
    assert_eq!(line(&customer, Purpose::Invoice), expected);
    assert_eq!(line(&customer, Purpose::PaymentReminder), "");
    customer.attention_line_suppressed = true;
    assert_eq!(line(&customer, Purpose::Invoice), "");
}

#[test]
fn rule_23_omitted_names_are_listed_unless_suppressed() {
    let mut customer = addressees("d@x", true, "A:- A:- A:-");
    let resolution = resolve(&customer, Purpose::Invoice, 20, now());
    assert_eq!(resolution.attention_line.text, "z.Hd. Name 1, Name 2");
    assert_eq!(resolution.attention_line.omitted_names, ["Name 3"]);
    customer.attention_line_suppressed = true;
    let resolution = resolve(&customer, Purpose::Invoice, 20, now());
    assert!(resolution.attention_line.omitted_names.is_empty());
}

#[test]
fn recipients_have_name_and_locale() {
    let mut customer = addressees("d@x", true, "S:a@x T:t@x");
    customer.contact_data_locale = Locale::German;
    let resolution = resolve(&customer, Purpose::Outage, 70, now());
    let technical = resolution.recipients.first().unwrap();
    assert_eq!(technical.display_name, "Name 2");
    assert_eq!(technical.locale, Locale::English);
    let data = resolution.recipients.last().unwrap();
    assert_eq!(
        (data.display_name.as_str(), data.locale),
        ("", Locale::German)
    );
}

#[rstest]
#[case::general(
    Purpose::General,
    "S:a@x",
    "1 a@x StandardFallback; -data EmailBounced"
)]
#[case::security(
    Purpose::SecurityNotice,
    "S:a@x T:t@x",
    "2 t@x TypeMatch; -data EmailBounced"
)]
#[case::security_falls_back_to_standard(
    Purpose::SecurityNotice,
    "S:a@x",
    "1 a@x StandardFallback; -data EmailBounced"
)]
#[case::last_fallback(Purpose::PaymentReminder, "S:-", "-1 NoEmail; -data EmailBounced")]
#[case::contact_confirmed_the_address(Purpose::General, "S:d@x", "data d@x ContactData")]
#[case::contact_failed_with_it(Purpose::General, "S:!d@x", "-1 EmailBounced; -data EmailBounced")]
fn rule_32_marked_contact_data(
    #[case] purpose: Purpose,
    #[case] contacts: &str,
    #[case] expected: &str,
) {
    let customer = Addressees {
        contact_data_bounced: true,
        ..addressees("d@x", true, contacts)
    };
    assert_eq!(summary(&resolve(&customer, purpose, 70, now())), expected);
}
