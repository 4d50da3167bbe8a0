//! Tells the customer of changes to who may act for it (rule 31).

use chrono::{DateTime, Utc};

use super::context::App;
use crate::{
    domain::{
        audit::EventKind,
        change_notice::{
            NOTICE_WINDOW, NoticeKind, NoticeRecipient, NoticedChange, combine, notice_recipients,
        },
        contact::Contact,
        customer::Customer,
        mail::{MailKind, QueuedMail},
    },
    error::Result,
    storage::Transaction,
};

impl App {
    /// Adds changes to the notices of a locked customer that are not sent yet, or queues notices that are
    /// sent 10 minutes later. `customer` is the record before a change of its own address, `contacts` are
    /// those after the change.
    pub(super) async fn notify_of_changes(
        &self,
        transaction: &Transaction,
        customer: &Customer,
        contacts: &[Contact],
        changes: Vec<NoticedChange>,
    ) -> Result<()> {
        let notified: Vec<_> = changes
            .into_iter()
            .map(|change| (notice_recipients(customer, contacts, &change), change))
            .filter(|(recipients, _)| !recipients.is_empty())
            .collect();
        if notified.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let mut open = transaction.list_open_notices(&customer.number, now).await?;
        let (mut added, mut extended) = (Vec::new(), Vec::new());
        for (recipients, change) in notified {
            for recipient in recipients {
                let is_to = |mail: &&mut QueuedMail| mail.recipient.is_same_as(&recipient.email);
                if let Some(mail) = added.iter_mut().find(is_to) {
                    combine(&mut mail.changes, change.clone());
                } else if let Some(mail) = open.iter_mut().find(is_to) {
                    combine(&mut mail.changes, change.clone());
                    extended.push(mail.id);
                } else {
                    added.push(self.new_notice(customer, recipient, change.clone(), now)?);
                }
            }
        }
        for mail in open.iter().filter(|mail| extended.contains(&mail.id)) {
            transaction.update_notice(mail).await?;
        }
        let added = added.iter().map(|mail| (mail, now + NOTICE_WINDOW));
        transaction.insert_mails(added).await
    }

    fn new_notice(
        &self,
        customer: &Customer,
        recipient: NoticeRecipient,
        change: NoticedChange,
        now: DateTime<Utc>,
    ) -> Result<QueuedMail> {
        let (id, number) = (self.random.uuid_v7(now)?, customer.number.clone());
        let notice =
            QueuedMail::about_customer(id, MailKind::ContactsChanged, number, recipient, now);
        Ok(QueuedMail {
            changes: vec![change],
            ..notice
        })
    }
}

/// Returns the change that the customer is notified of, if an event of this kind is one.
pub(super) fn noticed_kind(kind: EventKind, fields: &[&str]) -> Option<NoticeKind> {
    if kind == EventKind::ContactUpdated && fields.contains(&"phone_numbers") {
        return Some(NoticeKind::PhoneNumbersChanged);
    }
    [
        (EventKind::PhonePasswordSet, NoticeKind::PhonePasswordSet),
        (
            EventKind::PhonePasswordCleared,
            NoticeKind::PhonePasswordRemoved,
        ),
    ]
    .into_iter()
    .find_map(|(event, notice)| (event == kind).then_some(notice))
}
