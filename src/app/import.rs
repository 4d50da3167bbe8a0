//! Imports contacts from another system. Rows are validated like new contacts, and each is
//! imported once.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};

use super::{
    contacts::{NewContact, new_contact},
    context::App,
    customers::new_customer,
    mail_limits::{RecipientLimits, check},
};
use crate::{
    domain::{
        audit::{Actor, EventKind},
        contact::{Contact, ContactChange, check_addition},
        contact_import::{ImportKey, ImportValues},
        customer::{Customer, CustomerChange},
        email_address::EmailAddress,
        email_confirmation::REMINDER_LEAD,
        ids::{ContactId, CustomerNumber},
    },
    error::{Error, FieldViolation, MailLimit, Result},
    failpoint::failpoint,
    storage::{LockedCustomer, Outcome, Transaction},
};

/// A row of the imported file.
#[derive(Clone)]
pub struct FileRow {
    /// Identifies the row in later imports.
    pub key: ImportKey,
    /// The contact to create for the customer.
    pub contact: NewContact,
    /// Contact data and notification settings, used if the customer is created.
    pub customer: CustomerChange,
}

impl FileRow {
    /// Returns a hash of the row's values, for comparison with other rows of the same key.
    pub fn values(&self) -> ImportValues {
        let contact = &self.contact;
        let (name, email) = (&contact.display_name, contact.email.as_ref());
        ImportValues::new(contact.types, name, email, &contact.fields)
    }
}

/// Options of an import.
#[derive(Clone, Copy, Debug)]
pub struct ImportMode {
    /// If true, rows are validated only.
    pub dry_run: bool,
    /// If true, addresses count as confirmed. Otherwise they become pending, and confirmation
    /// e-mails are sent.
    pub emails_confirmed: bool,
    /// If true, missing customers are created.
    pub create_customers: bool,
}

/// The outcome of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowOutcome {
    /// A contact was created.
    Imported {
        /// True if a confirmation e-mail was queued.
        mails_queued: bool,
    },
    /// The row was imported before. The contact may have been changed or deleted since.
    Duplicate,
    /// A row with the same key and different values was imported before.
    Conflict,
    /// The row violates a rule.
    Rejected(Error),
}

/// The outcome for the customer whose rows were imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CustomerOutcome {
    /// The customer was created, with contact data and settings from the rows.
    Created,
    /// The customer was on file and was not changed: the master-data service owns these fields.
    OnFile {
        /// The fields whose values differ from those in the rows.
        differing: Vec<&'static str>,
    },
    /// The customer is not on file, and no row was imported.
    Missing,
}

/// The outcomes for the rows of one customer.
#[derive(Clone, Debug)]
pub struct ImportResult {
    /// The outcome of each row, in the order of the rows.
    pub rows: Vec<RowOutcome>,
    /// The outcome for the customer.
    pub customer: CustomerOutcome,
}

/// A valid row that is to be written.
struct ValidRow {
    key: ImportKey,
    values: ImportValues,
    contact: Contact,
    fields: Vec<&'static str>,
    /// The due time of the confirmation e-mail.
    mail_time: DateTime<Utc>,
}

impl App {
    /// Imports rows of a customer in one transaction. Each row is validated against the contacts
    /// on file and the rows before it, so rows of STANDARD contacts have to come first. The caller
    /// has to choose batches small enough for the transaction timeout.
    ///
    /// # Errors
    /// Database errors. Nothing was imported then, unless the commit's response was lost.
    pub async fn import_contacts(
        &self,
        customer_number: &CustomerNumber,
        customer: &CustomerChange,
        rows: Vec<FileRow>,
        mode: ImportMode,
    ) -> Result<ImportResult> {
        let (app, number, rows) = (self.clone(), customer_number.clone(), Arc::new(rows));
        let customer = customer.clone();
        let imported = self
            .database
            .customer_transaction(customer_number, move |transaction| {
                let (app, customer_number) = (app.clone(), number.clone());
                let (customer, rows) = (customer.clone(), Arc::clone(&rows));
                Box::pin(async move {
                    app.import_rows(transaction, &customer_number, &customer, &rows, mode)
                        .await
                })
            })
            .await?;
        let mails_queued = imported
            .rows
            .contains(&RowOutcome::Imported { mails_queued: true });
        self.mail_signal.raise_if(mails_queued && !mode.dry_run);
        Ok(imported)
    }

    async fn import_rows(
        &self,
        transaction: &Transaction,
        customer_number: &CustomerNumber,
        change: &CustomerChange,
        rows: &[FileRow],
        mode: ImportMode,
    ) -> Result<Outcome<ImportResult>> {
        let now = self.now();
        let locked = transaction.find_and_lock_customer(customer_number).await?;
        let customer = match &locked {
            Some(locked) => CustomerOutcome::OnFile {
                differing: change.apply_to(&mut locked.customer.clone()),
            },
            None => CustomerOutcome::Created,
        };
        if locked.is_none()
            && let Err(error) = missing_customer(customer_number, mode, now)
        {
            let rejected = RowOutcome::Rejected(error);
            return Ok(Outcome::Rollback(ImportResult {
                rows: vec![rejected; rows.len()],
                customer: CustomerOutcome::Missing,
            }));
        }
        let (outcomes, valid) = self
            .validate_rows(transaction, customer_number, rows, mode, now)
            .await?;
        let is_missing = locked.is_none() && valid.is_empty();
        let imported = ImportResult {
            rows: outcomes,
            customer: if is_missing {
                CustomerOutcome::Missing
            } else {
                customer
            },
        };
        if valid.is_empty() || mode.dry_run {
            return Ok(Outcome::Rollback(imported));
        }
        if locked.is_none() {
            self.create_customer(transaction, customer_number, change, now)
                .await?;
        }
        self.write_rows(transaction, locked, customer_number, valid, now)
            .await?;
        failpoint("import-written").await;
        Ok(Outcome::Commit(imported))
    }

