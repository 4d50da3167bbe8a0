//! Malformed rows, and the reason for rejecting each.

use std::sync::LazyLock;

/// Part of malformed values, which the output must not repeat.
pub(super) const WORD: &str = "zq7k";

pub(super) const HEADER: &str = "Kundennummer;Typ;Name;Sprache;E-Mail;Telefon;Rechnung per \
                                 E-Mail;Einschränkungen;Erlaubte Auftragsarten;Gesperrte \
                                 Auftragsarten;Externe ID";

/// A row of a file, with the fields of [`HEADER`].
#[derive(Clone)]
pub(super) struct Cells([Vec<u8>; 11]);

impl Cells {
    /// Returns a valid STANDARD contact.
    pub(super) fn valid(customer: &str, name: &str) -> Self {
        let email = format!("{}@zq7k.example", name.replace(' ', "."));
        let texts = [
            customer,
            "Standard",
            name,
            "de",
            &email,
            "0721 1234567",
            "ja",
            "\"Nur bis\n500 Euro\"",
            "",
            "",
            "",
        ];
        Self(texts.map(|text| text.as_bytes().to_vec()))
    }

    pub(super) fn with(mut self, index: usize, value: impl AsRef<[u8]>) -> Self {
        self.0[index] = value.as_ref().to_vec();
        self
    }

    pub(super) fn line(&self) -> Vec<u8> {
        let mut line = self.0.join(&b';');
        line.extend(b"\r\n");
        line
    }
}

/// A change of a row: of the value of a field, or of the whole line.
enum Defect {
    Field(usize, Vec<u8>),
    Line(fn(Vec<u8>) -> Vec<u8>),
}

/// A change that makes a row invalid for a customer with a STANDARD contact, and the reason.
pub(super) struct Malformation {
    change: Defect,
    pub(super) reason: &'static str,
}

impl Malformation {
    pub(super) fn apply(&self, row: Cells) -> Vec<u8> {
        match &self.change {
            Defect::Field(index, value) => row.with(*index, value).line(),
            Defect::Line(change) => change(row.line()),
        }
    }
}

fn field(index: usize, value: impl AsRef<[u8]>, reason: &'static str) -> Malformation {
    let change = Defect::Field(index, value.as_ref().to_vec());
    Malformation { change, reason }
}

pub(super) static MALFORMATIONS: LazyLock<Vec<Malformation>> = LazyLock::new(|| {
    let line = |change, reason| Malformation {
        change: Defect::Line(change),
        reason,
    };
    vec![
        field(0, "zq7k", "customer_number: is not on file"),
        field(0, "zq7k 1", "customer_number: must have 1 to 32"),
        field(1, "", "types: must hold at least one type"),
        field(1, "Standard|zq7k", "types[1]: must be a known contact type"),
        field(2, "", "display_name: must not be empty"),
        field(
            2,
            format!("zq7k{}", "x".repeat(200)),
            "display_name: must have at most 200",
        ),
        field(
            2,
            b"zq7k J\xF6rg",
            "display_name: cannot be decoded with certainty",
        ),
        field(3, "zq7k", "locale: must be \"de\" or \"en\""),
        field(4, "zq7k@zq7k", "email: must have a domain name"),
        field(
            4,
            "",
            "invoice_email_enabled: invoice e-mail needs a contact",
        ),
        field(
            1,
            "Technik",
            "invoice_email_enabled: invoice e-mail needs a contact",
        ),
        field(5, "0721 zq7k", "phone_numbers[0]: must be a phone number"),
        field(
            5,
            "0721 1,0721 2,3,4,5,6,7,8,9,10,11",
            "phone_numbers: must hold at most 10",
        ),
        field(6, "zq7k", "invoice_email_enabled: must be yes or no"),
        field(
            7,
            "zq7k".repeat(251),
            "restrictions_note: must have at most 1000",
        ),
        field(
            8,
            "zq7k",
            "allowed_order_types[0]: must be a known order type",
        ),
        field(
            9,
            "cancellation,zq7k!",
            "denied_order_types[1]: must have 1 to 64",
        ),
        field(10, "zq7k".repeat(51), "external_id: must have at most 200"),
        field(10, "zq7k;zq7k", "row: has 12 fields, the header has 11"),
        line(
            |line| {
                let first = line.split(|byte| *byte == b';').next();
                [first.unwrap_or_default(), b"\r\n"].concat()
            },
            "types: must hold at least one type; display_name: must not be empty",
        ),
        field(2, "\"zq7k", "row: a quote is not closed"),
        field(
            2,
            "\"zq7k\" zq7k",
            "row: a quote is not closed, or is within a field",
        ),
    ]
});
