//! Keyset pagination.

/// Truncates `entries` to `page_size` entries. Returns the position of the last one if entries
/// were cut off; the next page starts after it.
pub(super) fn paginate<T, P>(
    entries: &mut Vec<T>,
    page_size: usize,
    position: fn(&T) -> P,
) -> Option<P> {
    let has_more = entries.len() > page_size;
    entries.truncate(page_size);
    entries.last().map(position).filter(|_| has_more)
}
