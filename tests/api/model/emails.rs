//! Addresses, links and mails in the model (rules 5 to 12).

use chrono::{DateTime, TimeDelta, Utc};
use contact_service::api::proto::{self, ConfirmationState};

use super::{
    book::{Book, Outcome, Refusal, refuse},
    contacts::Contact,
    requests::Answer,
    values::{address, is_same_address},
};
use crate::requests::timestamp;

/// Rule 7.
const LIFETIME: TimeDelta = TimeDelta::days(7);
/// Rule 10: a day before.
const REMINDED_AFTER: TimeDelta = TimeDelta::days(6);
/// Rule 11.
const RESENDS_AT_ONCE: i32 = 3;
const RESEND_PAUSE: TimeDelta = TimeDelta::hours(1);

/// Confirmation mails to an address, and those of a customer.
const MAILS_TO_ADDRESS: [(usize, TimeDelta); 2] =
    [(5, TimeDelta::hours(1)), (20, TimeDelta::days(1))];
const MAILS_OF_CUSTOMER: [(usize, TimeDelta); 1] = [(100, TimeDelta::hours(1))];

/// When mails leave, in the order in which they were counted.
pub type MailTimes = Vec<DateTime<Utc>>;

/// The earliest time that leaves room for one more mail.
fn next_time(
    times: Option<&MailTimes>,
    limits: &[(usize, TimeDelta)],
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    let times = times.map_or(&[][..], Vec::as_slice);
    let fits = |time: &DateTime<Utc>| {
        limits.iter().all(|(count, window)| {
            let within = times.iter().filter(|known| **known + *window > *time);
            within.count() < *count
        })
    };
    let ends = times
        .iter()
        .flat_map(|known| limits.iter().map(|(_, window)| *known + *window));
    let mut candidates: Vec<_> = ends.filter(|end| *end > now).chain([now]).collect();
    candidates.sort();
    candidates.into_iter().find(fits).expect("windows end")
}

/// An address that waits for its confirmation.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Its link's place in the book.
    pub link: usize,
    email: String,
    request_time: DateTime<Utc>,
    resends: i32,
    last_resend: Option<DateTime<Utc>>,
}

impl Pending {
    pub fn expire_time(&self) -> DateTime<Utc> {
        self.request_time + LIFETIME
    }

    /// Rule 11: until when the next resend has to wait.
    fn waits_until(&self) -> Option<DateTime<Utc>> {
        let is_limited = self.resends >= RESENDS_AT_ONCE;
        self.last_resend
            .filter(|_| is_limited)
            .map(|last| last + RESEND_PAUSE)
    }

    pub fn shown(&self, now: DateTime<Utc>) -> proto::PendingEmail {
        let resends_left = match self.waits_until() {
            None => RESENDS_AT_ONCE - self.resends,
            Some(time) => i32::from(time <= now),
        };
        proto::PendingEmail {
            email: self.email.clone(),
            request_time: timestamp(self.request_time),
            expire_time: timestamp(self.expire_time()),
            resends_left,
            bounce_time: None,
        }
    }
}

/// A confirmation link, which belongs to one entering of an address.
#[derive(Clone, Debug)]
pub struct Link {
    pub number: String,
    pub contact: String,
    pub email: String,
    expire_time: DateTime<Utc>,
    /// `None`: nothing is known of it any more.
    state: Option<ConfirmationState>,
    reminded: bool,
}

impl Link {
    pub fn forget(&mut self) {
        self.state = None;
    }

    pub fn expire(&mut self) {
        self.state = Some(ConfirmationState::Expired);
    }

    fn state_at(&self, now: DateTime<Utc>) -> Option<ConfirmationState> {
        match self.state {
            Some(ConfirmationState::Pending) if now >= self.expire_time => {
                Some(ConfirmationState::Expired)
            }
            state => state,
        }
    }

