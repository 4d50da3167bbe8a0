//! The signature algorithms of tokens and keys.

use jsonwebtoken::{Algorithm, AlgorithmFamily};

/// Returns the algorithm of a JOSE `alg`; `None` if it is unknown or symmetric.
///
/// `Ed25519` (RFC 9864) is the new name of `EdDSA` with keys of that curve, the only ones accepted.
pub(super) fn parse_algorithm(alg: &str) -> Option<Algorithm> {
    let alg = if alg == "Ed25519" { "EdDSA" } else { alg };
    let algorithm: Algorithm = alg.parse().ok()?;
    (algorithm.family() != AlgorithmFamily::Hmac).then_some(algorithm)
}
