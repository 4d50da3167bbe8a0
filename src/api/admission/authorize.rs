//! Authorization of a request, and the limit of its metadata.

use http::{HeaderMap, header::AUTHORIZATION};

use crate::{
    api::auth::{Authenticator, Caller, Rpc},
    error::{Error, Result, Violation},
};

/// Maximum size of the metadata besides the token, which has its own limit. A request in flight keeps at
/// most this much. HTTP/2 accepts more, so that a token that is too large still gets a response.
const MAX_METADATA_BYTES: usize = 16 * 1024;
/// The overhead that HTTP/2 counts for each header field (RFC 9113, 6.5.2).
const FIELD_OVERHEAD_BYTES: usize = 32;

/// Returns the caller of an RPC.
///
/// # Errors
/// [`Error::Unimplemented`] for an RPC that is not in the contract, [`Error::InvalidFields`] for too much
/// metadata, and those of [`Authenticator::authorize`].
pub(super) async fn authorize(
    authenticator: &Authenticator,
    rpc: Option<&'static Rpc>,
    headers: &HeaderMap,
) -> Result<Caller> {
    let rpc = rpc.ok_or(Error::Unimplemented)?;
    check_metadata(headers)?;
    authenticator.authorize(rpc, headers).await
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
