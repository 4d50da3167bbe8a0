//! The vCards of a file as rows, each with the line where it begins.

use std::borrow::Cow;

use calcard::{
    Entry, Parser,
    vcard::{
        VCard, VCardEntry, VCardParameter, VCardParameterName, VCardParameterValue, VCardProperty,
        VCardType, VCardValue,
    },
};

use super::{
    cells::contact_type,
    columns::{Column, Header},
    rows::{Row, Sheet},
};

const BEGIN: &str = "BEGIN:VCARD";
const END: &str = "END:VCARD";

/// Reads the cards of versions 3 and 4.
///
/// # Errors
/// A line that says that there are none.
pub(super) fn read(text: &str) -> Result<Sheet, String> {
    let cards = cards(text);
    if !cards.iter().any(|(_, card)| begins(card)) {
        return Err("holds no vCard: none begins with BEGIN:VCARD".to_owned());
    }
    let rows = cards.into_iter().map(|(line, card)| {
        let entry = Parser::new(&card).strict().entry();
        let (fields, damage) = if let Entry::VCard(card) = entry {
            (Column::OF_CONTACTS.map(|column| cell(&card, column)), None)
        } else {
            let damage = "row: is no whole vCard, from BEGIN:VCARD to END:VCARD";
            (Default::default(), Some(damage.to_owned()))
        };
        Row {
            line,
            fields: fields.to_vec().into(),
            damage,
        }
    });
    Ok(Sheet {
        rows: rows.collect(),
        header: Header::of_contacts(),
        delimiter: b',',
    })
}

fn begins(line: &str) -> bool {
    let first = line.lines().next().unwrap_or_default();
    first.trim().eq_ignore_ascii_case(BEGIN)
}

/// The text of each card, with its line: the library does not say where one begins. A card that
/// does not end takes no other one along.
fn cards(text: &str) -> Vec<(u64, String)> {
    let text = with_line_feeds(text);
    let mut cards: Vec<(u64, String)> = Vec::new();
    let mut is_open = false;
    for (line, number) in text.lines().zip(1..) {
        let bare = line.trim();
        if begins(line) || (!is_open && !bare.is_empty()) {
            cards.push((number, String::new()));
            is_open = true;
        }
        if let Some((_, card)) = cards.last_mut().filter(|_| is_open) {
            card.push_str(line);
            card.push_str("\r\n");
        }
        is_open &= !bare.eq_ignore_ascii_case(END);
    }
    cards
}

/// Programs of old Macs end lines by a carriage return alone.
fn with_line_feeds(text: &str) -> Cow<'_, str> {
    if text.contains('\n') {
        text.into()
    } else {
        text.replace('\r', "\n").into()
    }
}

/// What a card says of a column.
fn cell(card: &VCard, column: Column) -> String {
    match column {
        Column::DisplayName => first(card, &VCardProperty::Fn),
        Column::Locale => first(card, &VCardProperty::Lang),
        Column::Email => preferred(card, &VCardProperty::Email),
        Column::ExternalId => first(card, &VCardProperty::Uid),
        Column::Types => types(card),
        Column::PhoneNumbers => phone_numbers(card),
        Column::CustomerNumber
        | Column::InvoiceEmailEnabled
        | Column::RestrictionsNote
        | Column::AllowedOrderTypes
        | Column::DeniedOrderTypes
        | Column::Line
        | Column::Reason => extension(card, column),
    }
}

/// Properties of our own bear the name of the column: `X-CUSTOMER-NUMBER`.
fn extension(card: &VCard, column: Column) -> String {
    let name = format!("x-{}", column.name().replace('_', "-"));
    let is_it = |entry: &&VCardEntry| matches!(&entry.name, VCardProperty::Other(other) if other.eq_ignore_ascii_case(&name));
    let found = card.entries.iter().filter(is_it);
    let mut values = found.map(|entry| texts(entry).join(","));
    values.find(|value| is_given(value)).unwrap_or_default()
}

fn texts(entry: &VCardEntry) -> Vec<&str> {
    let texts = entry.values.iter().filter_map(VCardValue::as_text);
    texts.collect()
}

/// Some programs write all properties, and leave empty what they do not know.
fn is_given(value: &str) -> bool {
    !value.trim().is_empty()
}

/// The values of a property that has some, with the entry that has them.
fn values<'c>(
    card: &'c VCard,
    property: &'c VCardProperty,
) -> impl Iterator<Item = (&'c VCardEntry, String)> {
    let entries = card.properties(property);
    let values = entries.map(|entry| (entry, texts(entry).concat()));
    values.filter(|(_, value)| is_given(value))
}

fn first(card: &VCard, property: &VCardProperty) -> String {
    let found = values(card, property).next();
    found.map(|(_, value)| value).unwrap_or_default()
}

/// The one that is to be used before the others, else the first one.
fn preferred(card: &VCard, property: &VCardProperty) -> String {
    let found = values(card, property).min_by_key(|(entry, _)| rank(entry));
    found.map(|(_, value)| value).unwrap_or_default()
}

/// From 1 to 100 in version 4; version 3 has a type.
fn rank(entry: &VCardEntry) -> u32 {
    let rank = |param: &VCardParameter| match (&param.name, &param.value) {
        (VCardParameterName::Pref, VCardParameterValue::Integer(rank)) => Some(*rank),
        (_, VCardParameterValue::Text(name)) if name.eq_ignore_ascii_case("pref") => Some(1),
        _ => None,
    };
    let ranks = entry.params.iter().filter_map(rank);
    ranks.min().unwrap_or(u32::MAX)
}

