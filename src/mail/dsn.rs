//! Reads bounces and complaints about mails that other services sent to a customer (rule 32).
//!
//! Reads delivery status notifications (RFC 3464, RFC 6533), feedback reports (RFC 5965), and the
//! text bounces of servers that send neither. The customer and the address are taken from places
//! with a fixed meaning only, never from prose.
//!
//! Anyone who knows an address can forge a report about it: bounces have no signature, and their
//! sender is empty. A report is attributed only if it came to a [`BounceAddress`] with a customer
//! number, or returns the header `X-Customer-Number`. Both are known to the recipient of the mail and
//! to the servers on its way, so a report is evidence, not proof.

mod address;
mod attribution;
mod bounce_address;
mod delivery_status;
mod feedback;
mod fields;
mod mime;
mod notice;
mod report;
mod text_bounce;

use self::{attribution::Attribution, mime::Email, notice::Notice};
pub use self::{
    bounce_address::BounceAddress,
    report::{BounceReport, Unattributed},
};

/// Reads a message in the form of RFC 5322, with line ends of any system.
///
/// Returns one entry per recipient that the message reports about, or a single reason if the message
/// as a whole yields no report. Only the first MiB is read: reports precede the returned message.
///
/// ```
/// use contact_service::mail::dsn::{self, BounceAddress, Unattributed};
///
/// let bounce_address = BounceAddress::parse("bounces@sender.example").unwrap();
/// let message = b"To: bounces+K-1001@sender.example\n\nI am on vacation.";
/// let outcomes = dsn::read(message, Some(&bounce_address));
/// assert_eq!(*outcomes[0].as_ref().unwrap_err(), Unattributed::NotABounce);
/// ```
pub fn read(
    message: &[u8],
    bounce_address: Option<&BounceAddress>,
) -> Vec<Result<BounceReport, Unattributed>> {
    let Some((email, notices)) = Email::parse(message).and_then(with_notices) else {
        return vec![Err(Unattributed::NotABounce)];
    };
    if notices.is_empty() {
        return vec![Err(Unattributed::NoRecipient)];
    }
    let attribution = match Attribution::of(&email, bounce_address) {
        Ok(attribution) => attribution,
        Err(reason) => return vec![Err(reason)],
    };
    let date = email.date();
    let reports = notices.into_iter().map(|notice| {
        Ok(BounceReport {
            customer_number: attribution.customer_number.clone(),
            contact_id: attribution.contact_id,
            email: notice.address.ok_or(Unattributed::NoRecipient)?,
            status: notice.status.ok_or(Unattributed::NoStatus)?,
            enhanced_status: notice.enhanced_status,
            report_time: notice.time.or(date),
        })
    });
    reports.collect()
}

/// Returns the message with its notices, or `None` if it reports about no delivery.
fn with_notices(email: Email<'_>) -> Option<(Email<'_>, Vec<Notice>)> {
    let notices = feedback::read(&email)
        .or_else(|| delivery_status::read(&email))
        .or_else(|| text_bounce::read(&email))?;
    Some((email, notices))
}

#[cfg(test)]
mod tests;
