//! The e-mails that a test server sent: parsed files of its mail folder.

use std::{collections::HashSet, fs};

use contact_service::{
    api::proto,
    brand::{Brand, BrandName},
    domain::email_address::EmailAddress,
};
use mail_parser::{Address, MessageParser};
use tonic::Status;

use crate::harness::{PUBLIC_URL, TestServer};

/// Subjects begin with it.
pub const BRAND_NAME: &str = "Example Hosting";

/// The subjects of notices of changes, in German and English.
pub const NOTICES: [&str; 2] = [
    "Änderung bei Ihren Ansprechpartnern",
    "your contacts have changed",
];

/// An e-mail as the recipient sees it.
#[derive(Clone, Debug)]
pub struct Mail {
    pub id: String,
    pub to: String,
    /// Without the brand, with which every subject begins.
    pub subject: String,
    pub text: String,
    pub html: String,
}

impl Mail {
    /// The token of its link, which is the same in the text and HTML parts.
    pub fn token(&self) -> String {
        let begin = format!("{PUBLIC_URL}/confirm#");
        let mut lines = self.text.lines();
        let link = lines
            .find(|line| line.starts_with(&begin))
            .unwrap_or_else(|| panic!("no link in {}", self.text));
        assert_eq!(self.html.matches(link).count(), 2);
        link[begin.len()..].to_owned()
    }

    pub fn has_link(&self) -> bool {
        self.text.contains("://") || self.html.contains("href")
    }
}

impl TestServer {
    /// Sends the due e-mails; returns those not returned before, oldest first, without notices of changes,
    /// which most tests cause.
    pub async fn mails(&self) -> Vec<Mail> {
        let mut mails = self.all_mails().await;
        mails.retain(|mail| !NOTICES.contains(&mail.subject.as_str()));
        mails
    }

    /// Sends the due e-mails; returns those not returned before, oldest first.
    pub async fn all_mails(&self) -> Vec<Mail> {
        self.outbox.deliver_due().await.unwrap();
        let mut read = self.read_mails.lock().unwrap();
        let mut mails: Vec<_> = fs::read_dir(self.mail_folder())
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .filter(|path| read.insert(path.clone()))
            .map(|path| parse(&fs::read(path).unwrap()))
            .collect();
        mails.sort_by(|one, other| one.id.cmp(&other.id));
        mails
    }

    /// The token in the only due e-mail, which must go to this address.
    pub async fn mailed_token(&self, to: &str) -> String {
        let mut mails = self.mails().await;
        let mail = mails.pop().expect("no e-mail is due");
        assert_eq!((mail.to.as_str(), mails.len()), (to, 0));
        mail.token()
    }

    pub async fn confirm(&self, token: &str) -> Result<proto::ConfirmEmailResponse, Status> {
        let token = token.to_owned();
        let request = proto::ConfirmEmailRequest { token };
        let response = self.client().confirm_email(request).await?;
        Ok(response.into_inner())
    }

    pub async fn inspect(
        &self,
        token: &str,
    ) -> Result<proto::InspectEmailConfirmationResponse, Status> {
        let token = token.to_owned();
        let request = proto::InspectEmailConfirmationRequest { token };
        let response = self.client().inspect_email_confirmation(request).await?;
        Ok(response.into_inner())
    }

    pub async fn resend(&self, contact: &proto::Contact) -> Result<proto::Contact, Status> {
        let request = proto::ResendEmailConfirmationRequest {
            customer_number: contact.customer_number.clone(),
            contact_id: contact.contact_id.clone(),
            ..proto::ResendEmailConfirmationRequest::default()
        };
        let response = self.client().resend_email_confirmation(request).await?;
        Ok(response.into_inner().contact.unwrap())
    }

    /// Gives a contact a confirmed address through its link. Leaves no e-mail unread.
    pub async fn set_confirmed_email(&self, contact: &proto::Contact, email: &str) {
        let email = EmailAddress::parse(email).unwrap();
        let email = email.as_str();
        let mut mails = self.mails().await;
        let pending = self.contact(contact).await.pending_email;
        if pending.is_none_or(|pending| pending.email != email) {
            self.change_email(contact, email).await.unwrap();
            mails = self.mails().await;
        }
        let is_to_it = |mail: &&Mail| mail.has_link() && mail.to == email;
        let token = if let Some(mail) = mails.iter().rev().find(is_to_it) {
            mail.token()
        } else {
            // Its e-mail was read before.
            self.resend(contact).await.unwrap();
            self.mailed_token(email).await
        };
        self.confirm(&token).await.unwrap();
        self.mails().await;
    }
}

/// The brand of the page and of all e-mails.
pub fn brand() -> Brand {
    Brand::new(BrandName::parse(BRAND_NAME).unwrap())
}

/// The file names of the e-mails that were returned.
pub type ReadMails = std::sync::Mutex<HashSet<std::path::PathBuf>>;

fn parse(bytes: &[u8]) -> Mail {
    let message = MessageParser::default().parse(bytes).unwrap();
    let Some(Address::List(to)) = message.to() else {
        panic!("no list of addressees");
    };
    let [to] = to.as_slice() else {
        panic!("{} addressees", to.len());
    };
    assert_eq!(to.name, None);
    let prefix = format!("{BRAND_NAME}: ");
    let subject = message.subject().unwrap().strip_prefix(&prefix);
    Mail {
        id: message.message_id().unwrap().to_owned(),
        to: to.address.as_ref().unwrap().to_string(),
        subject: subject
            .unwrap_or_else(|| panic!("a subject without the brand"))
            .to_owned(),
        text: message.body_text(0).unwrap().into_owned(),
        html: message.body_html(0).unwrap().into_owned(),
    }
}
