//! The metrics of the outbox, of the attempts to send e-mails, and of other services' reports about theirs.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

const OUTBOX_MAILS: &str = "contact_outbox_mails";
const OUTBOX_OLDEST: &str = "contact_outbox_oldest_age_seconds";
const MAILS: &str = "contact_mails_total";
const MAIL_REJECTIONS: &str = "contact_mail_rejections_total";
const DELIVERY_REPORTS: &str = "contact_delivery_reports_total";
const DELIVERY_FAILURE_BURST: &str = "contact_delivery_failure_burst";

label! {
    /// The outcome of an attempt to send an e-mail.
    MailOutcome {
        /// The server accepted it.
        Sent => "sent",
        /// A retry is scheduled.
        Deferred => "deferred",
        /// It became a dead letter.
        DeadLettered => "dead_lettered",
    }
}

label! {
    /// The class of a failed attempt to send an e-mail. Only `Mailbox` marks the address.
    RejectionClass {
        /// The mailbox does not exist or accepts no mail.
        Mailbox => "mailbox",
        /// The mailbox is full.
        MailboxFull => "mailbox_full",
        /// A policy: block lists, SPF, DMARC, spam filters, relaying.
        Policy => "policy",
        /// The address of the sender.
        Sender => "sender",
        /// The size or content of the e-mail.
        Content => "content",
        /// The route to the mailbox.
        Routing => "routing",
        /// The SMTP dialogue.
        Protocol => "protocol",
        /// The state of the mail system.
        System => "system",
        /// The authentication at the mail server.
        Authentication => "authentication",
        /// TLS: the certificate or the handshake.
        Tls => "tls",
        /// Any other permanent failure (5yz).
        Other => "other",
        /// A temporary failure (4yz).
        Temporary => "temporary",
        /// The server was unreachable, timed out, or closed the connection.
        Connection => "connection",
    }
}

label! {
    /// The effect of a report about a delivery.
    DeliveryResult {
        /// The address is marked as failing.
        Marked => "marked",
        /// The mark was removed.
        Cleared => "cleared",
        /// A complaint was recorded.
        Recorded => "recorded",
        /// The address is delivered to.
        Unchanged => "unchanged",
        /// A later report or change is known.
        IgnoredOutdated => "ignored_outdated",
        /// The customer does not have the address.
        IgnoredNotCurrent => "ignored_not_current",
        /// The failure does not concern the mailbox.
        IgnoredNotMailbox => "ignored_not_mailbox",
        /// A temporary failure.
        IgnoredTemporary => "ignored_temporary",
        /// Not applied, as unusually many deliveries fail.
        Held => "held",
    }
}

/// Counts a report about a delivery.
pub fn delivery_report(result: DeliveryResult) {
    counter!(DELIVERY_REPORTS, "result" => result.as_str()).increment(1);
}

/// Sets whether unusually many deliveries fail, so that no address is marked.
pub fn delivery_failure_burst(is_burst: bool) {
    gauge!(DELIVERY_FAILURE_BURST).set(u8::from(is_burst));
}

/// Counts an attempt to send an e-mail.
pub fn mail(outcome: MailOutcome) {
    counter!(MAILS, "outcome" => outcome.as_str()).increment(1);
}

/// Counts a failed attempt to send an e-mail.
pub fn mail_rejection(class: RejectionClass) {
    counter!(MAIL_REJECTIONS, "class" => class.as_str()).increment(1);
}

/// The size of the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxDepth {
    /// E-mails that are due.
    pub waiting: u32,
    /// Dead letters.
    pub dead: u32,
    /// The age of the oldest e-mail that is due.
    pub oldest_age: Duration,
}

/// Sets the size of the outbox.
pub fn outbox(depth: OutboxDepth) {
    gauge!(OUTBOX_MAILS, "state" => "waiting").set(depth.waiting);
    gauge!(OUTBOX_MAILS, "state" => "dead").set(depth.dead);
    gauge!(OUTBOX_OLDEST).set(depth.oldest_age.as_secs_f64());
}

pub(super) fn register() {
    describe_gauge!(
        OUTBOX_MAILS,
        "E-mails in the outbox, by state: waiting or dead letter"
    );
    describe_gauge!(
        OUTBOX_OLDEST,
        Unit::Seconds,
        "Age of the oldest waiting e-mail"
    );
    describe_counter!(MAILS, "Attempts to send e-mails, by outcome");
    describe_counter!(
        MAIL_REJECTIONS,
        "Failed attempts to send e-mails, by class of failure"
    );
    for outcome in MailOutcome::ALL {
        counter!(MAILS, "outcome" => outcome.as_str()).increment(0);
    }
    for class in RejectionClass::ALL {
        counter!(MAIL_REJECTIONS, "class" => class.as_str()).increment(0);
    }
    describe_counter!(
        DELIVERY_REPORTS,
        "Reports about deliveries of other services, by result"
    );
    describe_gauge!(
        DELIVERY_FAILURE_BURST,
        "1 while so many reported deliveries fail that no address is marked"
    );
    for result in DeliveryResult::ALL {
        counter!(DELIVERY_REPORTS, "result" => result.as_str()).increment(0);
    }
    delivery_failure_burst(false);
    outbox(OutboxDepth::default());
}
