//! Hashes: of whom, with which pepper and cost, and how many at once.

use rstest::rstest;

use super::*;
use crate::error::Invalid;

/// Below the bounds of the setting: what a hash costs is not what is tested.
const CHEAP: [u32; 3] = [64, 1, 1];
const KIB: u64 = 1024;
const LARGEST_KIB: u32 = 1024 * 1024;

fn peppers(versions: &[u32]) -> VersionedKeys {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let one = |version: &u32| {
        let byte = u8::try_from(*version).unwrap();
        format!("{version}:{}", STANDARD.encode([byte; 32]))
    };
    let all: Vec<_> = versions.iter().map(one).collect();
    VersionedKeys::parse(&all.join(",")).unwrap()
}

fn cost([memory_kib, passes, lanes]: [u32; 3]) -> HashCost {
    HashCost::unbounded(memory_kib, passes, lanes).unwrap()
}

fn hasher(versions: &[u32], numbers: [u32; 3]) -> PhoneHasher {
    PhoneHasher::new(peppers(versions), cost(numbers)).unwrap()
}

fn anna() -> HashedFor {
    HashedFor {
        customer_number: "K-1".into(),
        contact_id: Uuid::from_u128(1),
    }
}

async fn hash(hasher: &PhoneHasher) -> String {
    let place = hasher.try_place().unwrap();
    hasher
        .hash(place, "dachs7", &anna(), [7; 16])
        .await
        .unwrap()
}

async fn verify(hasher: &PhoneHasher, said: &str, of: &HashedFor, hash: &str, pepper: u32) -> bool {
    let place = hasher.try_place().unwrap();
    let stored = Some((hash.to_owned(), pepper));
    hasher.verify(place, said, of, stored).await.unwrap()
}

#[tokio::test]
async fn a_hash_proves_its_password_for_its_contact_only() {
    let hasher = hasher(&[1], CHEAP);
    let stored = hash(&hasher).await;
    assert!(
        stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$"),
        "{stored}"
    );
    assert!(verify(&hasher, "dachs7", &anna(), &stored, 1).await);
    assert!(!verify(&hasher, "dachs8", &anna(), &stored, 1).await);
    let other_contact = HashedFor {
        contact_id: Uuid::from_u128(2),
        ..anna()
    };
    let other_customer = HashedFor {
        customer_number: "K-2".into(),
        ..anna()
    };
    for other in [other_contact, other_customer] {
        assert!(!verify(&hasher, "dachs7", &other, &stored, 1).await);
    }
    assert!(!verify(&hasher_with_other_pepper(), "dachs7", &anna(), &stored, 2).await);
}

fn hasher_with_other_pepper() -> PhoneHasher {
    hasher(&[2], CHEAP)
}

#[tokio::test]
async fn hashes_of_older_peppers_and_costs_are_accepted_and_called_outdated() {
    let old = hasher(&[1], CHEAP);
    let stored = hash(&old).await;
    assert_eq!(old.is_outdated(&stored, 1), Ok(false));
    for (hasher, outdated) in [
        (hasher(&[2, 1], CHEAP), true),
        (hasher(&[1], [128, 1, 1]), true),
        (hasher(&[1, 2], CHEAP), false),
    ] {
        assert!(verify(&hasher, "dachs7", &anna(), &stored, 1).await);
        assert_eq!(hasher.is_outdated(&stored, 1), Ok(outdated));
    }
    let gone = hasher(&[2], CHEAP);
    let place = gone.try_place().unwrap();
    let refused = gone
        .verify(place, "dachs7", &anna(), Some((stored, 1)))
        .await;
    assert_eq!((refused, gone.computed()), (Err(Error::PepperMissing), 0));
    assert_eq!(gone.require_pepper(1), Err(Error::PepperMissing));
    assert_eq!(gone.require_pepper(2), Ok(()));
}

