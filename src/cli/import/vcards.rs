//! The vCards of a file as rows, each with the line where it begins: versions 2.1, 3.0 and 4.0, with
//! the deviations of common programs.

mod head;
mod lines;
mod property;
mod property_names;
mod values;

pub(super) use self::lines::{ANNOTATIONS, begins, with_line_breaks};
use self::{
    head::Head,
    lines::{Part, Spelled, is_filler, parts, properties},
    property::Property,
    property_names::is_read,
    values::Card,
};
use super::{
    columns::Column,
    encoding::{Decoder, SourceFile, UNREADABLE, is_doubtful},
    header::Header,
    long_lines::TOO_LARGE,
    rows::{Content, Format, MAX_ROWS, Row, Table},
};

const NO_CARD: &str = "row: is no part of a vCard";
const NOT_WHOLE: &str = "row: is not a whole vCard, from BEGIN:VCARD to END:VCARD";
const MALFORMED_HEAD: &str = "cannot be read: it has no colon, or a quote is not closed";
const AGENT: &str = "cards of agents within other cards";
const NO_CONTACT: &str = "groups, locations and devices";

/// Returns true if the content of a file is vCards.
pub(super) fn are_in(bytes: &[u8]) -> bool {
    let first = lines::lines(bytes).find(|line| !is_filler(line.text));
    first.is_some_and(|line| parts(line.text).iter().any(|part| part.is_card))
}

/// Parses the cards of a file.
///
/// # Errors
/// The reason why the file cannot be imported: no card, or too many.
pub(super) fn read(source: &SourceFile) -> Result<Table, String> {
    let parts = parts(&source.bytes);
    if !parts.iter().any(|part| part.is_card) {
        return Err("holds no vCard: no line is BEGIN:VCARD".to_owned());
    }
    let rows: usize = parts.iter().map(|part| 1 + part.agents.len()).sum();
    if rows > MAX_ROWS {
        return Err("has more than 1,000,000 cards: split it".to_owned());
    }
    let cards: Vec<_> = parts.iter().map(Properties::read).collect();
    let decoder = source.decoder(cards.iter().flat_map(Properties::evidence));
    // Uncertain text in rejected cards keeps the decoder uncertain.
    let decoder = decoder.proven_unless(|decoder| {
        let mut doubtful = cards.iter().filter(|card| card.evidence().any(is_doubtful));
        doubtful.any(|card| {
            let (content, _) = card.content(source, decoder);
            matches!(content, Content::Fields(cells) if cells.iter().any(|c| c.contains(UNREADABLE)))
        })
    });
    let mut rows = Vec::with_capacity(rows);
    for (part, card) in parts.iter().zip(&cards) {
        let (content, notes) = card.content(source, decoder);
        rows.push(Row {
            line: part.line,
            raw: part.raw.clone(),
            content,
            notes,
        });
        rows.extend(part.agents.iter().map(|line| Row {
            line: line.number,
            raw: line.start..line.start,
            content: Content::NoContact(AGENT),
            notes: Vec::new(),
        }));
    }
    Ok(Table {
        header: Header::with_all_columns(),
        format: Format::Vcards,
        decoder,
        rows,
    })
}

/// The properties of a card that the import reads, or the parse error.
struct Properties(Result<Vec<Property>, String>);

impl Properties {
    /// Parses the properties of a card. Photos and notes are skipped: they may be large.
    fn read(part: &Part<'_>) -> Self {
        if part.has_long_line {
            return Self(Err(TOO_LARGE.to_owned()));
        }
        if !part.is_card {
            return Self(Err(NO_CARD.to_owned()));
        }
        if !part.is_whole {
            return Self(Err(NOT_WHOLE.to_owned()));
        }
        let spelled = properties(&part.lines);
        if let Some(name) = spelled.iter().find_map(Spelled::malformed_name) {
            return Self(Err(format!("row: {name} {MALFORMED_HEAD}")));
        }
        let heads = spelled.iter().map(|spelled| Head::parse(&spelled.pieces));
        let heads: Vec<_> = heads.map(|head| head.map(|(head, _)| head)).collect();
        let is_version_2 = spelled.iter().zip(&heads).any(|(spelled, head)| {
            let is_version = head.as_ref().is_some_and(|head| head.name == "VERSION");
            is_version && spelled.pieces.concat().trim_ascii_end().ends_with(b"2.1")
        });
        let read = spelled.iter().zip(heads).filter(|(_, head)| {
            let name = head.as_ref().map(|head| head.name.as_str());
            name.is_some_and(is_read)
        });
        let read = read.filter_map(|(spelled, _)| Property::read(spelled, is_version_2));
        Self(Ok(read.collect()))
    }

    /// Returns the bytes that are evidence of the encoding of the file.
    fn evidence(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().flatten().filter_map(Property::evidence)
    }

    /// Returns the cells of the card, and messages about values that are not imported.
    fn content(&self, source: &SourceFile, decoder: Decoder) -> (Content, Vec<&'static str>) {
        let mut notes = Vec::new();
        let properties = match &self.0 {
            Ok(properties) => properties,
            Err(reason) => return (Content::Unreadable(reason.clone()), notes),
        };
        let card = Card::new(properties, |property| {
            property.text(decoder, source.is_converted())
        });
        if !card.is_contact() {
            return (Content::NoContact(NO_CONTACT), notes);
        }
        let cells = Column::ALL.map(|column| card.cell(column, &mut notes));
        (Content::Fields(cells.to_vec().into()), notes)
    }
}

#[cfg(test)]
mod tests;
