//! The mutating requests and their responses in the terms of the model: ids, etags, grants, links
//! and generated passwords are labels.

use contact_service::api::proto;
use tonic::Status;

use crate::harness::Client;

/// A request of a mutating RPC.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    UpdateCustomer(proto::UpdateCustomerRequest),
    SetAttentionLine(proto::SetAttentionLineRequest),
    CreateContact(proto::CreateContactRequest),
    UpdateContact(proto::UpdateContactRequest),
    DeleteContact(proto::DeleteContactRequest),
    ChangeEmail(proto::ChangeEmailRequest),
    RemoveEmail(proto::RemoveEmailRequest),
    CancelEmailChange(proto::CancelEmailChangeRequest),
    ResendEmailConfirmation(proto::ResendEmailConfirmationRequest),
    ConfirmEmail(proto::ConfirmEmailRequest),
    SetPhonePassword(proto::SetPhonePasswordRequest),
    ClearPhonePassword(proto::ClearPhonePasswordRequest),
    CheckPhonePassword(proto::CheckPhonePasswordRequest),
    UnlockPhonePassword(proto::UnlockPhonePasswordRequest),
    AuthorizePhoneOrder(proto::AuthorizePhoneOrderRequest),
    UpdateOrderType(proto::UpdateOrderTypeRequest),
    EraseCustomer(proto::EraseCustomerRequest),
}

/// The response to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    Customer(proto::Customer),
    Contact(proto::Contact),
    Nothing,
    Confirmed(proto::ConfirmEmailResponse),
    PasswordSet(proto::SetPhonePasswordResponse),
    Checked(Box<proto::CheckPhonePasswordResponse>),
    Decided(proto::AuthorizePhoneOrderResponse),
    OrderType(proto::OrderType),
}

impl Response {
    fn customer(customer: Option<proto::Customer>) -> Self {
        Self::Customer(customer.expect("no customer in the response"))
    }

    fn contact(contact: Option<proto::Contact>) -> Self {
        Self::Contact(contact.expect("no contact in the response"))
    }

    /// The kind of the response, for counting.
    pub fn name(&self) -> String {
        match self {
            Self::Checked(checked) => format!("{:?}", checked.verdict()),
            Self::Decided(decided) => {
                let order = decided.order.as_ref().expect("no order");
                format!("{:?} {:?}", order.decision(), order.denial())
            }
            Self::Confirmed(confirmed) if confirmed.already_confirmed => "already".to_owned(),
            _ => "done".to_owned(),
        }
    }

    /// The contact in the response.
    pub fn shown_contact(&mut self) -> Option<&mut proto::Contact> {
        match self {
            Self::Contact(contact) => Some(contact),
            Self::PasswordSet(set) => set.contact.as_mut(),
            _ => None,
        }
    }
}

/// A place in a request that can contain a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelSlot<'r> {
    ContactId,
    /// With its owner, because two contacts of one instant may have equal etags.
    Etag(&'r str),
    Grant,
    Token,
    PhonePassword,
}