#[tokio::test]
async fn without_a_hash_the_same_work_is_done_and_the_answer_is_no() {
    let hasher = hasher(&[1], CHEAP);
    let place = hasher.try_place().unwrap();
    assert_eq!(
        hasher.verify(place, "dachs7", &anna(), None).await,
        Ok(false)
    );
    assert_eq!(hasher.computed(), 1);
}

#[tokio::test]
async fn no_more_than_four_are_under_way_at_once() {
    let hasher = hasher(&[1], CHEAP);
    let places: Vec<_> = (0..4).map(|_| hasher.try_place().unwrap()).collect();
    assert!(hasher.try_place().is_none());
    drop(places);
    hash(&hasher).await;
    // Each place is given back at once.
    assert_eq!((0..9).filter_map(|_| hasher.try_place()).count(), 9);
}

#[tokio::test]
async fn those_who_set_passwords_leave_places_to_those_who_check() {
    let hasher = hasher(&[1], CHEAP);
    let first = hasher.place_to_set(Duration::ZERO).await;
    assert!(first.is_some());
    assert!(hasher.place_to_set(Duration::ZERO).await.is_none());
    let checks: Vec<_> = std::iter::from_fn(|| hasher.try_place()).collect();
    assert_eq!(checks.len(), 3);
    drop(first);
    assert!(hasher.place_to_set(Duration::ZERO).await.is_some());
}

#[rstest]
#[case("m=65536,t=3,p=1")]
#[case(" m=19456, t=2, p=1 ")]
#[case("m=8192,t=1,p=1")]
#[case("m=1048576,t=16,p=16")]
fn cost_within_its_bounds_is_read(#[case] text: &str) {
    HashCost::parse(text).unwrap();
}

#[test]
fn default_cost_is_read_as_what_it_is() {
    assert_eq!(HashCost::parse("m=65536,t=3,p=1"), Ok(HashCost::default()));
}

#[rstest]
#[case("m=8191,t=1,p=1", "m must be 8192 to 1048576 KiB")]
#[case("m=1048577,t=1,p=1", "m must be 8192 to 1048576 KiB")]
#[case("m=99999999,t=1,p=1", "m must be 8192 to 1048576 KiB")]
#[case("m=99999999999999999999,t=1,p=1", "m must be 8192 to 1048576 KiB")]
#[case("m=0,t=1,p=1", "m must be 8192 to 1048576 KiB")]
#[case("m=8192,t=0,p=1", "t must be 1 to 16")]
#[case("m=8192,t=17,p=1", "t must be 1 to 16")]
#[case("m=8192,t=4294967296,p=1", "t must be 1 to 16")]
#[case("m=8192,t=1,p=0", "p must be 1 to 16")]
#[case("m=8192,t=1,p=17", "p must be 1 to 16")]
fn cost_out_of_bounds_names_part_and_bound(#[case] text: &str, #[case] why: &str) {
    assert_eq!(HashCost::parse(text), Err(Invalid::new(why)));
}

#[rstest]
#[case("")]
#[case("m=65536")]
#[case("65536,3,1")]
#[case("t=3,m=65536,p=1")]
#[case("m=65536,t=3")]
#[case("m=65536,t=3,p=1,x=1")]
#[case("m=65536,t=3,p=1,")]
#[case("m=64MiB,t=3,p=1")]
#[case("m=-65536,t=3,p=1")]
#[case("m=+65536,t=3,p=1")]
#[case("m=,t=3,p=1")]
fn cost_of_another_form_is_rejected(#[case] text: &str) {
    let Invalid(why) = HashCost::parse(text).unwrap_err();
    assert!(why.starts_with("must be m=KiB"), "{why}");
}

