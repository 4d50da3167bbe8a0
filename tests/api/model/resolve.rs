//! Turns commands into requests: chooses the contact, etag and grant in the current state.

use contact_service::api::proto::{
    self, email_change::Change as EmailEdit, phone_password_change::Change as PasswordEdit,
    set_phone_password_request::Source,
};
use prost_types::FieldMask;

use super::{
    commands::{Command, Etag, GrantDefect, Pick},
    contacts::Contact,
    driver::Driver,
    fields::{NUMBER_AS_PASSWORD, PASSWORDS, address_of},
    names::Names,
    phone::Grant,
    reference_model::Customer,
    requests::Request,
};
use crate::requests::mask;

/// A request about a contact.
macro_rules! of {
    ($self:expr, $contact:expr, $rpc:ident, $request:ident { $($rest:tt)* }) => {{
        let (customer_number, contact_id) = $self.pick($contact);
        #[allow(clippy::needless_update, reason = "some requests have no further fields")]
        let request = proto::$request {
            customer_number,
            contact_id,
            $($rest)*
            ..proto::$request::default()
        };
        Request::$rpc(request)
    }};
}

impl Driver<'_> {
    pub fn order_type(&self, code: usize) -> String {
        format!("{}.{code}", self.base)
    }

    /// The number and the label of a contact.
    pub fn pick(&self, pick: Pick) -> (String, String) {
        let unknown = |index| (self.numbers[0].clone(), Names::unknown(index));
        let customers = self.model.customers.values();
        let live: Vec<_> = customers.flat_map(|customer| &customer.contacts).collect();
        match pick {
            Pick::Live(index) => match pick_of(&live, index) {
                Some(contact) => (contact.number.clone(), contact.id.clone()),
                None => unknown(0),
            },
            Pick::Misplaced(index) => match pick_of(&live, index) {
                Some(contact) => {
                    let mut numbers = self.numbers.iter();
                    let other = numbers.find(|number| **number != contact.number);
                    (other.unwrap().clone(), contact.id.clone())
                }
                None => unknown(0),
            },
            Pick::Any(index) => match pick_of(&self.owners, index) {
                Some(owner) => (owner.clone(), format!("#{}", index % self.owners.len())),
                None => unknown(0),
            },
            Pick::Unknown(index) => unknown(index),
        }
    }

    fn etag_of(&self, etag: Etag, (number, id): &(String, String)) -> String {
        let contact = self.model.contact(number, id).ok();
        etag_as(
            etag,
            contact.map(|contact| contact.as_of(self.model.now).etag()),
        )
    }

    /// The request of a command in the current state. `None`: the command does not apply.
    pub fn resolve(&self, command: &Command, agent: usize) -> Option<Request> {
        let mut request = self.request(command, agent)?;
        let number = request.number().to_owned();
        let email = match &mut request {
            Request::SetAttentionLine(r) => Some(&mut r.ordered_by_email),
            Request::CreateContact(r) => Some(&mut r.email),
            Request::ChangeEmail(r) => Some(&mut r.email),
            Request::UpdateCustomer(r) => {
                let data = r.customer.as_mut().and_then(|c| c.contact_data.as_mut());
                data.map(|data| &mut data.email)
            }
            _ => None,
        };
        if let Some(email) = email {
            *email = address_of(email, &number);
        }
        Some(request)
    }

    fn request(&self, command: &Command, agent: usize) -> Option<Request> {
        Some(match command.clone() {
            Command::UpdateCustomer {
                customer,
                fields,
                mask,
                etag,
                allow_missing,
            } => {
                let number = self.numbers[customer].clone();
                let current = self.model.customer(&number).ok().map(Customer::etag);
                Request::UpdateCustomer(proto::UpdateCustomerRequest {
                    customer: Some(proto::Customer {
                        customer_number: number,
                        etag: etag_as(etag, current),
                        ..fields
                    }),
                    update_mask: mask_of(&mask),
                    allow_missing,
                    ..proto::UpdateCustomerRequest::default()
                })
            }
            Command::Confirm(index) => {
                let places: Vec<_> = self.names.tokens.keys().collect();
                // Mostly one of the last ones.
                let newest_first: Vec<_> = places.iter().rev().collect();
                let token = format!("link {}", pick_of(&newest_first, index)?);
                Request::ConfirmEmail(proto::ConfirmEmailRequest { token })
            }
            Command::Authorize {
                grant,
                grant_defect,
                order_type,
                administers,
            } => return self.authorize(agent, (grant, grant_defect), order_type, administers),
            other => return Some(self.resolve_of_customer(other)),
        })
    }

    fn resolve_of_customer(&self, command: Command) -> Request {
        match command {
            Command::SetAttentionLine {
                customer,
                suppressed,
                from,
            } => Request::SetAttentionLine(proto::SetAttentionLineRequest {
                customer_number: self.numbers[customer].clone(),
                suppressed,
                ordered_by_email: from,
                ..proto::SetAttentionLineRequest::default()
            }),
            Command::EraseCustomer {
                customer,
                is_confirmed,
            } => {
                let customer_number = self.numbers[customer].clone();
                let confirm_customer_number = if is_confirmed {
                    customer_number.clone()
                } else {
                    self.numbers[(customer + 1) % 3].clone()
                };
                Request::EraseCustomer(proto::EraseCustomerRequest {
                    customer_number,
                    confirm_customer_number,
                })
            }
            Command::UpdateOrderType {
                code,
                system_management,
                by_phone,
                allow_missing,
            } => Request::UpdateOrderType(proto::UpdateOrderTypeRequest {
                order_type: Some(proto::OrderType {
                    code: self.order_type(code),
                    display_name: format!("Bestellung {code}"),
                    system_management,
                    offered_by_phone: by_phone,
                    retired: false,
                    ..proto::OrderType::default()
                }),
                allow_missing,
                update_mask: Some(FieldMask {
                    paths: vec!["*".into()],
                }),
                ..proto::UpdateOrderTypeRequest::default()
            }),
            other => self.resolve_of_contact(other),
        }
    }

    fn resolve_of_contact(&self, command: Command) -> Request {
        match command {
            Command::CreateContact {
                customer,
                fields,
                email,
                password,
                request,
                validate_only,
            } => {
                let number = self.numbers[customer].clone();
                let password = password.map(|index| password_of(index, &number));
                Request::CreateContact(proto::CreateContactRequest {
                    contact: Some(self.with_order_types(fields)),
                    email,
                    phone_password: password.unwrap_or_default(),
                    request_id: request_id(request),
                    validate_only,
                    customer_number: number,
                    ..proto::CreateContactRequest::default()
                })
            }
            Command::UpdateContact {
                contact,
                fields,
                mask,
                email,
                password,
                etag,
                request,
                validate_only,
            } => {
                let of = self.pick(contact);
                let number = of.0.clone();
                Request::UpdateContact(proto::UpdateContactRequest {
                    contact: Some(proto::Contact {
                        etag: self.etag_of(etag, &of),
                        customer_number: of.0,
                        contact_id: of.1,
                        ..self.with_order_types(fields)
                    }),
                    update_mask: mask_of(&mask),
                    email_change: email.map(|edit| email_change(edit, &number)),
                    phone_password_change: password.map(|edit| password_change(edit, &number)),
                    request_id: request_id(request),
                    validate_only,
                    ..proto::UpdateContactRequest::default()
                })
            }
            Command::DeleteContact {
                contact,
                etag,
                request,
                validate_only,
            } => {
                let of = self.pick(contact);
                Request::DeleteContact(proto::DeleteContactRequest {
                    etag: self.etag_of(etag, &of),
                    customer_number: of.0,
                    contact_id: of.1,
                    request_id: request_id(request),
                    validate_only,
                    ..proto::DeleteContactRequest::default()
                })
            }
            other => self.resolve_of_channel(other),
        }
    }

    fn resolve_of_channel(&self, command: Command) -> Request {
        match command {
            Command::ChangeEmail {
                contact,
                email,
                request,
            } => of!(
                self,
                contact,
                ChangeEmail,
                ChangeEmailRequest {
                    email,
                    request_id: request_id(request),
                }
            ),
            Command::RemoveEmail { contact, request } => {
                of!(
                    self,
                    contact,
                    RemoveEmail,
                    RemoveEmailRequest {
                        request_id: request_id(request),
                    }
                )
            }
            Command::CancelEmailChange(contact) => {
                of!(
                    self,
                    contact,
                    CancelEmailChange,
                    CancelEmailChangeRequest {}
                )
            }
            Command::Resend(contact) => {
                of!(
                    self,
                    contact,
                    ResendEmailConfirmation,
                    ResendEmailConfirmationRequest {}
                )
            }
            other => self.resolve_of_password(other),
        }
    }

    fn resolve_of_password(&self, command: Command) -> Request {
        match command {
            Command::SetPhonePassword { contact, password } => {
                let number = self.pick(contact).0;
                let source = match password {
                    Some(index) => Source::PhonePassword(password_of(index, &number)),
                    None => Source::Generate(true),
                };
                of!(
                    self,
                    contact,
                    SetPhonePassword,
                    SetPhonePasswordRequest {
                        source: Some(source),
                    }
                )
            }
            Command::ClearPhonePassword(contact) => {
                of!(
                    self,
                    contact,
                    ClearPhonePassword,
                    ClearPhonePasswordRequest {}
                )
            }
            Command::Unlock(contact) => of!(
                self,
                contact,
                UnlockPhonePassword,
                UnlockPhonePasswordRequest {
                    reason: "Rückruf".into(),
                }
            ),
            Command::CheckPhonePassword {
                contact,
                call,
                is_right,
            } => {
                // The right password is taken from a contact that has one.
                let contact = if is_right {
                    self.with_password(contact)
                } else {
                    contact
                };
                let (number, id) = self.pick(contact);
                let right = self
                    .model
                    .attempts
                    .spoken(&number, &id)
                    .filter(|_| is_right);
                let phone_password = right.unwrap_or_else(|| "falscher Hase".to_owned());
                let call_id = self.call_id(call);
                of!(
                    self,
                    contact,
                    CheckPhonePassword,
                    CheckPhonePasswordRequest {
                        phone_password,
                        call_id,
                    }
                )
            }
            other => panic!("{other:?} is no request"),
        }
    }

    fn with_password(&self, pick: Pick) -> Pick {
        let customers = self.model.customers.values();
        let live = customers
            .flat_map(|customer| &customer.contacts)
            .enumerate();
        let has_one = |contact: &Contact| self.model.attempts.spoken(&contact.number, &contact.id);
        let those: Vec<_> = live
            .filter(|(_, contact)| has_one(contact).is_some())
            .map(|(place, _)| place)
            .collect();
        match pick {
            Pick::Live(index) => Pick::Live(pick_of(&those, index).copied().unwrap_or(index)),
            other => other,
        }
    }

    fn call_id(&self, call: usize) -> String {
        format!("{}-call-{call}", self.base)
    }

    /// With a grant that was issued, or an altered one.
    fn authorize(
        &self,
        agent: usize,
        (grant, grant_defect): (usize, GrantDefect),
        order_type: usize,
        administers: bool,
    ) -> Option<Request> {
        let is_mine = |grant: &Grant| grant.agent == self.agents[agent];
        let all = self.model.grants.iter().enumerate();
        let mine: Vec<_> = all
            .filter(|(_, grant)| is_mine(grant) != (grant_defect == GrantDefect::Agent))
            .collect();
        // The newest ones first: the others have expired.
        let (place, grant) = mine.iter().rev().nth(grant % 3 % mine.len().max(1))?;
        let mut request = proto::AuthorizePhoneOrderRequest {
            customer_number: grant.number.clone(),
            contact_id: grant.contact.clone(),
            grant: format!("grant {place}"),
            call_id: grant.call.clone(),
            order_type: self.order_type(order_type),
            customer_administers_product: administers,
        };
        match grant_defect {
            GrantDefect::Nothing | GrantDefect::Agent => {}
            GrantDefect::Call => request.call_id.push('x'),
            GrantDefect::Contact => request.contact_id = Names::unknown(0),
            GrantDefect::Text => request.grant.insert(0, 'x'),
        }
        Some(Request::AuthorizePhoneOrder(request))
    }

    /// Replaces order types by those of the history.
    fn with_order_types(&self, mut fields: proto::Contact) -> proto::Contact {
        if let Some(restrictions) = &mut fields.restrictions {
            let lists = [
                &mut restrictions.allowed_order_types,
                &mut restrictions.denied_order_types,
            ];
            for code in lists.into_iter().flatten() {
                *code = format!("{}.{code}", self.base);
            }
        }
        fields
    }
}