    async fn create_customer(
        &self,
        transaction: &Transaction,
        customer_number: &CustomerNumber,
        change: &CustomerChange,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut customer = new_customer(customer_number, now)?;
        let fields = change.apply_to(&mut customer);
        let locked = transaction
            .insert_customer(customer, &self.pseudonyms(customer_number))
            .await?;
        let (actor, kind) = (Actor::import(), EventKind::CustomerCreated);
        let event = self.event(&locked, &actor, kind, None, &fields)?;
        transaction.insert_audit_event(&event).await
    }

    /// Validates each row against the contacts on file and the valid rows before it.
    async fn validate_rows(
        &self,
        transaction: &Transaction,
        customer_number: &CustomerNumber,
        rows: &[FileRow],
        mode: ImportMode,
        now: DateTime<Utc>,
    ) -> Result<(Vec<RowOutcome>, Vec<ValidRow>)> {
        let mut seen = transaction.list_imported_values(customer_number).await?;
        let mut contacts = transaction.list_contacts(customer_number).await?;
        let (mut outcomes, mut valid) = (Vec::with_capacity(rows.len()), Vec::new());
        let mut recipients = self
            .lock_recipients(transaction, mail_recipients(rows, &seen, mode), now)
            .await?;
        for row in rows {
            if let Some(values) = seen.get(&row.key) {
                // Earlier versions stored no values.
                let has_same_values = values.is_none_or(|values| values == row.values());
                outcomes.push(if has_same_values {
                    RowOutcome::Duplicate
                } else {
                    RowOutcome::Conflict
                });
                continue;
            }
            let validated = self.validate_row(transaction, row, &contacts, mode, now);
            let planned = validated
                .await?
                .and_then(|row| plan_mail(row, &mut recipients, now));
            outcomes.push(match planned {
                Ok(row) => {
                    let mails_queued = row.contact.pending_email.is_some();
                    seen.insert(row.key, Some(row.values));
                    contacts.push(row.contact.clone());
                    valid.push(row);
                    RowOutcome::Imported { mails_queued }
                }
                Err(error) => RowOutcome::Rejected(error),
            });
        }
        recipients.save(transaction).await?;
        Ok((outcomes, valid))
    }

    /// Returns the contact of a row, or the error of the rule that it violates.
    async fn validate_row(
        &self,
        transaction: &Transaction,
        row: &FileRow,
        others: &[Contact],
        mode: ImportMode,
        now: DateTime<Utc>,
    ) -> Result<std::result::Result<ValidRow, Error>> {
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
        if let Err(error) = check_addition(&contact, others, now) {
            return Ok(Err(error));
        }
        match check_order_types(transaction, &row.contact.fields).await {
            Err(error @ Error::InvalidFields(_)) => return Ok(Err(error)),
            checked => checked?,
        }
        Ok(Ok(ValidRow {
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
        customer_number: &CustomerNumber,
        rows: Vec<ValidRow>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut unused_lock = locked;
        let mut imports = Vec::with_capacity(rows.len());
        for ValidRow {
            key,
            values,
            mut contact,
            fields,
            mail_time,
        } in rows
        {
            // Each contact and its event take a sequence number of their own.
            let locked = match unused_lock.take() {
                Some(locked) => locked,
                None => transaction.lock_customer(customer_number).await?,
            };
            contact.position = locked.sequence_number;
            transaction.insert_contact(&contact).await?;
            self.apply_email_transition(transaction, None, &contact, Some(mail_time))
                .await?;
            let (kind, id) = (EventKind::ContactCreated, Some(contact.id));
            let event = self.event(&locked, &Actor::import(), kind, id, &fields)?;
            transaction.insert_audit_event(&event).await?;
            imports.push((key, values, contact.id));
        }
        transaction
            .insert_imports(customer_number, &imports, now)
            .await
    }
}

/// Returns the addresses that new rows require to be confirmed by e-mail.
fn mail_recipients<'r>(
    rows: &'r [FileRow],
    seen: &HashMap<ImportKey, Option<ImportValues>>,
    mode: ImportMode,
) -> Vec<&'r EmailAddress> {
    let new = rows.iter().filter(|row| !seen.contains_key(&row.key));
    let emails = new.filter_map(|row| row.contact.email.as_ref());
    emails.filter(|_| !mode.emails_confirmed).collect()
}

/// Counts the e-mail of a row against the limit of its address, which delays it. Rejects a row
/// whose e-mail would be due too late for a reminder; it can be imported again later.
fn plan_mail(
    mut row: ValidRow,
    recipients: &mut RecipientLimits,
    now: DateTime<Utc>,
) -> Result<ValidRow> {
    if let Some(pending) = &row.contact.pending_email {
        let time = recipients.next_time(&pending.email);
        if time > pending.expire_time - REMINDER_LEAD {
            check(MailLimit::Address, time, now)?;
        }
        recipients.add(&pending.email, time);
        row.mail_time = time;
    }
    Ok(row)
}

/// Returns the record of a customer that is not on file, if the import may create it.
fn missing_customer(
    customer_number: &CustomerNumber,
    mode: ImportMode,
    now: DateTime<Utc>,
) -> Result<Customer> {
    if mode.create_customers {
        new_customer(customer_number, now)
    } else {
        Err(Error::CustomerNotFound)
    }
}

/// Checks that the restrictions name existing order types (rule 20).
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
