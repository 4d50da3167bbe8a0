//! The vCards of a file as rows, each with the line where it begins: versions 2.1, 3.0 and 4.0, as
//! programs export them.

mod lines;
mod property;
mod values;

pub(super) use self::lines::{REJECTED, begins, with_line_breaks};
use self::{
    lines::{Part, is_filler, parts, properties},
    property::{Head, Property},
    values::{Card, is_read},
};
use super::{
    columns::Column,
    decoding::Source,
    header::Header,
    rows::{Content, Format, Row, Sheet},
};

const NO_CARD: &str = "row: is no part of a vCard";
const NOT_WHOLE: &str = "row: is not a whole vCard, from BEGIN:VCARD to END:VCARD";
const AGENT: &str = "cards of agents within other cards";
const NO_CONTACT: &str = "groups, locations and devices";

/// Returns true if a file holds vCards, whatever its name is.
pub(super) fn are_in(bytes: &[u8]) -> bool {
    let first = lines::lines(bytes).find(|line| !is_filler(line.text));
    first.is_some_and(|line| parts(line.text).iter().any(|part| part.is_card))
}

/// Reads the cards of a file.
///
/// # Errors
/// A line that says that there are none.
pub(super) fn read(source: &Source) -> Result<Sheet, String> {
    let parts = parts(&source.bytes);
    if !parts.iter().any(|part| part.is_card) {
        return Err("holds no vCard: no line is BEGIN:VCARD".to_owned());
    }
    let cards: Vec<_> = parts.iter().map(read_properties).collect();
    let evidence = cards.iter().flatten().filter_map(Property::evidence);
    let decoder = source.decoder(evidence);
    let mut rows = Vec::with_capacity(parts.len());
    for (part, properties) in parts.iter().zip(&cards) {
        let mut row = Row {
            line: part.line,
            raw: part.raw.clone(),
            content: Content::Damaged(NO_CARD.to_owned()),
            notes: Vec::new(),
        };
        if part.is_card && part.is_whole {
            let card = Card::new(properties, |property| {
                property.text(decoder, source.is_converted())
            });
            row.content = if card.is_contact() {
                let cells = Column::ALL.map(|column| card.cell(column, &mut row.notes));
                Content::Fields(cells.to_vec().into())
            } else {
                Content::NoContact(NO_CONTACT)
            };
        } else if part.is_card {
            row.content = Content::Damaged(NOT_WHOLE.to_owned());
        }
        rows.push(row);
        rows.extend(part.agents.iter().map(|line| Row {
            line: line.number,
            raw: line.start..line.start,
            content: Content::NoContact(AGENT),
            notes: Vec::new(),
        }));
    }
    Ok(Sheet {
        header: Header::of_all(),
        format: Format::Cards,
        decoder,
        rows,
    })
}

/// The properties of a card that are read. Those of photos and notes may be large.
fn read_properties(part: &Part<'_>) -> Vec<Property> {
    if !part.is_whole {
        return Vec::new();
    }
    let spelled = properties(&part.lines);
    let heads = spelled.iter().map(|spelled| Head::of(&spelled.pieces));
    let heads: Vec<_> = heads.map(|head| head.map(|(head, _)| head)).collect();
    let is_version_2 = spelled.iter().zip(&heads).any(|(spelled, head)| {
        let is_version = head.as_ref().is_some_and(|head| head.name == "VERSION");
        is_version && spelled.pieces.concat().trim_ascii_end().ends_with(b"2.1")
    });
    let read = spelled.iter().zip(heads).filter(|(_, head)| {
        let name = head.as_ref().map(|head| head.name.as_str());
        // Without a name it may be any.
        name.is_some_and(is_read)
    });
    read.filter_map(|(spelled, _)| Property::read(spelled, is_version_2))
        .collect()
}

#[cfg(test)]
mod tests;