    /// What `InspectEmailConfirmation` says of it.
    pub fn inspected(
        &self,
        now: DateTime<Utc>,
    ) -> Outcome<proto::InspectEmailConfirmationResponse> {
        let Some(state) = self.state_at(now) else {
            return refuse("CONFIRMATION_NOT_FOUND");
        };
        let (local, domain) = self.email.split_once('@').expect("no address");
        let (name, top) = domain.rsplit_once('.').expect("no domain");
        Ok(proto::InspectEmailConfirmationResponse {
            state: state.into(),
            masked_email: format!("{}***@{}***.{top}", &local[..1], &name[..1]),
            expire_time: timestamp(self.expire_time),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MailKind {
    Confirmation,
    Reminder,
    Replaced,
    Locked,
}

/// A mail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mail {
    pub kind: MailKind,
    pub number: String,
    pub to: String,
    /// Tenant it greets.
    pub name: String,
    pub locale: String,
    /// The link in it, by its place in the book.
    pub link: Option<usize>,
}

impl Book {
    pub fn queue(&mut self, kind: MailKind, contact: &Contact, to: &str, link: Option<usize>) {
        self.queue_at(self.now, kind, contact, to, link);
    }

    fn queue_at(
        &mut self,
        time: DateTime<Utc>,
        kind: MailKind,
        contact: &Contact,
        to: &str,
        link: Option<usize>,
    ) {
        let mail = Mail {
            kind,
            number: contact.number.clone(),
            to: to.to_owned(),
            name: contact.name.clone(),
            locale: contact.locale.clone(),
            link,
        };
        self.outbox.push((time, mail));
    }

    /// Counts the mail to an address that became pending, or whose link was sent again.
    pub fn count_mail(&mut self, number: &str, to: &str) -> Outcome<()> {
        let (now, to) = (self.now, to.to_lowercase());
        let of_customer = self.mails_of.get(number);
        let next = next_time(of_customer, &MAILS_OF_CUSTOMER, now).max(next_time(
            self.mails_to.get(&to),
            &MAILS_TO_ADDRESS,
            now,
        ));
        if next > now {
            return Err(Refusal {
                reason: "RESEND_LIMIT",
                fields: Vec::new(),
                retry: Some(next - now),
            });
        }
        self.mails_of
            .entry(number.to_owned())
            .or_default()
            .push(now);
        self.mails_to.entry(to).or_default().push(now);
        Ok(())
    }

    /// A reminder is delayed rather than rejected.
    fn queue_reminder(&mut self, contact: &Contact, pending: &Pending) {
        let to = pending.email.to_lowercase();
        let time = next_time(self.mails_to.get(&to), &MAILS_TO_ADDRESS, self.now);
        if time < pending.expire_time() {
            self.mails_to.entry(to).or_default().push(time);
            let (kind, link) = (MailKind::Reminder, Some(pending.link));
            self.queue_at(time, kind, contact, &pending.email, link);
        }
    }

    /// Sends what waits. A mail whose link is dead by now makes no sense.
    pub fn deliver(&mut self) -> Vec<Mail> {
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.outbox)
            .into_iter()
            .partition(|(time, _)| *time <= now);
        self.outbox = later;
        let due: Vec<_> = due;
        let mut mails: Vec<_> = due.into_iter().map(|(_, mail)| mail).collect();
        let is_pending =
            |link: usize| self.links[link].state_at(now) == Some(ConfirmationState::Pending);
        mails.retain(|mail| mail.link.is_none_or(is_pending));
        mails
    }

    /// What time brings about: reminders first, then what lapsed.
    pub fn see_to_deadlines(&mut self) {
        let contacts = |book: &Self| -> Vec<Contact> {
            let all = book.customers.values().flat_map(|c| &c.contacts);
            all.cloned().collect()
        };
        let mut by_expiry = contacts(self);
        by_expiry.sort_by_key(|contact| {
            let pending = contact.pending.as_ref();
            pending.map(|pending| (pending.expire_time(), pending.link))
        });
        for contact in by_expiry {
            let Some(pending) = contact.pending_at(self.now) else {
                continue;
            };
            let link = pending.link;
            let is_due = pending.request_time + REMINDED_AFTER <= self.now;
            if is_due && !self.links[link].reminded {
                self.links[link].reminded = true;
                self.queue_reminder(&contact, pending);
            }
        }
        for contact in contacts(self) {
            self.clear_lapsed(&contact);
        }
    }

    /// Rules 5 and 8: the address becomes pending in place of an older one.
    pub fn enter_email(&mut self, contact: &mut Contact, email: &str) -> Vec<&'static str> {
        let email = address(email);
        if is_same_address(&contact.email, &email) {
            // There is nothing to confirm.
            return self.drop_pending(contact);
        }
        if let Some(pending) = &contact.pending {
            if is_same_address(&pending.email, &email) {
                return Vec::new();
            }
            self.drop_pending(contact);
        }
        let link = self.links.len();
        self.links.push(Link {
            number: contact.number.clone(),
            contact: contact.id.clone(),
            email: email.clone(),
            expire_time: self.now + LIFETIME,
            state: Some(ConfirmationState::Pending),
            reminded: false,
        });
        self.queue(MailKind::Confirmation, contact, &email, Some(link));
        contact.pending = Some(Pending {
            link,
            email,
            request_time: self.now,
            resends: 0,
            last_resend: None,
        });
        vec!["pending_email"]
    }

    fn drop_pending(&mut self, contact: &mut Contact) -> Vec<&'static str> {
        let Some(pending) = contact.pending.take() else {
            return Vec::new();
        };
        self.links[pending.link].state = Some(ConfirmationState::Superseded);
        vec!["pending_email"]
    }

