//! Contacts from another system: judged like new ones, and each taken once.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};

use crate::{
    app::{
        App, NewContact,
        confirmation_mails::{Recipients, check},
        contacts::new_contact,
        customers::new_customer,
    },
    domain::{
        audit::{Actor, EventKind},
        contact::{Contact, ContactChange, ContactId, check_addition},
        contact_import::{ImportKey, ImportValues},
        customer::{Customer, CustomerChange, CustomerNumber},
        email_address::EmailAddress,
        email_confirmation::REMINDER_LEAD,
    },
    error::{Error, FieldViolation, MailLimit, Result},
    failpoint::failpoint,
    storage::{LockedCustomer, Outcome, Transaction},
};

/// A row of a file.
#[derive(Clone)]
pub struct ContactRow {
    /// By what it is known again.
    pub key: ImportKey,
    /// The contact, of the customer whose rows are taken.
    pub contact: NewContact,
    /// Contact data and notification settings of the customer, should it be created.
    pub customer: CustomerChange,
}

impl ContactRow {
    /// Returns a hash of the values, by which it is compared with others of its key.
    pub fn values(&self) -> ImportValues {
        let contact = &self.contact;
        let (name, email) = (&contact.display_name, contact.email.as_ref());
        ImportValues::of(contact.types, name, email, &contact.fields)
    }
}

/// How rows are taken.
#[derive(Clone, Copy, Debug)]
pub struct ImportMode {
    /// Whether rows are only judged.
    pub dry_run: bool,
    /// Whether addresses count as confirmed; else they become pending, and are written to.
    pub emails_confirmed: bool,
    /// Whether a customer that is not on file is put there.
    pub create_customers: bool,
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowOutcome {
    /// It is a contact now.
    Taken {
        /// Whether its address is to be confirmed by a mailed link.
        has_mail: bool,
    },
    /// It was taken before, whatever became of the contact since.
    AlreadyThere,
    /// A row with its key and other values was taken before.
    Differing,
    /// A rule stands against it.
    Refused(Error),
}

/// The outcome for the customer whose rows were imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CustomerOutcome {
    /// It was created, with contact data and settings as the rows say.
    Created,
    /// It was on file, and is as it was: the master-data service owns these fields.
    OnFile {
        /// Fields for which the rows say something else.
        differing: Vec<&'static str>,
    },
    /// It is not on file, and none of the rows was taken.
    Missing,
}

/// The outcomes for the rows of a customer.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Of each row, in their order.
    pub rows: Vec<RowOutcome>,
    /// Of the customer.
    pub customer: CustomerOutcome,
}

/// A row that was judged and may be written.
struct Judged {
    key: ImportKey,
    values: ImportValues,
    contact: Contact,
    fields: Vec<&'static str>,
    /// When the mail to its pending address leaves.
    mail_time: DateTime<Utc>,
}

impl App {
    /// Takes rows of a customer in one transaction, each judged beside those before it: those of
    /// STANDARD contacts are to come first. Gives what became of each. So many rows at once that
    /// a slow database takes them in time are the caller's to choose.
    ///
    /// # Errors
    /// The failures of the database; nothing was taken then, or it is not known.
    pub async fn import_contacts(
        &self,
        number: &CustomerNumber,
        customer: &CustomerChange,
        rows: Vec<ContactRow>,
        mode: ImportMode,
    ) -> Result<Imported> {
        let (app, of, rows) = (self.clone(), number.clone(), Arc::new(rows));
        let customer = customer.clone();
        let imported = self
            .database
            .transaction_of(number, move |transaction| {
                let (app, number, rows) = (app.clone(), of.clone(), Arc::clone(&rows));
                let change = customer.clone();
                Box::pin(async move {
                    app.take_rows(transaction, &number, &change, &rows, mode)
                        .await
                })
            })
            .await?;
        let has_mail = imported
            .rows
            .contains(&RowOutcome::Taken { has_mail: true });
        self.mail_signal.raise_if(has_mail && !mode.dry_run);
        Ok(imported)
    }

