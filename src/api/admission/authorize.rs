//! Authorization of a request, and the limit of its metadata.

use http::{HeaderMap, header::AUTHORIZATION};

use crate::{
    api::auth::{Authenticator, Caller, scope_of},
    error::{Error, Result, Violation},
};

/// Maximum size of the metadata besides the token, which has its own limit. A request in flight keeps at
/// most this much. HTTP/2 accepts more, so that a token that is too large still gets a response.
const MAX_METADATA_BYTES: usize = 16 * 1024;
/// The overhead that HTTP/2 counts for each header field (RFC 9113, 6.5.2).
const FIELD_OVERHEAD_BYTES: usize = 32;

/// Returns the caller of the RPC at `path`.
///
/// # Errors
/// [`Error::Unimplemented`] for an RPC that is not in the scope table, [`Error::InvalidFields`] for too
/// much metadata, and those of [`Authenticator::authorize`].
pub(super) async fn authorize(
    authenticator: &Authenticator,
    path: &str,
    headers: &HeaderMap,
) -> Result<Caller> {
    scope_of(path).ok_or(Error::Unimplemented)?;
    check_metadata(headers)?;
    authenticator.authorize(path, headers).await
}

/// Checks the size of the metadata besides the token, before the request waits for anything.
fn check_metadata(headers: &HeaderMap) -> Result<()> {
    let others = headers.iter().filter(|(name, _)| *name != AUTHORIZATION);
    let bytes: usize = others
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD_BYTES)
        .sum();
    if bytes > MAX_METADATA_BYTES {
        let violation = Violation::MetadataTooLarge;
        return Err(Error::invalid_field("metadata", violation));
    }
    Ok(())
}