    pub fn change_email(&mut self, by: &str, r: &proto::ChangeEmailRequest) -> Outcome {
        let before = self.begin(&r.customer_number, &r.contact_id, "")?;
        let mut after = before.clone();
        let changed = self.enter_email(&mut after, &r.email);
        let link = after.pending.as_ref().map(|pending| pending.link);
        let is_new = link.is_some() && link != before.pending.as_ref().map(|held| held.link);
        let shown = self.finish(by, "contact.email_changed", &before, after, &changed)?;
        if is_new {
            self.count_mail(&r.customer_number, &r.email)?;
        }
        Ok(Answer::Contact(shown))
    }

    pub fn remove_email(&mut self, by: &str, r: &proto::RemoveEmailRequest) -> Outcome {
        let before = self.begin(&r.customer_number, &r.contact_id, "")?;
        let mut after = before.clone();
        let mut changed = self.drop_pending(&mut after);
        if !after.email.is_empty() {
            after.email.clear();
            changed.push("email");
        }
        let shown = self.finish(by, "contact.email_removed", &before, after, &changed)?;
        Ok(Answer::Contact(shown))
    }

    pub fn cancel_email_change(
        &mut self,
        by: &str,
        r: &proto::CancelEmailChangeRequest,
    ) -> Outcome {
        let before = self.begin(&r.customer_number, &r.contact_id, "")?;
        let mut after = before.clone();
        let changed = self.drop_pending(&mut after);
        if changed.is_empty() {
            return refuse("NO_PENDING_EMAIL");
        }
        let kind = "contact.email_change_cancelled";
        let shown = self.finish(by, kind, &before, after, &changed)?;
        Ok(Answer::Contact(shown))
    }

    /// Rule 11.
    pub fn resend(&mut self, by: &str, r: &proto::ResendEmailConfirmationRequest) -> Outcome {
        let before = self.begin(&r.customer_number, &r.contact_id, "")?;
        let mut after = before.clone();
        let Some(pending) = &mut after.pending else {
            return refuse("NO_PENDING_EMAIL");
        };
        if let Some(time) = pending.waits_until().filter(|time| self.now < *time) {
            return Err(Refusal {
                reason: "RESEND_LIMIT",
                fields: Vec::new(),
                retry: Some(time - self.now),
            });
        }
        pending.resends += 1;
        pending.last_resend = Some(self.now);
        let (to, link) = (pending.email.clone(), pending.link);
        self.queue(MailKind::Confirmation, &before, &to, Some(link));
        let kind = "contact.email_confirmation_resent";
        let shown = self.finish(by, kind, &before, after, &["pending_email"])?;
        self.count_mail(&r.customer_number, &to)?;
        Ok(Answer::Contact(shown))
    }

    /// Rules 7, 8 and 10.
    pub fn confirm_email(&mut self, by: &str, token: &str) -> Outcome {
        let place = self.link_of(token);
        let link = self.links[place].clone();
        let already_confirmed = match link.state_at(self.now) {
            None | Some(ConfirmationState::Unspecified) => return refuse("CONFIRMATION_NOT_FOUND"),
            Some(ConfirmationState::Expired) => return refuse("CONFIRMATION_EXPIRED"),
            Some(ConfirmationState::Superseded) => return refuse("CONFIRMATION_SUPERSEDED"),
            Some(ConfirmationState::Confirmed) => true,
            Some(ConfirmationState::Pending) => false,
        };
        if !already_confirmed {
            let before = self.begin(&link.number, &link.contact, "")?;
            let mut after = before.clone();
            after.email.clone_from(&link.email);
            after.pending = None;
            self.links[place].state = Some(ConfirmationState::Confirmed);
            if !before.email.is_empty() {
                self.queue(MailKind::Replaced, &before, &before.email, None);
            }
            let changed = ["email", "pending_email"];
            self.finish(by, "contact.email_confirmed", &before, after, &changed)?;
        }
        Ok(Answer::Confirmed(proto::ConfirmEmailResponse {
            customer_number: link.number,
            contact_id: link.contact,
            already_confirmed,
        }))
    }

    /// The link that a token's label names.
    fn link_of(&self, token: &str) -> usize {
        let place = token.strip_prefix("link ").and_then(|p| p.parse().ok());
        place
            .filter(|place| *place < self.links.len())
            .expect("no link of the book")
    }
}