impl Request {
    /// The name of its RPC.
    pub fn rpc(&self) -> &'static str {
        match self {
            Self::UpdateCustomer(_) => "UpdateCustomer",
            Self::SetAttentionLine(_) => "SetAttentionLine",
            Self::CreateContact(_) => "CreateContact",
            Self::UpdateContact(_) => "UpdateContact",
            Self::DeleteContact(_) => "DeleteContact",
            Self::ChangeEmail(_) => "ChangeEmail",
            Self::RemoveEmail(_) => "RemoveEmail",
            Self::CancelEmailChange(_) => "CancelEmailChange",
            Self::ResendEmailConfirmation(_) => "ResendEmailConfirmation",
            Self::ConfirmEmail(_) => "ConfirmEmail",
            Self::SetPhonePassword(_) => "SetPhonePassword",
            Self::ClearPhonePassword(_) => "ClearPhonePassword",
            Self::CheckPhonePassword(_) => "CheckPhonePassword",
            Self::UnlockPhonePassword(_) => "UnlockPhonePassword",
            Self::AuthorizePhoneOrder(_) => "AuthorizePhoneOrder",
            Self::UpdateOrderType(_) => "UpdateOrderType",
            Self::EraseCustomer(_) => "EraseCustomer",
        }
    }

    /// The customer that it is about; for a link, the one that its token names.
    pub fn number(&self) -> &str {
        match self {
            Self::UpdateCustomer(r) => r.customer.as_ref().map_or("", |c| &c.customer_number),
            Self::UpdateContact(r) => r.contact.as_ref().map_or("", |c| &c.customer_number),
            Self::SetAttentionLine(r) => &r.customer_number,
            Self::CreateContact(r) => &r.customer_number,
            Self::DeleteContact(r) => &r.customer_number,
            Self::ChangeEmail(r) => &r.customer_number,
            Self::RemoveEmail(r) => &r.customer_number,
            Self::CancelEmailChange(r) => &r.customer_number,
            Self::ResendEmailConfirmation(r) => &r.customer_number,
            Self::SetPhonePassword(r) => &r.customer_number,
            Self::ClearPhonePassword(r) => &r.customer_number,
            Self::CheckPhonePassword(r) => &r.customer_number,
            Self::UnlockPhonePassword(r) => &r.customer_number,
            Self::AuthorizePhoneOrder(r) => &r.customer_number,
            Self::EraseCustomer(r) => &r.customer_number,
            Self::ConfirmEmail(_) | Self::UpdateOrderType(_) => "",
        }
    }

    /// The request id; empty: none.
    pub fn request_id(&self) -> &str {
        match self {
            Self::CreateContact(r) => &r.request_id,
            Self::UpdateContact(r) => &r.request_id,
            Self::DeleteContact(r) => &r.request_id,
            Self::ChangeEmail(r) => &r.request_id,
            Self::RemoveEmail(r) => &r.request_id,
            _ => "",
        }
    }

    /// Sets the request id if the request has one.
    pub fn set_request_id(&mut self, id: String) -> bool {
        let place = match self {
            Self::CreateContact(r) => &mut r.request_id,
            Self::UpdateContact(r) => &mut r.request_id,
            Self::DeleteContact(r) => &mut r.request_id,
            Self::ChangeEmail(r) => &mut r.request_id,
            Self::RemoveEmail(r) => &mut r.request_id,
            _ => return false,
        };
        *place = id;
        true
    }

    pub fn has_etag(&self) -> bool {
        match self {
            Self::UpdateCustomer(r) => r.customer.as_ref().is_some_and(|c| !c.etag.is_empty()),
            Self::UpdateContact(r) => r.contact.as_ref().is_some_and(|c| !c.etag.is_empty()),
            Self::DeleteContact(r) => !r.etag.is_empty(),
            _ => false,
        }
    }

    pub fn is_validate_only(&self) -> bool {
        match self {
            Self::CreateContact(r) => r.validate_only,
            Self::UpdateContact(r) => r.validate_only,
            Self::DeleteContact(r) => r.validate_only,
            _ => false,
        }
    }

    /// The content by which two requests with one id are compared: all fields except the id and
    /// `validate_only`.
    pub fn content(&self) -> Self {
        let mut content = self.clone();
        content.set_request_id(String::new());
        match &mut content {
            Self::CreateContact(r) => r.validate_only = false,
            Self::UpdateContact(r) => r.validate_only = false,
            Self::DeleteContact(r) => r.validate_only = false,
            _ => {}
        }
        content
    }

    /// The same request with each label replaced.
    pub fn with(mut self, text: &mut dyn FnMut(LabelSlot<'_>, &str) -> String) -> Self {
        let mut set = |place: LabelSlot<'_>, kept: &mut String| *kept = text(place, kept);
        match &mut self {
            Self::UpdateCustomer(r) => {
                if let Some(customer) = &mut r.customer {
                    set(
                        LabelSlot::Etag(&customer.customer_number),
                        &mut customer.etag,
                    );
                }
            }
            Self::UpdateContact(r) => {
                if let Some(contact) = &mut r.contact {
                    set(LabelSlot::Etag(&contact.contact_id), &mut contact.etag);
                    set(LabelSlot::ContactId, &mut contact.contact_id);
                }
            }
            Self::DeleteContact(r) => {
                set(LabelSlot::Etag(&r.contact_id), &mut r.etag);
                set(LabelSlot::ContactId, &mut r.contact_id);
            }
            Self::ChangeEmail(r) => set(LabelSlot::ContactId, &mut r.contact_id),
            Self::RemoveEmail(r) => set(LabelSlot::ContactId, &mut r.contact_id),
            Self::CancelEmailChange(r) => set(LabelSlot::ContactId, &mut r.contact_id),
            Self::ResendEmailConfirmation(r) => set(LabelSlot::ContactId, &mut r.contact_id),
            Self::ConfirmEmail(r) => set(LabelSlot::Token, &mut r.token),
            Self::SetPhonePassword(r) => set(LabelSlot::ContactId, &mut r.contact_id),
            Self::ClearPhonePassword(r) => set(LabelSlot::ContactId, &mut r.contact_id),
            Self::CheckPhonePassword(r) => {
                set(LabelSlot::ContactId, &mut r.contact_id);
                set(LabelSlot::PhonePassword, &mut r.phone_password);
            }
            Self::UnlockPhonePassword(r) => set(LabelSlot::ContactId, &mut r.contact_id),
            Self::AuthorizePhoneOrder(r) => {
                set(LabelSlot::ContactId, &mut r.contact_id);
                set(LabelSlot::Grant, &mut r.grant);
            }
            Self::SetAttentionLine(_)
            | Self::CreateContact(_)
            | Self::UpdateOrderType(_)
            | Self::EraseCustomer(_) => {}
        }
        self
    }

    pub async fn send(self, mut client: Client) -> Result<Response, Status> {
        macro_rules! call {
            ($rpc:ident, $request:expr) => {
                client.$rpc($request).await?.into_inner()
            };
        }
        Ok(match self {
            Self::UpdateCustomer(r) => Response::customer(call!(update_customer, r).customer),
            Self::SetAttentionLine(r) => Response::customer(call!(set_attention_line, r).customer),
            Self::CreateContact(r) => Response::contact(call!(create_contact, r).contact),
            Self::UpdateContact(r) => Response::contact(call!(update_contact, r).contact),
            Self::DeleteContact(r) => {
                call!(delete_contact, r);
                Response::Nothing
            }
            Self::ChangeEmail(r) => Response::contact(call!(change_email, r).contact),
            Self::RemoveEmail(r) => Response::contact(call!(remove_email, r).contact),
            Self::CancelEmailChange(r) => Response::contact(call!(cancel_email_change, r).contact),
            Self::ResendEmailConfirmation(r) => {
                Response::contact(call!(resend_email_confirmation, r).contact)
            }
            Self::ConfirmEmail(r) => Response::Confirmed(call!(confirm_email, r)),
            Self::SetPhonePassword(r) => Response::PasswordSet(call!(set_phone_password, r)),
            Self::ClearPhonePassword(r) => {
                Response::contact(call!(clear_phone_password, r).contact)
            }
            Self::CheckPhonePassword(r) => {
                Response::Checked(Box::new(call!(check_phone_password, r)))
            }
            Self::UnlockPhonePassword(r) => {
                Response::contact(call!(unlock_phone_password, r).contact)
            }
            Self::AuthorizePhoneOrder(r) => Response::Decided(call!(authorize_phone_order, r)),
            Self::UpdateOrderType(r) => {
                let order_type = call!(update_order_type, r).order_type;
                Response::OrderType(order_type.expect("no order type in the response"))
            }
            Self::EraseCustomer(r) => {
                call!(erase_customer, r);
                Response::Nothing
            }
        })
    }
}
