//! The sender's address (`MAIL_FROM`), in every form of RFC 5322, 3.4: with quoted
//! names, encoded words, comments, quoted local parts, domains in Unicode and address literals.

use base64::{Engine, prelude::BASE64_STANDARD};
use lettre::{Address, message::Mailbox};

use super::domain_name::{is_address_literal, to_ascii_domain};
use crate::{brand::BrandName, error::Invalid};

/// RFC 5321, 4.5.3.1.1.
const MAX_LOCAL_BYTES: usize = 64;

/// The address of the sender.
#[derive(Clone, Debug)]
pub struct Sender(pub(super) Mailbox);

impl Sender {
    /// Parses `contact@example.com` or `Name <contact@example.com>`.
    ///
    /// # Errors
    /// [`Invalid`] for any other text.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let form = "must be an address such as contact@example.com, or Name <contact@example.com>; \
                    enclose a name that contains commas, colons or @ in double quotes";
        parse_mailbox(text.trim())
            .map(Self)
            .ok_or_else(|| Invalid::new(form))
    }

    /// Returns the display name, or the domain of an address without one.
    pub fn name_or_domain(&self) -> &str {
        let Self(mailbox) = self;
        mailbox
            .name
            .as_deref()
            .unwrap_or_else(|| mailbox.email.domain())
    }

    /// Returns the sender with `name` as its display name, unless it has one.
    pub(super) fn with_default_name(self, name: &BrandName) -> Self {
        let Self(Mailbox {
            name: own_name,
            email,
        }) = self;
        let name = own_name.unwrap_or_else(|| name.as_str().to_owned());
        Self(Mailbox::new(Some(name), email))
    }
}

/// A part of a mailbox (RFC 5322, 3.2).
#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// Blanks or a comment.
    Gap,
    Atom(String),
    Quoted(String),
    /// `[192.0.2.1]`
    Literal(String),
    Special(char),
}

fn parse_mailbox(text: &str) -> Option<Mailbox> {
    // A line end could start another header.
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return None;
    }
    let tokens = tokens(text)?;
    let angle = tokens
        .iter()
        .position(|token| *token == Token::Special('<'));
    let Some(angle) = angle else {
        return Some(Mailbox::new(None, address_of(&without_gaps(&tokens))?));
    };
    let (name, rest) = tokens.split_at(angle);
    let rest = without_gaps(rest.get(1..)?);
    let (Token::Special('>'), inner) = rest.split_last()? else {
        return None;
    };
    let email = address_of(inner)?;
    let name = display_name(name)?;
    Some(Mailbox::new((!name.is_empty()).then_some(name), email))
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            ' ' | '\t' => Token::Gap,
            '(' => {
                skip_comment(&mut chars)?;
                Token::Gap
            }
            '"' => Token::Quoted(until(&mut chars, '"')?),
            '[' => Token::Literal(format!("[{}]", until(&mut chars, ']')?)),
            '<' | '>' | '@' | '.' => Token::Special(c),
            c if is_atext(c) => {
                let mut atom = c.to_string();
                while let Some(c) = chars.next_if(|c| is_atext(*c)) {
                    atom.push(c);
                }
                Token::Atom(atom)
            }
            _ => return None,
        });
    }
    Some(tokens)
}

/// `atext` of RFC 5322, and of RFC 6532 for Unicode.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || "!#$%&'*+-/=?^_`{|}~".contains(c)
        || (!c.is_ascii() && !c.is_whitespace())
}

/// Skips a comment; comments nest.
fn skip_comment(chars: &mut impl Iterator<Item = char>) -> Option<()> {
    let mut depth = 1;
    while depth > 0 {
        match chars.next()? {
            '(' => depth += 1,
            ')' => depth -= 1,
            '\\' => drop(chars.next()?),
            _ => {}
        }
    }
    Some(())
}

/// Returns the content up to `end`, with quoted pairs resolved.
fn until(chars: &mut impl Iterator<Item = char>, end: char) -> Option<String> {
    let mut content = String::new();
    loop {
        match chars.next()? {
            c if c == end => return Some(content),
            '\\' => content.push(chars.next()?),
            c => content.push(c),
        }
    }
}

fn without_gaps(tokens: &[Token]) -> Vec<&Token> {
    tokens
        .iter()
        .filter(|token| **token != Token::Gap)
        .collect()
}

