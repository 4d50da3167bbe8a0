//! Tests of the hasher: binding to a contact, peppers, costs, and concurrency.

use rstest::rstest;
use uuid::Uuid;

use super::*;
use crate::{
    domain::ids::{ContactId, CustomerNumber},
    error::Invalid,
};

/// Below the bounds of the setting, to keep the tests fast.
const CHEAP: [u32; 3] = [64, 1, 1];
const KIB: u64 = 1024;
const MAX_KIB: u32 = 1024 * 1024;

fn peppers(versions: &[u32]) -> VersionedKeys {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let key = |version: &u32| {
        let byte = u8::try_from(*version).unwrap();
        format!("{version}:{}", STANDARD.encode([byte; 32]))
    };
    let keys: Vec<_> = versions.iter().map(key).collect();
    VersionedKeys::parse(&keys.join(",")).unwrap()
}

fn cost([memory_kib, passes, lanes]: [u32; 3]) -> HashCost {
    HashCost::unbounded(memory_kib, passes, lanes).unwrap()
}

fn hasher(versions: &[u32], numbers: [u32; 3]) -> PhoneHasher {
    PhoneHasher::new(peppers(versions), cost(numbers)).unwrap()
}

fn contact(customer_number: &str, contact_id: u128) -> ContactRef {
    ContactRef {
        customer_number: CustomerNumber::parse(customer_number).unwrap(),
        contact_id: ContactId(Uuid::from_u128(contact_id)),
    }
}

fn anna() -> ContactRef {
    contact("K-1", 1)
}

async fn hash(hasher: &PhoneHasher) -> String {
    let permit = hasher.try_acquire().unwrap();
    hasher
        .hash(permit, "dachs7", &anna(), [7; 16])
        .await
        .unwrap()
}

async fn verify(
    hasher: &PhoneHasher,
    candidate: &str,
    contact: &ContactRef,
    hash: &str,
    pepper: u32,
) -> bool {
    let permit = hasher.try_acquire().unwrap();
    let stored = Some((hash.to_owned(), pepper));
    hasher
        .verify(permit, candidate, contact, stored)
        .await
        .unwrap()
}

#[tokio::test]
async fn hash_matches_its_password_and_contact_only() {
    let hasher = hasher(&[1], CHEAP);
    let stored = hash(&hasher).await;
    assert!(
        stored.starts_with("$argon2id$v=19$m=64,t=1,p=1$"),
        "{stored}"
    );
    assert!(verify(&hasher, "dachs7", &anna(), &stored, 1).await);
    assert!(!verify(&hasher, "dachs8", &anna(), &stored, 1).await);
    for other in [contact("K-1", 2), contact("K-2", 1)] {
        assert!(!verify(&hasher, "dachs7", &other, &stored, 1).await);
    }
    assert!(!verify(&hasher_with_other_pepper(), "dachs7", &anna(), &stored, 2).await);
}

fn hasher_with_other_pepper() -> PhoneHasher {
    hasher(&[2], CHEAP)
}

#[tokio::test]
async fn hash_with_older_pepper_or_cost_matches_and_is_outdated() {
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
    let permit = gone.try_acquire().unwrap();
    let rejected = gone
        .verify(permit, "dachs7", &anna(), Some((stored, 1)))
        .await;
    assert_eq!((rejected, gone.computed()), (Err(Error::PepperMissing), 0));
    assert_eq!(gone.require_pepper(1), Err(Error::PepperMissing));
    assert_eq!(gone.require_pepper(2), Ok(()));
}

#[tokio::test]
async fn missing_hash_costs_the_same_work_and_does_not_match() {
    let hasher = hasher(&[1], CHEAP);
    let permit = hasher.try_acquire().unwrap();
    assert_eq!(
        hasher.verify(permit, "dachs7", &anna(), None).await,
        Ok(false)
    );
    assert_eq!(hasher.computed(), 1);
}

#[tokio::test]
async fn at_most_four_permits_are_available() {
    let hasher = hasher(&[1], CHEAP);
    let permits: Vec<_> = (0..4).map(|_| hasher.try_acquire().unwrap()).collect();
    assert!(hasher.try_acquire().is_none());
    drop(permits);
    hash(&hasher).await;
    // Dropped permits are released.
    assert_eq!((0..9).filter_map(|_| hasher.try_acquire()).count(), 9);
}

