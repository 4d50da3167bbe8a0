//! Addresses, links and e-mails in the model (rules 5 to 12).

use chrono::{DateTime, TimeDelta, Utc};
use contact_service::api::proto::{self, ConfirmationState, email_change::Change as EmailEdit};

use super::{
    contacts::Contact,
    reference_model::{ModelResult, ReferenceModel, Rejection, reject},
    requests::Response,
    values::{address, is_same_address},
};
use crate::requests::timestamp;

/// Rule 7.
const LIFETIME: TimeDelta = TimeDelta::days(7);
/// Rule 10: a day before the expiry.
const REMINDED_AFTER: TimeDelta = TimeDelta::days(6);
/// Rule 11.
const IMMEDIATE_RESENDS: i32 = 3;
const RESEND_INTERVAL: TimeDelta = TimeDelta::hours(1);

/// Limits of confirmation e-mails per address and per customer.
const MAILS_PER_ADDRESS: [(usize, TimeDelta); 2] =
    [(5, TimeDelta::hours(1)), (20, TimeDelta::days(1))];
const MAILS_PER_CUSTOMER: [(usize, TimeDelta); 1] = [(100, TimeDelta::hours(1))];

/// Sending times of e-mails in the order in which they were counted.
pub type MailTimes = Vec<DateTime<Utc>>;

/// The earliest time at which the limit permits one more e-mail.
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

/// An address that awaits confirmation.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The index of its link in the model.
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

    /// Rule 11: the earliest time of the next resend.
    fn next_resend_time(&self) -> Option<DateTime<Utc>> {
        let is_limited = self.resends >= IMMEDIATE_RESENDS;
        self.last_resend
            .filter(|_| is_limited)
            .map(|last| last + RESEND_INTERVAL)
    }

    pub fn shown(&self, now: DateTime<Utc>) -> proto::PendingEmail {
        let resends_left = match self.next_resend_time() {
            None => IMMEDIATE_RESENDS - self.resends,
            Some(time) => i32::from(time <= now),
        };
        proto::PendingEmail {
            email: self.email.clone(),
            request_time: timestamp(self.request_time),
            expire_time: timestamp(self.expire_time()),
            resends_left,
            bounce_time: None,
            ..proto::PendingEmail::default()
        }
    }
}

/// A confirmation link, which belongs to one entry of an address.
#[derive(Clone, Debug)]
pub struct Link {
    pub number: String,
    pub contact: String,
    pub email: String,
    expire_time: DateTime<Utc>,
    /// `None`: deleted.
    state: Option<ConfirmationState>,
    reminded: bool,
}