fn address_of(tokens: &[&Token]) -> Option<Address> {
    let at = tokens
        .iter()
        .position(|token| **token == Token::Special('@'))?;
    let (local, domain) = tokens.split_at(at);
    let local = local_part(local)?;
    let domain = domain_of(domain.get(1..)?)?;
    // Validated above: the library would reject some of the forms.
    Some(Address::new_dangerous(local, domain))
}

/// Joins words by single dots, and quotes the result if necessary.
fn local_part(tokens: &[&Token]) -> Option<String> {
    let mut content = String::new();
    let mut needs_quotes = false;
    for (index, token) in tokens.iter().enumerate() {
        match (index % 2, token) {
            (0, Token::Atom(atom)) => content.push_str(atom),
            (0, Token::Quoted(text)) => {
                needs_quotes |= text.is_empty() || !text.split('.').all(is_atom);
                content.push_str(text);
            }
            (1, Token::Special('.')) => content.push('.'),
            _ => return None,
        }
    }
    let ends_with_word = tokens.len() % 2 == 1;
    let local = if needs_quotes {
        format!("\"{}\"", content.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        content
    };
    (ends_with_word && local.len() <= MAX_LOCAL_BYTES).then_some(local)
}

fn is_atom(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_atext)
}

/// Returns an address literal, or a domain in ASCII. A single label is allowed, for local servers.
fn domain_of(tokens: &[&Token]) -> Option<String> {
    if let [Token::Literal(literal)] = tokens {
        return is_address_literal(literal).then(|| literal.clone());
    }
    let mut domain = String::new();
    for token in tokens {
        match token {
            Token::Atom(atom) => domain.push_str(atom),
            Token::Special('.') => domain.push('.'),
            Token::Gap | Token::Quoted(_) | Token::Literal(_) | Token::Special(_) => return None,
        }
    }
    to_ascii_domain(&domain)
}

/// Joins words by single spaces. Encoded words are decoded here and encoded when a message is
/// composed; spaces between two of them are ignored (RFC 2047, 6.2).
fn display_name(tokens: &[Token]) -> Option<String> {
    let mut name = String::new();
    let (mut has_gap, mut was_encoded) = (false, false);
    for token in tokens {
        let (text, is_encoded) = match token {
            Token::Gap => {
                has_gap = true;
                continue;
            }
            Token::Atom(atom) if atom.starts_with("=?") => match decoded_word(atom) {
                Some(decoded) => (decoded, true),
                None => (atom.clone(), false),
            },
            Token::Atom(text) | Token::Quoted(text) => (text.clone(), false),
            Token::Special('.') => (".".to_owned(), false),
            Token::Literal(_) | Token::Special(_) => return None,
        };
        if has_gap && !name.is_empty() && !(was_encoded && is_encoded) {
            name.push(' ');
        }
        name.push_str(&text);
        (has_gap, was_encoded) = (false, is_encoded);
    }
    // An encoded word may hold anything.
    (!name.chars().any(char::is_control)).then(|| name.trim().to_owned())
}