    async fn take_rows(
        &self,
        transaction: &Transaction,
        number: &CustomerNumber,
        change: &CustomerChange,
        rows: &[ContactRow],
        mode: ImportMode,
    ) -> Result<Outcome<Imported>> {
        let now = self.now();
        let locked = transaction.find_and_lock_customer(number).await?;
        let customer = match &locked {
            Some(locked) => CustomerOutcome::OnFile {
                differing: change.apply_to(&mut locked.customer.clone()),
            },
            None => CustomerOutcome::Created,
        };
        if locked.is_none()
            && let Err(refusal) = missing_customer(number, mode, now)
        {
            let refused = RowOutcome::Refused(refusal);
            return Ok(Outcome::Rollback(Imported {
                rows: vec![refused; rows.len()],
                customer: CustomerOutcome::Missing,
            }));
        }
        let (outcomes, judged) = self
            .judge_rows(transaction, number, rows, mode, now)
            .await?;
        let is_missing = locked.is_none() && judged.is_empty();
        let imported = Imported {
            rows: outcomes,
            customer: if is_missing {
                CustomerOutcome::Missing
            } else {
                customer
            },
        };
        if judged.is_empty() || mode.dry_run {
            return Ok(Outcome::Rollback(imported));
        }
        if locked.is_none() {
            self.create_customer(transaction, number, change, now)
                .await?;
        }
        self.write_rows(transaction, locked, number, judged, now)
            .await?;
        failpoint("import-written").await;
        Ok(Outcome::Commit(imported))
    }

    async fn create_customer(
        &self,
        transaction: &Transaction,
        number: &CustomerNumber,
        change: &CustomerChange,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut customer = new_customer(number, now)?;
        let fields = change.apply_to(&mut customer);
        let locked = transaction
            .insert_customer(customer, &self.pseudonyms(number))
            .await?;
        let event = self.event(
            &locked,
            &Actor::import(),
            EventKind::CustomerCreated,
            None,
            &fields,
        )?;
        transaction.insert_audit_event(&event).await
    }

    /// Judges each row beside the contacts on file and the rows that were judged before it.
    async fn judge_rows(
        &self,
        transaction: &Transaction,
        number: &CustomerNumber,
        rows: &[ContactRow],
        mode: ImportMode,
        now: DateTime<Utc>,
    ) -> Result<(Vec<RowOutcome>, Vec<Judged>)> {
        let mut known = transaction.list_imported_values(number).await?;
        let mut contacts = transaction.list_contacts(number).await?;
        let (mut outcomes, mut judged) = (Vec::with_capacity(rows.len()), Vec::new());
        let mut recipients = self
            .lock_recipients(transaction, written_to(rows, &known, mode), now)
            .await?;
        for row in rows {
            if let Some(values) = known.get(&row.key) {
                // Of rows of earlier versions the values are not known.
                let is_same = values.is_none_or(|values| values == row.values());
                outcomes.push(if is_same {
                    RowOutcome::AlreadyThere
                } else {
                    RowOutcome::Differing
                });
                continue;
            }
            let answer = self.judge_row(transaction, row, &contacts, mode, now);
            let answer = answer.await?;
            outcomes.push(
                match answer.and_then(|new| plan_mail(new, &mut recipients, now)) {
                    Ok(new) => {
                        let has_mail = new.contact.pending_email.is_some();
                        known.insert(new.key, Some(new.values));
                        contacts.push(new.contact.clone());
                        judged.push(new);
                        RowOutcome::Taken { has_mail }
                    }
                    Err(refusal) => RowOutcome::Refused(refusal),
                },
            );
        }
        recipients.save(transaction).await?;
        Ok((outcomes, judged))
    }