#[tokio::test]
async fn setting_passwords_leaves_permits_for_checks() {
    let hasher = hasher(&[1], CHEAP);
    let first = hasher.acquire_setter_timeout(Duration::ZERO).await;
    assert!(first.is_some());
    assert!(
        hasher
            .acquire_setter_timeout(Duration::ZERO)
            .await
            .is_none()
    );
    let checks: Vec<_> = std::iter::from_fn(|| hasher.try_acquire()).collect();
    assert_eq!(checks.len(), 3);
    drop(first);
    assert!(
        hasher
            .acquire_setter_timeout(Duration::ZERO)
            .await
            .is_some()
    );
}

#[rstest]
#[case("m=65536,t=3,p=1")]
#[case(" m=19456, t=2, p=1 ")]
#[case("m=8192,t=1,p=1")]
#[case("m=1048576,t=16,p=16")]
fn cost_within_bounds_is_parsed(#[case] text: &str) {
    HashCost::parse(text).unwrap();
}

#[test]
fn default_cost_is_64_mib_with_three_passes() {
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
fn cost_out_of_bounds_names_parameter_and_bounds(#[case] text: &str, #[case] reason: &str) {
    assert_eq!(HashCost::parse(text), Err(Invalid::new(reason)));
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
fn malformed_cost_is_rejected(#[case] text: &str) {
    let Invalid(reason) = HashCost::parse(text).unwrap_err();
    assert!(reason.starts_with("must be m=KiB"), "{reason}");
}

#[test]
fn cost_has_to_fit_into_the_memory_limit() {
    let cost = HashCost::parse("m=65536,t=3,p=1").unwrap();
    let just_enough = 32 * KIB * KIB + capacity::buffers() * 65536 * KIB;
    assert_eq!(cost.check_memory(None), Ok(()));
    assert_eq!(cost.check_memory(Some(just_enough)), Ok(()));
    let Invalid(reason) = cost.check_memory(Some(just_enough - 1)).unwrap_err();
    assert!(reason.contains("m=65536 is too large"), "{reason}");
    assert!(reason.contains("set m to at most 65535"), "{reason}");
    let Invalid(reason) = cost.check_memory(Some(16 * KIB * KIB)).unwrap_err();
    assert!(
        reason.ends_with("may use 16 MiB; allow it more memory"),
        "{reason}"
    );
}

#[test]
fn reused_memory_computes_the_same_hashes_as_the_library() {
    use argon2::{Algorithm, Argon2, PasswordHasher, Version};
    let mut memory = Memory::new(MAX_KIB);
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

/// A stored hash specifies its own cost, which an attacker with write access could raise.
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
    assert!(Memory::new(MAX_KIB).verify(stored, b"dachs7").is_err());
    let hasher = hasher(&[1], CHEAP);
    assert!(!verify(&hasher, "dachs7", &anna(), stored, 1).await);
}

#[test]
fn stored_hash_beyond_the_memory_limit_is_rejected() {
    let params = cost([128, 1, 1]).params().unwrap();
    let hash = Memory::new(MAX_KIB)
        .hash(&params, b"dachs7", &[7; 16])
        .unwrap();
    assert_eq!(Memory::new(128).verify(&hash, b"dachs7"), Ok(true));
    assert!(Memory::new(127).verify(&hash, b"dachs7").is_err());
}

#[tokio::test]
async fn hash_without_progress_is_computed_at_higher_priority() {
    let hasher = PhoneHasher {
        escalation_delay: Duration::ZERO,
        ..hasher(&[1], CHEAP)
    };
    // Blocks the threads of idle and low priority.
    let (release, blocked) = flume::unbounded::<()>();
    for priority in [Priority::Idle; MAX_HASHES]
        .into_iter()
        .chain([Priority::Low])
    {
        let blocked = blocked.clone();
        let job: Job = Arc::new(move |_| {
            let _ = blocked.recv();
        });
        hasher.threads.submit(priority, job).unwrap();
    }
    let stored = hash(&hasher).await;
    assert!(verify(&hasher, "dachs7", &anna(), &stored, 1).await);
    assert!(!verify(&hasher, "dachs8", &anna(), &stored, 1).await);
    // The released threads skip the finished jobs.
    drop(release);
    assert!(verify(&hasher, "dachs7", &anna(), &stored, 1).await);
    assert_eq!(hasher.computed(), 4);
    assert_eq!((0..9).filter_map(|_| hasher.try_acquire()).count(), 9);
}