/// Decodes a word such as `=?UTF-8?Q?M=C3=BCller?=`, also of Latin-1 (RFC 2047).
fn decoded_word(word: &str) -> Option<String> {
    let inner = word.strip_prefix("=?")?.strip_suffix("?=")?;
    let mut parts = inner.splitn(3, '?');
    let (charset, encoding, text) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = match encoding {
        "B" | "b" => BASE64_STANDARD.decode(text).ok()?,
        "Q" | "q" => percent_encoding::percent_decode_str(
            &text.replace('%', "=25").replace('_', " ").replace('=', "%"),
        )
        .collect(),
        _ => return None,
    };
    // RFC 2231 allows a language.
    let charset = charset.split('*').next()?.to_ascii_lowercase();
    match charset.as_str() {
        "utf-8" | "us-ascii" => String::from_utf8(bytes).ok(),
        "iso-8859-1" => Some(bytes.into_iter().map(char::from).collect()),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Every legal form, with its name and address.
    pub(crate) const LEGAL_FORMS: &[(&str, Option<&str>, &str)] = &[
        ("a@b.example", None, "a@b.example"),
        ("<a@b.example>", None, "a@b.example"),
        (" < a@b.example > ", None, "a@b.example"),
        ("Kontakt <a@b.example>", Some("Kontakt"), "a@b.example"),
        ("Kontakt<a@b.example>", Some("Kontakt"), "a@b.example"),
        (
            "Kunden Kontakt <a@b.example>",
            Some("Kunden Kontakt"),
            "a@b.example",
        ),
        (
            "Dr. A. Müller & Co. <a@b.example>",
            Some("Dr. A. Müller & Co."),
            "a@b.example",
        ),
        (
            "\"Hoster, Inc.\" <a@b.example>",
            Some("Hoster, Inc."),
            "a@b.example",
        ),
        (
            r#""Der \"Hoster\"" <a@b.example>"#,
            Some("Der \"Hoster\""),
            "a@b.example",
        ),
        (
            "\"a@b.example\" <a@b.example>",
            Some("a@b.example"),
            "a@b.example",
        ),
        ("\"\" <a@b.example>", None, "a@b.example"),
        (
            "=?UTF-8?Q?M=C3=BCller_AG?= <a@b.example>",
            Some("Müller AG"),
            "a@b.example",
        ),
        (
            "=?utf-8?b?TcO8?= =?utf-8?B?bGxlcg==?= <a@b.example>",
            Some("Müller"),
            "a@b.example",
        ),
        (
            "=?ISO-8859-1?Q?M=FCller?= <a@b.example>",
            Some("Müller"),
            "a@b.example",
        ),
        (
            "Hoster (support (24h\\)) ) <a@b.example> (us)",
            Some("Hoster"),
            "a@b.example",
        ),
        ("a@b.example (Hoster)", None, "a@b.example"),
        ("お客様 <a@b.example>", Some("お客様"), "a@b.example"),
        ("a@müller.example", None, "a@xn--mller-kva.example"),
        ("a@MÜLLER.Example", None, "a@xn--mller-kva.example"),
        ("a@localhost", None, "a@localhost"),
        ("a@[192.0.2.1]", None, "a@[192.0.2.1]"),
        ("a@[IPv6:2001:db8::1]", None, "a@[IPv6:2001:db8::1]"),
        ("\"a b\"@c.example", None, "\"a b\"@c.example"),
        ("X <\"a@b\"@c.example>", Some("X"), "\"a@b\"@c.example"),
        (r#""a\"b"@c.example"#, None, r#""a\"b"@c.example"#),
        ("\"ab\"@c.example", None, "ab@c.example"),
        ("\"a.b\"@c.example", None, "a.b@c.example"),
        ("\"a..b\"@c.example", None, "\"a..b\"@c.example"),
        ("o'neil+tag@c.example", None, "o'neil+tag@c.example"),
        ("jörg@müller.example", None, "jörg@xn--mller-kva.example"),
        ("a@c.example.", None, "a@c.example"),
        (
            "X <a@müller.example.>",
            Some("X"),
            "a@xn--mller-kva.example",
        ),
    ];

    #[test]
    fn every_legal_form_of_name_and_address_is_accepted() {
        for (text, name, address) in LEGAL_FORMS {
            let Sender(mailbox) = Sender::parse(text).unwrap_or_else(|_| panic!("{text:?}"));
            assert_eq!(mailbox.name.as_deref(), *name, "{text:?}");
            assert_eq!(mailbox.email.to_string(), *address, "{text:?}");
        }
    }

    #[test]
    fn other_texts_are_rejected() {
        let long = format!("{}@c.example", "a".repeat(65));
        for bad in [
            "",
            "<>",
            "b.example",
            "@b.example",
            "a@",
            "a@b.example\nBcc: c@d.example",
            "X\r\nBcc: y <a@b.example>",
            "=?utf-8?q?a=0D=0ABcc:_b?= <a@b.example>",
            "a@b, c@d",
            "X <a@b.example>, Y <c@d.example>",
            "Hoster, Inc. <a@b.example>",
            "team: a@b.example;",
            "a@b@c.example",
            "a b@c.example",
            "a..b@c.example",
            ".a@c.example",
            "a.@c.example",
            "a@c.example..",
            "a@.",
            "a@-c.example",
            "a@[192.0.2]",
            "a@[x]",
            "X <a@b.example",
            "X a@b.example>",
            "X <a@b.example> y",
            "\"X <a@b.example>",
            "(X <a@b.example>",
            long.as_str(),
        ] {
            assert!(Sender::parse(bad).is_err(), "{bad:?}");
        }
    }
}
