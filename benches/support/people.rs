//! The generated customers: people, names, types and addresses.

use uuid::Uuid;

use super::population::{Draw, contact_id, draw, percent, pick, uuid_v7};

/// All customers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Population {
    pub(crate) seed: u64,
    pub(crate) customers: u64,
    /// The previous midnight: pending addresses were entered within the day before it, so they
    /// stay pending, without a reminder, for days.
    pub(crate) midnight: u64,
}

pub(crate) const STANDARD: u64 = 1;
pub(crate) const ACCOUNTING: u64 = 2;
const TECHNICAL: u64 = 4;
/// Types of all contacts except the first; each entry has a probability of one in 20.
const TYPES: [u64; 20] = [
    STANDARD,
    STANDARD,
    STANDARD,
    ACCOUNTING,
    ACCOUNTING,
    ACCOUNTING,
    ACCOUNTING,
    ACCOUNTING,
    TECHNICAL,
    TECHNICAL,
    TECHNICAL,
    TECHNICAL,
    TECHNICAL,
    ACCOUNTING | TECHNICAL,
    ACCOUNTING | TECHNICAL,
    TECHNICAL | OTHER,
    OWNER,
    OWNER | SIGNATORY,
    SIGNATORY,
    DATA_PROTECTION,
];
const OWNER: u64 = 8;
const SIGNATORY: u64 = 16;
const DATA_PROTECTION: u64 = 32;
const OTHER: u64 = 64;

const DAY: u64 = 24 * 60 * 60;
/// As in the service's rules.
const PENDING_LIFETIME: u64 = 7 * DAY;

const FIRST_NAMES: [(&str, &str); 20] = [
    ("Anna", "anna"),
    ("Jürgen", "juergen"),
    ("Käthe", "kaethe"),
    ("Björn", "bjoern"),
    ("Sabine", "sabine"),
    ("Götz", "goetz"),
    ("Ülkü", "uelkue"),
    ("Thomas", "thomas"),
    ("Jörg", "joerg"),
    ("Marlene", "marlene"),
    ("Günther", "guenther"),
    ("Petra", "petra"),
    ("Mehmet", "mehmet"),
    ("Änne", "aenne"),
    ("Stefan", "stefan"),
    ("Zoë", "zoe"),
    ("Karl-Heinz", "karl-heinz"),
    ("Ines", "ines"),
    ("Sören", "soeren"),
    ("Ute", "ute"),
];
const LAST_NAMES: [(&str, &str); 24] = [
    ("Müller", "mueller"),
    ("Schmidt", "schmidt"),
    ("Schäfer", "schaefer"),
    ("Weiß", "weiss"),
    ("Köhler", "koehler"),
    ("Krüger", "krueger"),
    ("Groß", "gross"),
    ("Maier", "maier"),
    ("Jäger", "jaeger"),
    ("Böhm", "boehm"),
    ("Yıldız", "yildiz"),
    ("Fuchs", "fuchs"),
    ("von der Höhe", "vonderhoehe"),
    ("Günther", "guenther"),
    ("Vogel", "vogel"),
    ("Strauß", "strauss"),
    ("Schröder", "schroeder"),
    ("Lößl", "loessl"),
    ("Kowalski", "kowalski"),
    ("Hübner", "huebner"),
    ("Brandt", "brandt"),
    ("Öztürk", "oeztuerk"),
    ("Meyer-Lüdenscheid", "meyer-luedenscheid"),
    ("Lang", "lang"),
];
/// Names of departments, for contacts that are no person.
const ACCOUNTS: [(&str, &str); 3] = [
    ("Buchhaltung", "buchhaltung"),
    ("Rechnungsprüfung", "rechnungspruefung"),
    ("Kreditoren", "kreditoren"),
];
const ENGINEERS: [(&str, &str); 3] = [
    ("IT-Abteilung", "it"),
    ("Rechenzentrum Süd", "rz-sued"),
    ("Bereitschaft", "bereitschaft"),
];
/// Values of a contact that several tables need.
pub(crate) struct Contact {
    pub(crate) id: Uuid,
    pub(crate) types: u64,
    pub(crate) name: String,
    pub(crate) email: Option<String>,
    pub(crate) pending: Option<Pending>,
}

pub(crate) struct Pending {
    pub(crate) id: Uuid,
    pub(crate) email: String,
    pub(crate) request_time: u64,
}

impl Pending {
    pub(crate) const fn expire_time(&self) -> u64 {
        self.request_time + PENDING_LIFETIME
    }
}

impl Population {
    pub(crate) fn percent(&self, i: u64, j: u64, what: Draw) -> u64 {
        percent(self.seed, i, j, what)
    }

    fn types(&self, i: u64, j: u64) -> u64 {
        if j == 0 {
            STANDARD
        } else {
            *pick(&TYPES, draw(self.seed, i, j, Draw::Types))
        }
    }

    /// The display name, and the local part of the address.
    fn name(&self, i: u64, j: u64) -> (String, String) {
        let bits = draw(self.seed, i, j, Draw::Department);
        let departments = match self.types(i, j) {
            ACCOUNTING => Some(&ACCOUNTS),
            TECHNICAL => Some(&ENGINEERS),
            _ => None,
        };
        if let Some(departments) = departments.filter(|_| bits % 100 < 30) {
            let (name, local) = pick(departments, bits >> 16);
            return ((*name).to_owned(), (*local).to_owned());
        }
        let first = pick(&FIRST_NAMES, draw(self.seed, i, j, Draw::FirstName));
        let last = pick(&LAST_NAMES, draw(self.seed, i, j, Draw::LastName));
        (
            format!("{} {}", first.0, last.0),
            format!("{}.{}", first.1, last.1),
        )
    }

    /// Every twelfth contact except the first has the first one's address.
    fn address(&self, i: u64, j: u64) -> String {
        let owner = if self.percent(i, j, Draw::SharedAddress) < 8 {
            0
        } else {
            j
        };
        let (_, mut local) = self.name(i, owner);
        if self.percent(i, j, Draw::Capitals) < 10 {
            local.make_ascii_uppercase();
        }
        format!("{local}@c{i:08}.example")
    }

    pub(crate) fn contact(&self, i: u64, j: u64) -> Contact {
        let (has_email, has_pending) = match self.percent(i, j, Draw::Addresses) {
            0..78 => (true, false),
            78..82 => (true, true),
            82..88 => (false, true),
            _ => (false, false),
        };
        Contact {
            id: contact_id(self.seed, i, j),
            types: self.types(i, j),
            name: self.name(i, j).0,
            email: has_email.then(|| self.address(i, j)),
            pending: has_pending.then(|| self.pending(i, j)),
        }
    }

    fn pending(&self, i: u64, j: u64) -> Pending {
        let age = draw(self.seed, i, j, Draw::PendingAge) % DAY;
        let request_time = self.midnight - age;
        Pending {
            id: uuid_v7(request_time, self.seed, i, j, Draw::ConfirmationId),
            email: format!("neu.{}@c{i:08}.example", self.name(i, j).1),
            request_time,
        }
    }

    pub(crate) fn contact_data_email(&self, i: u64) -> Option<String> {
        match self.percent(i, 0, Draw::ContactData) {
            0..15 => None,
            15..30 => Some(format!("Info@c{i:08}.example")),
            _ => Some(format!("post@c{i:08}.example")),
        }
    }
}