#[test]
fn cost_has_to_fit_into_the_memory_of_the_process() {
    let cost = HashCost::parse("m=65536,t=3,p=1").unwrap();
    let just_enough = 32 * KIB * KIB + Threads::buffers() * 65536 * KIB;
    assert_eq!(cost.check_memory(None), Ok(()));
    assert_eq!(cost.check_memory(Some(just_enough)), Ok(()));
    let Invalid(why) = cost.check_memory(Some(just_enough - 1)).unwrap_err();
    assert!(why.contains("m=65536 is too large"), "{why}");
    assert!(why.contains("set m to at most 65535"), "{why}");
    let Invalid(why) = cost.check_memory(Some(16 * KIB * KIB)).unwrap_err();
    assert!(
        why.ends_with("may use 16 MiB; allow it more memory"),
        "{why}"
    );
}

#[test]
fn memory_that_was_used_before_gives_the_hashes_of_the_library() {
    use argon2::{Algorithm, Argon2, PasswordHasher, Version};
    let mut memory = Memory::new(LARGEST_KIB);
    for numbers in [[64, 1, 1], [256, 2, 2], [64, 3, 1], [32, 1, 4]] {
        let params = cost(numbers).params().unwrap();
        let library = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let expected = library
            .hash_password_with_salt(b"dachs7", &[7; 16])
            .unwrap();
        let hash = memory.hash(&params, b"dachs7", &[7; 16]).unwrap();
        assert_eq!(hash, expected.to_string());
        assert_eq!(memory.verify(&hash, b"dachs7"), Ok(true));
        assert_eq!(memory.verify(&hash, b"dachs8"), Ok(false));
    }
}

/// A stored hash names its own cost.
#[rstest]
#[case::no_hash("")]
#[case::cut_off("$argon2id$v=19$m=64,t=1,p=1")]
#[case::another_algorithm(
    "$argon2i$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)]
#[case::memory_of_the_machine(
    "$argon2id$v=19$m=99999999,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)]
#[case::all_memory(
    "$argon2id$v=19$m=4294967295,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)]
#[case::passes_for_hours(
    "$argon2id$v=19$m=64,t=4294967295,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)]
#[case::lanes(
    "$argon2id$v=19$m=65536,t=1,p=8192$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)]
#[tokio::test]
async fn unusable_stored_hash_matches_nothing(#[case] stored: &str) {
    assert!(Memory::new(LARGEST_KIB).verify(stored, b"dachs7").is_err());
    let hasher = hasher(&[1], CHEAP);
    assert!(!verify(&hasher, "dachs7", &anna(), stored, 1).await);
}

#[test]
fn stored_hash_beyond_the_memory_of_the_process_is_not_computed() {
    let params = cost([128, 1, 1]).params().unwrap();
    let hash = Memory::new(LARGEST_KIB)
        .hash(&params, b"dachs7", &[7; 16])
        .unwrap();
    assert_eq!(Memory::new(128).verify(&hash, b"dachs7"), Ok(true));
    assert!(Memory::new(127).verify(&hash, b"dachs7").is_err());
}

#[tokio::test]
async fn a_hash_that_gets_no_processor_is_done_over_by_other_threads() {
    let hasher = PhoneHasher {
        leisure: Duration::ZERO,
        ..hasher(&[1], CHEAP)
    };
    // As others would keep them from getting on.
    let (release, held) = flume::unbounded::<()>();
    for pace in [Pace::Leisurely; PLACES]
        .into_iter()
        .chain([Pace::Pressing])
    {
        let held = held.clone();
        let job: Job = Arc::new(move |_| {
            let _ = held.recv();
        });
        hasher.threads.begin(pace, job).unwrap();
    }
    let stored = hash(&hasher).await;
    assert!(verify(&hasher, "dachs7", &anna(), &stored, 1).await);
    assert!(!verify(&hasher, "dachs8", &anna(), &stored, 1).await);
    // The first threads find nothing left to do.
    drop(release);
    assert!(verify(&hasher, "dachs7", &anna(), &stored, 1).await);
    assert_eq!(hasher.computed(), 4);
    assert_eq!((0..9).filter_map(|_| hasher.try_place()).count(), 9);
}
