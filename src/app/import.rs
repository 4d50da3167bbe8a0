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
        contact::{Contact, check_addition},
        contact_change::ContactChange,
        contact_import::{ImportKey, ImportValues},
        customer::{Customer, CustomerChange},
        email_address::EmailAddress,
        email_confirmation::REMINDER_LEAD,
        ids::{ContactId, CustomerNumber},
        mail::{MailKind, QueuedMail},
        restrictions::OrderTypeCode,
    },
    error::{Error, FieldViolation, MailLimit, Result, Violation},
    failpoint::failpoint,
    storage::{ImportedRows, LockedCustomer, Outcome, Transaction},
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

/// The rows of one customer that are imported together.
#[derive(Clone)]
pub struct CustomerRows {
    /// The customer.
    pub number: CustomerNumber,
    /// Contact data and settings from all rows of the customer in the file, used if it is created.
    pub change: CustomerChange,
    /// The rows. Each is validated against those before it, so those of STANDARD contacts have to
    /// come first.
    pub rows: Vec<FileRow>,
}

/// A customer before the import, locked.
struct OnFile {
    locked: LockedCustomer,
    contacts: Vec<Contact>,
    /// The rows that were imported before.
    imported: HashMap<ImportKey, Option<ImportValues>>,
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

/// An import of the rows of some customers in one transaction.
struct Batch<'t> {
    app: &'t App,
    transaction: &'t Transaction,
    mode: ImportMode,
    now: DateTime<Utc>,
    /// The order types in the rows that are not on file.
    unknown_order_types: Vec<&'t OrderTypeCode>,
    recipients: RecipientLimits,
    imported: ImportedRows,
}

impl App {
    /// Imports rows of some customers in one transaction, and returns their outcomes in the same
    /// order. Customers in the order of their numbers cannot deadlock with another import. The caller
    /// has to choose batches small enough for the transaction timeout.
    ///
    /// # Errors
    /// Database errors. Nothing was imported then, unless the commit's response was lost.
    pub async fn import_contacts(
        &self,
        customers: &[CustomerRows],
        mode: ImportMode,
    ) -> Result<Vec<ImportResult>> {
        let (app, customers) = (self.clone(), Arc::<[CustomerRows]>::from(customers));
        let results = self
            .database
            .transaction(move |transaction| {
                let (app, customers) = (app.clone(), Arc::clone(&customers));
                Box::pin(async move { app.import_within(transaction, &customers, mode).await })
            })
            .await?;
        let mails_queued = RowOutcome::Imported { mails_queued: true };
        let mails_queued = results.iter().any(|of| of.rows.contains(&mails_queued));
        self.mail_signal.raise_if(mails_queued && !mode.dry_run);
        Ok(results)
    }

    async fn import_within(
        &self,
        transaction: &Transaction,
        customers: &[CustomerRows],
        mode: ImportMode,
    ) -> Result<Outcome<Vec<ImportResult>>> {
        let now = self.now();
        let mut on_file = Vec::with_capacity(customers.len());
        for customer in customers {
            on_file.push(find_on_file(transaction, &customer.number).await?);
        }
        let recipients = mail_recipients(customers, &on_file, mode);
        let mut batch = Batch {
            app: self,
            transaction,
            mode,
            now,
            unknown_order_types: find_unknown_order_types(transaction, customers).await?,
            recipients: self.lock_recipients(transaction, recipients, now).await?,
            imported: ImportedRows::default(),
        };
        let mut results = Vec::with_capacity(customers.len());
        for (customer, on_file) in customers.iter().zip(on_file) {
            results.push(batch.import_customer(customer, on_file).await?);
        }
        if batch.imported.contacts.is_empty() {
            return Ok(Outcome::Rollback(results));
        }
        batch.recipients.save(transaction).await?;
        transaction.insert_imported(&batch.imported, now).await?;
        failpoint("import-written").await;
        Ok(Outcome::Commit(results))
    }
}

