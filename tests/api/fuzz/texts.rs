//! Texts that a client might send, by mistake or on purpose.

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_oneof},
    sample::select,
    strategy::BoxedStrategy,
};

/// Part of some texts. No error may repeat it.
pub(crate) const MARKER: &str = "zq7marker";

const LONGEST: usize = 5_000;

const CONTROLS: &[char] = &[
    '\0', '\u{1}', '\t', '\n', '\u{b}', '\r', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}',
];
const INVISIBLE: &[char] = &[
    '\u{ad}',
    '\u{200b}',
    '\u{200d}',
    '\u{200e}',
    '\u{2028}',
    '\u{2029}',
    '\u{202a}',
    '\u{202e}',
    '\u{2066}',
    '\u{2069}',
    '\u{feff}',
    '\u{fffd}',
    '\u{ffff}',
    '\u{10ffff}',
];
const WIDE: &[char] = &[
    'a', 'ä', 'ß', 'İ', 'ı', '٣', '１', '漢', '👩', '🏽', '\u{301}',
];

const ATTACKS: &[&str] = &[
    "",
    " ",
    "'",
    "' OR '1'='1",
    "'; DROP TABLE contacts; --",
    "\"; DELETE FROM customers; --",
    "$1",
    "?1",
    "%",
    "_",
    "\\",
    "{\"a\": [1, null]}",
    "[]",
    "null",
    "<script>alert(1)</script>",
    "{{7*7}}",
    "a@example.com\r\nBcc: b@example.com",
    "../../etc/passwd",
    "👩‍👩‍👧‍👦",
    "e\u{301}\u{301}\u{301}",
];

const EMAILS: &[&str] = &[
    "\"a b\"@example.com",
    "a@[127.0.0.1]",
    "a@[IPv6:::1]",
    "a@localhost",
    "a@example.com.",
    "a@-example.com",
    "a@exa_mple.com",
    "a@1.2.3.4",
    "a..b@example.com",
    ".a@example.com",
    "a@b@example.com",
    "a@müller.example",
    "a@xn--mller-kva.example",
    "a@xn--zz.example",
    "ä@example.com",
    "a@example.com(comment)",
    "<a@example.com>",
    "a@faß.example",
    "a@\u{200d}.example",
];

const UUIDS: &[&str] = &[
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "0190D6D2-5A3C-7CC1-8F2E-3D1F0A9B7C55",
    "0190d6d25a3c7cc18f2e3d1f0a9b7c55",
    "{0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55}",
    "urn:uuid:0190d6d2-5a3c-7cc1-8f2e-3d1f0a9b7c55",
];

fn of(chars: &'static [char], longest: usize) -> impl Strategy<Value = String> {
    vec(select(chars), 0..longest).prop_map(String::from_iter)
}

fn fixed(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(texts).prop_map(str::to_owned)
}

/// One repeated character, to exceed length limits.
fn long() -> impl Strategy<Value = String> {
    (select(WIDE), 1..=LONGEST).prop_map(|(c, count)| String::from(c).repeat(count))
}

/// Something valid with one small change.
fn mutated(seeds: Vec<String>) -> impl Strategy<Value = String> {
    let chars = prop_oneof![
        select(CONTROLS),
        select(INVISIBLE),
        select(WIDE),
        any::<char>()
    ];
    (select(seeds), any::<proptest::sample::Index>(), chars, 0..9).prop_map(
        |(seed, at, c, kind)| {
            let mut chars: Vec<char> = seed.chars().collect();
            let at = at.index(chars.len() + 1);
            match kind {
                0 => chars.insert(at, c),
                1 if at < chars.len() => chars[at] = c,
                2 if at < chars.len() => drop(chars.remove(at)),
                3 => chars.truncate(at),
                4 => chars.rotate_left(at),
                5 => return seed.to_uppercase(),
                6 => return seed.to_lowercase(),
                7 => return seed.repeat(at + 1).chars().take(LONGEST).collect(),
                _ => return format!(" {seed}\t"),
            }
            chars.into_iter().collect()
        },
    )
}

/// Texts that every field gets; `valid` is a value that it accepts.
pub(crate) fn bad_texts(valid: &str) -> impl Iterator<Item = String> {
    let hidden = [
        "\0",
        "\r\nBcc: b@example.com",
        "\u{202e}",
        "\u{2028}",
        "\u{10ffff}",
    ];
    let suffixed = hidden.map(|end| format!("{valid}{end}"));
    let long = [valid, "a", "👩"].map(|part| part.chars().cycle().take(LONGEST).collect());
    let rejected = ["", " ", "\0", MARKER].map(str::to_owned);
    suffixed.into_iter().chain(long).chain(rejected)
}

/// Any text; `seeds` are valid values, from which near misses are made.
pub(crate) fn any_text(seeds: Vec<String>) -> BoxedStrategy<String> {
    let text = prop_oneof![
        2 => vec(any::<char>(), 0..40).prop_map(String::from_iter),
        1 => of(CONTROLS, 6),
        1 => of(INVISIBLE, 6),
        1 => of(WIDE, 300),
        1 => long(),
        2 => fixed(ATTACKS),
        1 => fixed(EMAILS),
        1 => "[a-z.+'!-]{1,70}@[a-zü.-]{1,80}",
        1 => "[+0(][0-9 ()./-]{0,45}",
        1 => "[a-zA-Z]{1,20}@[a-z]{1,10}\\.example",
        1 => "(\\+49|0) ?721 [0-9]{4,8}",
        1 => fixed(UUIDS),
        1 => "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        1 => "[A-Za-z0-9-]{1,34}",
        1 => select(seeds.clone()),
        4 => mutated(seeds),
    ];
    let marker_at = prop_oneof![
        2 => Just(None),
        1 => any::<proptest::sample::Index>().prop_map(Some),
    ];
    (text, marker_at)
        .prop_map(|(text, marker_at)| {
            let Some(at) = marker_at else {
                return text;
            };
            let mut chars: Vec<char> = text.chars().collect();
            let at = at.index(chars.len() + 1);
            chars.splice(at..at, MARKER.chars());
            chars.into_iter().collect()
        })
        .boxed()
}