    /// The contact of a row, or the rule against it.
    async fn judge_row(
        &self,
        transaction: &Transaction,
        row: &ContactRow,
        others: &[Contact],
        mode: ImportMode,
        now: DateTime<Utc>,
    ) -> Result<std::result::Result<Judged, Error>> {
        let id = ContactId(self.random.uuid_v7(now)?);
        let confirmation_id = self.confirmation_id(now)?;
        let (mut contact, mut fields) = new_contact(&row.contact, id, confirmation_id, now);
        if mode.emails_confirmed
            && let Some(pending) = contact.pending_email.take()
        {
            contact.email = Some(pending.email);
            fields.retain(|field| *field != "pending_email");
            fields.push("email");
        }
        fields.extend(["types", "display_name"]);
        if let Err(refusal) = check_addition(&contact, others, now) {
            return Ok(Err(refusal));
        }
        match check_order_types(transaction, &row.contact.fields).await {
            Err(refusal @ Error::InvalidFields(_)) => return Ok(Err(refusal)),
            answer => answer?,
        }
        Ok(Ok(Judged {
            key: row.key,
            values: row.values(),
            contact,
            fields,
            mail_time: now,
        }))
    }

    async fn write_rows(
        &self,
        transaction: &Transaction,
        locked: Option<LockedCustomer>,
        number: &CustomerNumber,
        judged: Vec<Judged>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut unused = locked;
        let mut taken = Vec::with_capacity(judged.len());
        for Judged {
            key,
            values,
            mut contact,
            fields,
            mail_time,
        } in judged
        {
            // Each contact and its event have a rank of their own.
            let locked = match unused.take() {
                Some(locked) => locked,
                None => transaction.lock_customer(number).await?,
            };
            contact.position = locked.rank;
            transaction.insert_contact(&contact).await?;
            self.follow_addresses(transaction, None, &contact, Some(mail_time))
                .await?;
            let (kind, id) = (EventKind::ContactCreated, Some(contact.id));
            let event = self.event(&locked, &Actor::import(), kind, id, &fields)?;
            transaction.insert_audit_event(&event).await?;
            taken.push((key, values, contact.id));
        }
        transaction.insert_imports(number, &taken, now).await
    }
}

/// The addresses that new rows ask to be confirmed.
fn written_to<'r>(
    rows: &'r [ContactRow],
    known: &HashMap<ImportKey, Option<ImportValues>>,
    mode: ImportMode,
) -> Vec<&'r EmailAddress> {
    let new = rows.iter().filter(|row| !known.contains_key(&row.key));
    let emails = new.filter_map(|row| row.contact.email.as_ref());
    emails.filter(|_| !mode.emails_confirmed).collect()
}

/// Counts the mail of a row against the limit of its address, which delays it. A row whose mail
/// would leave too late for a reminder is rejected: nothing of it is lost, as it can be imported
/// again later.
fn plan_mail(mut new: Judged, recipients: &mut Recipients, now: DateTime<Utc>) -> Result<Judged> {
    if let Some(pending) = &new.contact.pending_email {
        let time = recipients.next_time(&pending.email);
        if time > pending.expire_time - REMINDER_LEAD {
            check(MailLimit::Address, time, now)?;
        }
        recipients.add(&pending.email, time);
        new.mail_time = time;
    }
    Ok(new)
}

/// The customer that the rows would put on file, or why they may not.
fn missing_customer(
    number: &CustomerNumber,
    mode: ImportMode,
    now: DateTime<Utc>,
) -> Result<Customer> {
    if mode.create_customers {
        new_customer(number, now)
    } else {
        Err(Error::CustomerNotFound)
    }
}

/// Rule 20: restrictions name order types that there are.
async fn check_order_types(transaction: &Transaction, fields: &ContactChange) -> Result<()> {
    let lists = [
        ("allowed_order_types", &fields.allowed_order_types),
        ("denied_order_types", &fields.denied_order_types),
    ];
    let named: Vec<_> = lists
        .iter()
        .filter_map(|(_, list)| list.as_ref())
        .flatten()
        .collect();
    let unknown = transaction.find_unknown_order_types(&named).await?;
    if unknown.is_empty() {
        return Ok(());
    }
    let mut violations = Vec::new();
    for (list, codes) in lists {
        for (index, code) in codes.iter().flatten().enumerate() {
            if unknown.contains(&code) {
                let field = format!("contact.restrictions.{list}[{index}]");
                violations.push(FieldViolation::new(field, "must be a known order type"));
            }
        }
    }
    Err(Error::InvalidFields(violations))
}
