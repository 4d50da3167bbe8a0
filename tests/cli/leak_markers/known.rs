//! Values of requests: valid ones, which follow from earlier responses, and unknown ones.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use contact_service::api::proto;
use mail_parser::MessageParser;
use prost::{Message, bytes::Bytes};

use super::{DIGITS, HEX, NUMBER, calls::RpcResponse};

const TIMEOUT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// Values from responses that later requests need to succeed.
#[derive(Default)]
pub(super) struct Known {
    pub(super) contact_ids: Vec<String>,
    pub(super) link_token: String,
    pub(super) grant: String,
    pub(super) order_id: String,
    pub(super) one_time_code: String,
    /// Secrets of responses, which must not be logged either.
    pub(super) secrets: Vec<String>,
    /// Replacements in the values, for another set of markers.
    pub(super) overrides: &'static [(&'static str, &'static str)],
}

impl Known {
    /// Returns a value with which a request is likely to succeed.
    pub(super) fn valid_value(&self, field: &str) -> String {
        let value = self.default_value(field);
        let overrides = self.overrides.iter();
        overrides.fold(value, |value, (from, to)| value.replace(from, to))
    }

    fn default_value(&self, field: &str) -> String {
        match field {
            "customer_number" | "customer_numbers" | "confirm_customer_number" => NUMBER.into(),
            "contact_id" => self.contact_ids.last().cloned().unwrap_or_default(),
            "email" | "ordered_by_email" => "zq7k-email@zq7k-domain.example".into(),
            "set_email" => "zq7k-saved@zq7k-domain.example".into(),
            "phone_number" => format!("+49 {DIGITS} 01"),
            "phone_numbers" => format!("+49 {DIGITS} 02"),
            "locale" => "de".into(),
            "phone_password" => "Zq7k Dachs Kranich".into(),
            "token" => self.link_token.clone(),
            "grant" => self.grant.clone(),
            "authorization_id" => self.order_id.clone(),
            "request_id" => unused_id(),
            "code" | "order_type" | "allowed_order_types" => "zq7k-order-type".into(),
            "denied_order_types" => "zq7k-order-type-denied".into(),
            "etag" | "page_token" | "cursor" => String::new(),
            "enhanced_status_code" => "5.1.1".into(),
            "paths" => "*".into(),
            other => format!("Zq7k {other}"),
        }
    }

    /// Stores values and secrets of a response.
    pub(super) fn learn(&mut self, rpc: &str, answer: &RpcResponse, sandbox: &Path) {
        let message = answer.messages.first();
        match rpc {
            "CreateContact" => {
                let created: proto::CreateContactResponse = decode(message);
                let id = created.contact.unwrap().contact_id;
                self.secrets.push(id.clone());
                self.contact_ids.push(id);
                if self.link_token.is_empty() {
                    self.link_token = mailed_token(sandbox, &self.valid_value("customer_number"));
                    let (_, secret) = self.link_token.split_once('.').unwrap();
                    self.secrets.push(secret.to_owned());
                }
            }
            "DeleteContact" => drop(self.contact_ids.pop()),
            "SetPhonePassword" => {
                let set: proto::SetPhonePasswordResponse = decode(message);
                let generated = Some(set.generated_phone_password);
                self.secrets
                    .extend(generated.filter(|text| !text.is_empty()));
            }
            "CheckPhonePassword" => {
                let checked: proto::CheckPhonePasswordResponse = decode(message);
                self.grant = checked.grant;
                self.secrets.push(self.grant.clone());
            }
            "AuthorizePhoneOrder" => {
                let decided: proto::AuthorizePhoneOrderResponse = decode(message);
                self.order_id = decided.order.unwrap().authorization_id;
            }
            "CreateOneTimeCode" => {
                let created: proto::CreateOneTimeCodeResponse = decode(message);
                self.one_time_code = created.code;
            }
            "CheckOneTimeCode" => {
                let checked: proto::CheckOneTimeCodeResponse = decode(message);
                self.secrets.push(checked.grant);
            }
            _ => {}
        }
    }
}

fn decode<M: Message + Default>(message: Option<&Bytes>) -> M {
    M::decode(message.unwrap().as_ref()).unwrap()
}

fn unused_id() -> String {
    static USED: AtomicU32 = AtomicU32::new(0);
    let number = USED.fetch_add(1, Ordering::Relaxed);
    format!("{HEX}-0000-7000-8000-{number:012x}")
}

/// Returns a well-formed value of a field that is not on file.
pub(super) fn unknown(field: &str, known: &Known) -> String {
    match field {
        "customer_number" | "customer_numbers" | "confirm_customer_number" => "zq7k-unknown".into(),
        "contact_id" | "authorization_id" => unused_id(),
        "order_type" | "code" => "zq7k-no-order-type".into(),
        "email" | "set_email" | "ordered_by_email" => "zq7k-unknown@zq7k-nowhere.example".into(),
        "token" => format!("zq7k-unknown.{}", HEX.repeat(8)),
        "grant" | "etag" | "page_token" | "cursor" | "request_id" => {
            format!("zq7k-{field}")
        }
        _ => known.valid_value(field),
    }
}

/// Waits for the confirmation mail of a customer, and returns the token of its link.
fn mailed_token(sandbox: &Path, number: &str) -> String {
    let mut waited = Duration::ZERO;
    while waited < TIMEOUT {
        let mails = fs::read_dir(sandbox.join("data/mail"))
            .into_iter()
            .flatten();
        for mail in mails.map(|entry| fs::read(entry.unwrap().path()).unwrap()) {
            let mail = MessageParser::default().parse(&mail);
            let text = mail.and_then(|mail| Some(mail.body_text(0)?.into_owned()));
            if let Some((_, link)) = text.unwrap_or_default().split_once("/confirm#")
                && link.starts_with(number)
            {
                return link.split_whitespace().next().unwrap().to_owned();
            }
        }
        thread::sleep(PAUSE);
        waited += PAUSE;
    }
    panic!("no link was mailed");
}