impl Batch<'_> {
    async fn import_customer(
        &mut self,
        customer: &CustomerRows,
        on_file: Option<OnFile>,
    ) -> Result<ImportResult> {
        if on_file.is_none()
            && let Err(error) = missing_customer(&customer.number, self.mode, self.now)
        {
            return Ok(ImportResult {
                rows: vec![RowOutcome::Rejected(error); customer.rows.len()],
                customer: CustomerOutcome::Missing,
            });
        }
        let (locked, contacts, imported) = on_file.map_or_else(Default::default, |on_file| {
            (Some(on_file.locked), on_file.contacts, on_file.imported)
        });
        let (rows, valid) = self.validate_rows(&customer.rows, contacts, imported)?;
        let outcome = match &locked {
            Some(locked) => CustomerOutcome::OnFile {
                differing: customer
                    .change
                    .apply_to(&mut locked.customer.clone(), self.now),
            },
            None if valid.is_empty() => CustomerOutcome::Missing,
            None => CustomerOutcome::Created,
        };
        if !valid.is_empty() && !self.mode.dry_run {
            let locked = self.take_numbers(customer, locked, valid.len()).await?;
            self.add_rows(locked, valid)?;
        }
        Ok(ImportResult {
            rows,
            customer: outcome,
        })
    }

    /// Takes a sequence number for each new contact and its event, and returns the first. Creates
    /// the customer if it is missing.
    async fn take_numbers(
        &mut self,
        customer: &CustomerRows,
        locked: Option<LockedCustomer>,
        contacts: usize,
    ) -> Result<LockedCustomer> {
        let (app, number) = (self.app, &customer.number);
        let contacts = i64::try_from(contacts).unwrap_or(i64::MAX);
        if let Some(locked) = locked {
            // The lock took the first one.
            if contacts > 1 {
                self.transaction
                    .take_sequence_numbers(number, contacts - 1)
                    .await?;
            }
            return Ok(locked);
        }
        let mut created = new_customer(number, self.now)?;
        let fields = customer.change.apply_to(&mut created, self.now);
        let mut locked = self
            .transaction
            .insert_customer(created, &app.pseudonyms(number), contacts + 1)
            .await?;
        let (actor, kind) = (Actor::import(), EventKind::CustomerCreated);
        let event = app.event(&locked, &actor, kind, None, &fields)?;
        self.imported.events.push(event);
        locked.sequence_number += 1;
        Ok(locked)
    }

    /// Validates each row against the contacts on file and the valid rows before it.
    fn validate_rows(
        &mut self,
        rows: &[FileRow],
        mut contacts: Vec<Contact>,
        mut seen: HashMap<ImportKey, Option<ImportValues>>,
    ) -> Result<(Vec<RowOutcome>, Vec<ValidRow>)> {
        let (mut outcomes, mut valid) = (Vec::with_capacity(rows.len()), Vec::new());
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
            let validated = self.validate_row(row, &contacts)?;
            let planned = validated.and_then(|row| plan_mail(row, &mut self.recipients, self.now));
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
        Ok((outcomes, valid))
    }

    /// Returns the contact of a row, or the error of the rule that it violates.
    fn validate_row(
        &self,
        row: &FileRow,
        others: &[Contact],
    ) -> Result<std::result::Result<ValidRow, Error>> {
        let (app, now) = (self.app, self.now);
        let id = ContactId(app.random.uuid_v7(now)?);
        let confirmation_id = app.confirmation_id(now)?;
        let (mut contact, mut fields) = new_contact(&row.contact, id, confirmation_id, now);
        if self.mode.emails_confirmed
            && let Some(pending) = contact.pending_email.take()
        {
            contact.email = Some(pending.email);
            fields.retain(|field| *field != "pending_email");
            fields.push("email");
        }
        fields.extend(["types", "display_name"]);
        let checked = check_addition(&contact, others, now)
            .and_then(|()| check_order_types(&row.contact.fields, &self.unknown_order_types));
        Ok(checked.map(|()| ValidRow {
            key: row.key,
            values: row.values(),
            contact,
            fields,
            mail_time: now,
        }))
    }

    /// Adds valid rows to those that are inserted, with the sequence numbers from that of the
    /// customer on.
    fn add_rows(&mut self, mut locked: LockedCustomer, rows: Vec<ValidRow>) -> Result<()> {
        let app = self.app;
        for row in rows {
            let mut contact = row.contact;
            contact.position = locked.sequence_number;
            let (kind, id) = (EventKind::ContactCreated, Some(contact.id));
            let event = app.event(&locked, &Actor::import(), kind, id, &row.fields)?;
            if let Some(pending) = &contact.pending_email {
                let (kind, id) = (MailKind::EmailConfirmation, app.random.uuid_v7(self.now)?);
                let (recipient, pending) = (pending.email.clone(), Some(pending.id));
                let mail = QueuedMail::new(id, kind, &contact, recipient, pending, self.now);
                self.imported.mails.push((mail, row.mail_time));
            }
            self.imported.rows.push((row.key, row.values));
            self.imported.contacts.push(contact);
            self.imported.events.push(event);
            locked.sequence_number += 1;
        }
        Ok(())
    }
}