impl Link {
    pub fn delete(&mut self) {
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

    /// The response of `InspectEmailConfirmation`.
    pub fn inspected(
        &self,
        now: DateTime<Utc>,
    ) -> ModelResult<proto::InspectEmailConfirmationResponse> {
        let Some(state) = self.state_at(now) else {
            return reject("CONFIRMATION_NOT_FOUND");
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

/// An e-mail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mail {
    pub kind: MailKind,
    pub number: String,
    pub to: String,
    /// The name in the salutation.
    pub name: String,
    pub locale: String,
    /// The index of the link in it.
    pub link: Option<usize>,
}

impl ReferenceModel {
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

    /// Counts an e-mail to an address that became pending or whose link was resent.
    pub fn count_mail(&mut self, number: &str, to: &str) -> ModelResult<()> {
        let (now, to) = (self.now, to.to_lowercase());
        let of_customer = self.mails_of.get(number);
        let next = next_time(of_customer, &MAILS_PER_CUSTOMER, now).max(next_time(
            self.mails_to.get(&to),
            &MAILS_PER_ADDRESS,
            now,
        ));
        if next > now {
            return Err(Rejection {
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
        let time = next_time(self.mails_to.get(&to), &MAILS_PER_ADDRESS, self.now);
        if time < pending.expire_time() {
            self.mails_to.entry(to).or_default().push(time);
            let (kind, link) = (MailKind::Reminder, Some(pending.link));
            self.queue_at(time, kind, contact, &pending.email, link);
        }
    }

    /// Sends queued e-mails. Those with a dead link are dropped.
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

    /// Effects of elapsed time: reminders first, then expiries.
    pub fn expire_emails(&mut self) {
        let contacts = |model: &Self| -> Vec<Contact> {
            let all = model.customers.values().flat_map(|c| &c.contacts);
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
            self.clear_expired(&contact);
        }
    }

    /// Rules 5 and 8: the address becomes pending and replaces an older one.
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

    /// Returns the kind of the event, the changed fields, and the address to which a new link is sent.
    pub fn edit_email(
        &mut self,
        contact: &mut Contact,
        edit: &EmailEdit,
    ) -> ModelResult<(&'static str, Vec<&'static str>, Option<String>)> {
        let link_before = contact.pending.as_ref().map(|pending| pending.link);
        Ok(match edit {
            EmailEdit::SetEmail(email) => {
                let fields = self.enter_email(contact, email);
                let link = contact.pending.as_ref().map(|pending| pending.link);
                let is_new = link.is_some() && link != link_before;
                let kind = "EVENT_KIND_CONTACT_EMAIL_CHANGED";
                (kind, fields, is_new.then(|| email.clone()))
            }
            EmailEdit::RemoveEmail(_) => {
                let mut fields = self.drop_pending(contact);
                if !contact.email.is_empty() {
                    contact.email.clear();
                    fields.push("email");
                }
                contact.confirm_time = None;
                ("EVENT_KIND_CONTACT_EMAIL_REMOVED", fields, None)
            }
            EmailEdit::CancelPending(_) => {
                let fields = self.drop_pending(contact);
                if fields.is_empty() {
                    return reject("NO_PENDING_EMAIL");
                }
                ("EVENT_KIND_CONTACT_EMAIL_CHANGE_CANCELLED", fields, None)
            }
        })
    }

    /// `ChangeEmail`, `RemoveEmail` and `CancelEmailChange`.
    pub fn change_email(
        &mut self,
        by: &str,
        (number, id): (&str, &str),
        edit: &EmailEdit,
    ) -> ModelResult {
        let before = self.begin(number, id, "")?;
        let mut after = before.clone();
        let (kind, changed, entered) = self.edit_email(&mut after, edit)?;
        let shown = self.finish(by, kind, &before, after, &changed)?;
        if let Some(email) = entered {
            self.count_mail(number, &email)?;
        }
        Ok(Response::Contact(shown))
    }

    /// Rule 11.
    pub fn resend(&mut self, by: &str, r: &proto::ResendEmailConfirmationRequest) -> ModelResult {
        let before = self.begin(&r.customer_number, &r.contact_id, "")?;
        let mut after = before.clone();
        let Some(pending) = &mut after.pending else {
            return reject("NO_PENDING_EMAIL");
        };
        if let Some(time) = pending.next_resend_time().filter(|time| self.now < *time) {
            return Err(Rejection {
                reason: "RESEND_LIMIT",
                fields: Vec::new(),
                retry: Some(time - self.now),
            });
        }
        pending.resends += 1;
        pending.last_resend = Some(self.now);
        let (to, link) = (pending.email.clone(), pending.link);
        self.queue(MailKind::Confirmation, &before, &to, Some(link));
        let kind = "EVENT_KIND_CONTACT_EMAIL_CONFIRMATION_RESENT";
        let shown = self.finish(by, kind, &before, after, &["pending_email"])?;
        self.count_mail(&r.customer_number, &to)?;
        Ok(Response::Contact(shown))
    }

    /// Rules 7, 8 and 10.
    pub fn confirm_email(&mut self, by: &str, token: &str) -> ModelResult {
        let place = self.link_of(token);
        let link = self.links[place].clone();
        let already_confirmed = match link.state_at(self.now) {
            None | Some(ConfirmationState::Unspecified) => return reject("CONFIRMATION_NOT_FOUND"),
            Some(ConfirmationState::Expired) => return reject("CONFIRMATION_EXPIRED"),
            Some(ConfirmationState::Superseded) => return reject("CONFIRMATION_SUPERSEDED"),
            Some(ConfirmationState::Confirmed) => true,
            Some(ConfirmationState::Pending) => false,
        };
        if !already_confirmed {
            let before = self.begin(&link.number, &link.contact, "")?;
            let mut after = before.clone();
            after.email.clone_from(&link.email);
            after.confirm_time = Some(self.now);
            after.pending = None;
            self.links[place].state = Some(ConfirmationState::Confirmed);
            if !before.email.is_empty() {
                self.queue(MailKind::Replaced, &before, &before.email, None);
            }
            let changed = ["email", "pending_email"];
            self.finish(
                by,
                "EVENT_KIND_CONTACT_EMAIL_CONFIRMED",
                &before,
                after,
                &changed,
            )?;
        }
        Ok(Response::Confirmed(proto::ConfirmEmailResponse {
            customer_number: link.number,
            contact_id: link.contact,
            already_confirmed,
        }))
    }

    /// The link of a token label.
    fn link_of(&self, token: &str) -> usize {
        let place = token.strip_prefix("link ").and_then(|p| p.parse().ok());
        place
            .filter(|place| *place < self.links.len())
            .expect("no link of the model")
    }
}