/// Those names of CATEGORIES and ROLE that are types: the others are keywords.
fn types(card: &VCard) -> String {
    let categories = card.properties(&VCardProperty::Categories);
    let named = categories.chain(card.properties(&VCardProperty::Role));
    let named = named
        .flat_map(texts)
        .flat_map(|text| text.split([',', '|']));
    let types: Vec<_> = named.filter(|name| contact_type(name).is_some()).collect();
    types.join(",")
}

/// Nobody calls from a fax or a pager.
fn phone_numbers(card: &VCard) -> String {
    let is_voice = |entry: &&VCardEntry| {
        entry.params.iter().all(|param| {
            !matches!(
                param.value,
                VCardParameterValue::Type(VCardType::Fax | VCardType::Pager)
            )
        })
    };
    let entries = card.properties(&VCardProperty::Tel).filter(is_voice);
    let numbers = entries.flat_map(texts).map(without_scheme);
    let numbers: Vec<_> = numbers.filter(|number| is_given(number)).collect();
    numbers.join(",")
}

/// `tel:+49-721-1234567;ext=3`: an extension is no part of a number that calls.
fn without_scheme(text: &str) -> &str {
    let is_uri = text
        .get(..4)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("tel:"));
    if is_uri {
        let number = text.get(4..).unwrap_or_default();
        number.split(';').next().unwrap_or_default()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARDS: &str = "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:urn:uuid:17\r\nFN:Anna\r\n  Groß\\, Dr.\r\n\
        X-CUSTOMER-NUMBER:K-1\r\nCATEGORIES:Freunde,Standard,Technik\r\nROLE:Inhaber\r\n\
        EMAIL:alt@example.com\r\nEMAIL;PREF=1:anna@example.com\r\nLANG:de\r\n\
        TEL;VALUE=uri;TYPE=\"voice,cell\":tel:+49-151-23456789;ext=3\r\n\
        TEL;TYPE=fax:+49 721 1234560\r\nX-INVOICE-EMAIL-ENABLED:ja\r\nNOTE:nicht für Fremde\r\n\
        END:VCARD\r\n\
        begin:vcard\r\nVERSION:3.0\r\nFN:Bernd\r\nN:Maier;Bernd\r\nx-customer-number:K-2\r\n\
        item1.TEL;TYPE=WORK,VOICE:0721 1234567\r\nTEL;TYPE=HOME:0721 1234568\r\n\
        EMAIL;TYPE=INTERNET:erste@example.com\r\nEMAIL;TYPE=INTERNET,PREF:bernd@example.com\r\n\
        end:vcard\r\n";

    fn cells(row: &Row) -> Vec<(&'static str, &str)> {
        let names = Column::OF_CONTACTS.map(Column::name);
        let cells = names.into_iter().zip(row.fields.iter());
        cells.filter(|(_, cell)| !cell.is_empty()).collect()
    }

    #[test]
    fn versions_3_and_4_are_read_and_a_note_is_no_restriction() {
        let sheet = read(CARDS).unwrap();
        assert_eq!(
            cells(&sheet.rows[0]),
            [
                ("customer_number", "K-1"),
                ("types", "Standard,Technik,Inhaber"),
                ("display_name", "Anna Groß, Dr."),
                ("locale", "de"),
                ("email", "anna@example.com"),
                ("phone_numbers", "+49-151-23456789"),
                ("invoice_email_enabled", "ja"),
                ("external_id", "urn:uuid:17"),
            ]
        );
        assert_eq!(sheet.rows[1].line, 17);
        assert_eq!(
            cells(&sheet.rows[1]),
            [
                ("customer_number", "K-2"),
                ("display_name", "Bernd"),
                ("email", "bernd@example.com"),
                ("phone_numbers", "0721 1234567,0721 1234568"),
            ]
        );
    }

    #[test]
    fn a_card_that_is_not_whole_takes_no_other_one_along() {
        let open = "BEGIN:VCARD\nVERSION:4.0\nFN:Carla\n";
        let sheet = read(&format!("{open}{CARDS}\nwhat is this\n\n{CARDS}{open}")).unwrap();
        let damaged: Vec<_> = sheet.rows.iter().map(|row| row.damage.is_some()).collect();
        assert_eq!(damaged, [true, false, false, true, false, false, true]);
        let lines: Vec<_> = sheet.rows.iter().map(|row| row.line).collect();
        assert_eq!(lines, [1, 4, 20, 31, 33, 49, 59]);
    }
    #[test]
    fn an_empty_property_hides_no_other_one() {
        let card = "BEGIN:VCARD\nVERSION:3.0\nFN:\nFN: \nFN:Anna\nUID:\nUID:17\n\
            EMAIL;TYPE=PREF:\nEMAIL:\nEMAIL:anna@example.com\nTEL:\nTEL:0721 1234567\n\
            X-CUSTOMER-NUMBER:\nX-CUSTOMER-NUMBER:K-1\nEND:VCARD\n";
        let sheet = read(card).unwrap();
        assert_eq!(
            cells(&sheet.rows[0]),
            [
                ("customer_number", "K-1"),
                ("display_name", "Anna"),
                ("email", "anna@example.com"),
                ("phone_numbers", "0721 1234567"),
                ("external_id", "17"),
            ]
        );
    }

    #[test]
    fn lines_may_end_as_those_of_old_macs() {
        let (sheet, expected) = (read(&CARDS.replace("\r\n", "\r")), read(CARDS));
        assert_eq!(sheet.unwrap().rows, expected.unwrap().rows);
    }

    #[test]
    fn a_file_without_any_card_is_refused() {
        for text in [
            "\r\n",
            "customer_number;types;display_name\nK-1;STANDARD;Anna\n",
        ] {
            let refused = read(text).err().unwrap();
            assert_eq!(refused, "holds no vCard: none begins with BEGIN:VCARD");
        }
    }
}