/// Locks the customer and reads its contacts. `None` if it is not on file.
async fn find_on_file(
    transaction: &Transaction,
    number: &CustomerNumber,
) -> Result<Option<OnFile>> {
    let Some(locked) = transaction.find_and_lock_customer(number).await? else {
        return Ok(None);
    };
    Ok(Some(OnFile {
        locked,
        contacts: transaction.list_contacts(number).await?,
        imported: transaction.list_imported_values(number).await?,
    }))
}

/// Returns the addresses that new rows require to be confirmed by e-mail.
fn mail_recipients<'r>(
    customers: &'r [CustomerRows],
    on_file: &[Option<OnFile>],
    mode: ImportMode,
) -> Vec<&'r EmailAddress> {
    let mut recipients = Vec::new();
    for (customer, on_file) in customers.iter().zip(on_file) {
        if mode.emails_confirmed || (on_file.is_none() && !mode.create_customers) {
            continue;
        }
        let is_new = |row: &&FileRow| {
            let on_file = on_file.as_ref();
            on_file.is_none_or(|on_file| !on_file.imported.contains_key(&row.key))
        };
        let new = customer.rows.iter().filter(is_new);
        recipients.extend(new.filter_map(|row| row.contact.email.as_ref()));
    }
    recipients
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

/// Returns the order types that the restrictions name, with the names of the lists.
fn order_types(fields: &ContactChange) -> [(&'static str, &[OrderTypeCode]); 2] {
    [
        ("allowed_order_types", &fields.allowed_order_types),
        ("denied_order_types", &fields.denied_order_types),
    ]
    .map(|(list, codes)| (list, codes.as_deref().unwrap_or_default()))
}

/// Finds the order types in the rows that are not on file.
async fn find_unknown_order_types<'r>(
    transaction: &Transaction,
    customers: &'r [CustomerRows],
) -> Result<Vec<&'r OrderTypeCode>> {
    let rows = customers.iter().flat_map(|customer| &customer.rows);
    let codes = rows.flat_map(|row| order_types(&row.contact.fields));
    let mut codes: Vec<_> = codes.flat_map(|(_, codes)| codes).collect();
    codes.sort_unstable_by_key(|code| code.as_str());
    codes.dedup();
    transaction.find_unknown_order_types(&codes).await
}

/// Checks that the restrictions name existing order types (rule 20).
fn check_order_types(fields: &ContactChange, unknown: &[&OrderTypeCode]) -> Result<()> {
    let mut violations = Vec::new();
    for (list, codes) in order_types(fields) {
        for (index, code) in codes.iter().enumerate() {
            if unknown.contains(&code) {
                let field = format!("contact.restrictions.{list}[{index}]");
                violations.push(FieldViolation::new(field, Violation::UnknownOrderType));
            }
        }
    }
    if violations.is_empty() {
        Ok(())
    } else {
        Err(Error::InvalidFields(violations))
    }
}
