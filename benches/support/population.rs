//! The generated customers in the form that both benchmarks use.
//!
//! Everything is a pure function of the seed and the indexes (from 0) of customer `i`, contact
//! `j` and phone number `k`, so the load knows valid requests without reading the database.

use uuid::{Builder, Uuid};

/// The purpose of a random draw, so that no two draws of one contact are equal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Draw {
    ContactCount,
    ContactId,
    PhoneCount,
    PhoneNumber,
    EventId,
    ConfirmationId,
    FirstName,
    LastName,
    Department,
    Types,
    Locale,
    Addresses,
    Capitals,
    SharedAddress,
    PendingAge,
    InvoiceEmail,
    Restrictions,
    FailedAttempts,
    ContactData,
    ContactDataPhone,
    SecurityNotices,
    PlannedMaintenance,
    Outages,
    AttentionLine,
    EventAge,
}

/// Creation of the first customer: 2025-01-01, in seconds since 1970. The others follow at
/// intervals of a second.
const FIRST_CREATION: u64 = 1_735_689_600;
/// Interval between the contacts of a customer, in seconds.
pub(crate) const CONTACT_INTERVAL: u64 = 60;
/// Of 100 customers, how many have 1, 2, … 10 contacts: 3 on average.
const CONTACT_COUNTS: [u64; 10] = [24, 25, 21, 12, 7, 4, 3, 2, 1, 1];
/// German area codes and mobile prefixes, and the number of digits that follow.
const PREFIXES: [(&str, usize); 12] = [
    ("30", 8),
    ("40", 8),
    ("89", 8),
    ("69", 8),
    ("221", 7),
    ("711", 7),
    ("721", 7),
    ("6131", 6),
    ("8531", 5),
    ("151", 8),
    ("160", 7),
    ("170", 7),
];

/// The finalizer of `SplitMix64`.
const fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// 64 random bits for one purpose of one contact, or of the customer (`j` is 0).
pub(crate) const fn draw(seed: u64, i: u64, j: u64, what: Draw) -> u64 {
    mix(mix(mix(seed).wrapping_add(i)).wrapping_add((j << 8) | what as u64))
}

/// A number from 0 to 99 for one purpose.
pub(crate) const fn percent(seed: u64, i: u64, j: u64, what: Draw) -> u64 {
    draw(seed, i, j, what) % 100
}

/// The entry of a list that random bits select.
pub(crate) fn pick<T>(list: &[T], bits: u64) -> &T {
    let index = bits % u64::try_from(list.len()).unwrap();
    list.get(usize::try_from(index).unwrap()).unwrap()
}

/// The number of customer `i`.
pub(crate) fn customer_number(i: u64) -> String {
    format!("C-{i:08}")
}

/// Number of contacts of customer `i`: 1 to 10.
pub(crate) fn contact_count(seed: u64, i: u64) -> u64 {
    let mut random_customer = percent(seed, i, 0, Draw::ContactCount);
    let mut count = 1;
    for share in CONTACT_COUNTS {
        if random_customer < share {
            break;
        }
        random_customer -= share;
        count += 1;
    }
    count
}

/// Creation time of contact `j` of customer `i`, in seconds since 1970.
pub(crate) const fn creation_time(i: u64, j: u64) -> u64 {
    FIRST_CREATION + i + j * CONTACT_INTERVAL
}

/// The id of contact `j` of customer `i`. Contact 0 always exists, is STANDARD, and has a name.
pub(crate) fn contact_id(seed: u64, i: u64, j: u64) -> Uuid {
    uuid_v7(creation_time(i, j), seed, i, j, Draw::ContactId)
}

/// A `UUIDv7` of that second.
pub(crate) fn uuid_v7(seconds: u64, seed: u64, i: u64, j: u64, what: Draw) -> Uuid {
    let low = draw(seed, i, j, what);
    let bits = u128::from(mix(low)) << 64 | u128::from(low);
    let [_, _, _, _, _, _, random @ ..] = bits.to_be_bytes();
    Builder::from_unix_timestamp_millis(seconds * 1000, &random).into_uuid()
}

/// Number of phone numbers of contact `j` of customer `i`: 0 to 3, contact 0 at least 1.
pub(crate) const fn phone_count(seed: u64, i: u64, j: u64) -> u64 {
    match percent(seed, i, j, Draw::PhoneCount) {
        0..30 if j > 0 => 0,
        0..75 => 1,
        75..92 => 2,
        _ => 3,
    }
}

/// Phone number `k` of contact `j` of customer `i`, in E.164.
pub(crate) fn phone_number(seed: u64, i: u64, j: u64, k: u64) -> String {
    let bits = mix(draw(seed, i, j, Draw::PhoneNumber).wrapping_add(k));
    let &(prefix, digits) = pick(&PREFIXES, bits);
    let mut number = format!("+49{prefix}");
    let mut rest = bits >> 16;
    // A subscriber number does not begin with 0 or 1.
    number.push(char::from(b'2' + u8::try_from(rest % 8).unwrap()));
    for _ in 1..digits {
        rest /= 10;
        number.push(char::from(b'0' + u8::try_from(rest % 10).unwrap()));
    }
    number
}