fn etag_as(etag: Etag, current: Option<String>) -> String {
    let current = current.unwrap_or_else(|| "0-0".to_owned());
    match etag {
        Etag::None => String::new(),
        Etag::Current => current,
        Etag::Stale => {
            let version = current.rsplit_once(".v");
            let version = version.and_then(|(of, v)| Some((of, v.parse::<usize>().ok()?)));
            match version {
                Some((of, version)) if version > 1 => format!("{of}.v{}", version - 1),
                _ => "0-0".to_owned(),
            }
        }
    }
}

/// With the address at the customer's own domain.
fn email_change(edit: EmailEdit, number: &str) -> proto::EmailChange {
    let edit = match edit {
        EmailEdit::SetEmail(email) => EmailEdit::SetEmail(address_of(&email, number)),
        other => other,
    };
    proto::EmailChange { change: Some(edit) }
}

/// With the password of the index in the command.
fn password_change(edit: PasswordEdit, number: &str) -> proto::PhonePasswordChange {
    let edit = match edit {
        PasswordEdit::NewPhonePassword(index) => {
            let index = index.parse().expect("no index of a password");
            PasswordEdit::NewPhonePassword(password_of(index, number))
        }
        other => other,
    };
    proto::PhonePasswordChange { change: Some(edit) }
}

fn password_of(index: usize, number: &str) -> String {
    match index {
        NUMBER_AS_PASSWORD => number.to_owned(),
        index => PASSWORDS[index].0.to_owned(),
    }
}

fn mask_of(paths: &[String]) -> Option<FieldMask> {
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    mask(&paths)
}

/// One of a few ids, so that they are reused. Ids are scoped to the caller.
fn request_id(index: Option<usize>) -> String {
    index.map_or_else(String::new, |index| {
        format!("0190d6d2-5a3c-7cc1-8f2e-{index:012}")
    })
}

pub fn pick_of<T>(all: &[T], index: usize) -> Option<&T> {
    all.get(index.checked_rem(all.len())?)
}
