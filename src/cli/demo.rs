//! The calls that `serve --demo` prints, ready to paste.

use std::fmt::Display;

use chrono::TimeDelta;
use contact_service::{
    api::auth::Scope,
    app::{App, demo},
    config::Config,
    domain::{contact_types::ContactTypes, ids::CustomerNumber},
    server::SERVICE_NAME,
};

use crate::cli::{startup_error::StartupError, token::MintToken};

const TOKEN_TTL: TimeDelta = TimeDelta::hours(12);

/// Calls in the order in which they are printed: a title, the RPC and its request.
const CALLS: [(&str, &str, &str); 8] = [
    (
        "The recipients of an invoice of K-1001, and the contacts that are excluded",
        "ResolveRecipients",
        r#"{"customer_number":"K-1001","purpose":"PURPOSE_INVOICE"}"#,
    ),
    (
        "The invoice of K-1002 goes by post: no contact has a confirmed address",
        "ResolveRecipients",
        r#"{"customer_number":"K-1002","purpose":"PURPOSE_INVOICE"}"#,
    ),
    (
        "The recipients of a security notice for K-1003",
        "ResolveRecipients",
        r#"{"customer_number":"K-1003","purpose":"PURPOSE_SECURITY_NOTICE"}"#,
    ),
    (
        "The contacts of K-1001",
        "ListContacts",
        r#"{"customer_number":"K-1001"}"#,
    ),
    (
        "Another contact for K-1003",
        "CreateContact",
        r#"{"customer_number":"K-1003","email":"fritz@verein.example","contact":{"types":["CONTACT_TYPE_STANDARD"],"display_name":"Fritz Lang"}}"#,
    ),
    (
        "A new address for the first contact of K-1001; a confirmation link is mailed",
        "ChangeEmail",
        r#"{"customer_number":"K-1001","contact_id":"FIRST_CONTACT","email":"anna.neu@muster.example"}"#,
    ),
    (
        "The contact with this phone number (examples/call_center goes on from here)",
        "VerifyContactChannel",
        r#"{"customer_number":"K-1001","phone_number":"0171 1234563"}"#,
    ),
    (
        "The audit log of K-1003",
        "ListAuditEvents",
        r#"{"customer_number":"K-1003"}"#,
    ),
];

/// Prints a token for the sample customers, and calls of a server at `address`.
pub(crate) async fn print_calls(
    config: &Config,
    app: &App,
    address: impl Display,
) -> Result<(), StartupError> {
    let token = mint_token(config)?;
    let first_contact = first_contact(app, "K-1001").await?;
    let customers: Vec<_> = demo::sample_numbers().collect();
    println!(
        "Sample customers: {}. A token for them (12 hours):\n",
        customers.join(", ")
    );
    println!("export CONTACT_SERVICE_TOKEN={token}\n");
    for (title, rpc, request) in CALLS {
        let request = request.replace("FIRST_CONTACT", &first_contact);
        println!("# {title}");
        println!(
            "buf curl --protocol grpc --http2-prior-knowledge \
             -H 'authorization: Bearer {token}' -d '{request}' \
             http://{address}/{SERVICE_NAME}/{rpc}\n"
        );
    }
    if config.smtp_url.is_some() {
        println!("E-mails are sent by SMTP_URL.");
    } else {
        let folder = config.mail_dir();
        println!(
            "E-mails are written to {}. Open the link of one in a browser.",
            folder.display()
        );
    }
    Ok(())
}

fn mint_token(config: &Config) -> Result<String, StartupError> {
    let ttl = TOKEN_TTL.min(config.auth.max_lifetime);
    let token = MintToken {
        sub: "me".into(),
        scope: Scope::ALL.map(Scope::as_str).join(" "),
        customer: None,
        ttl: format!("{}s", ttl.num_seconds()),
    };
    token.mint(config)
}

async fn first_contact(app: &App, number: &str) -> Result<String, StartupError> {
    let number = CustomerNumber::parse(number)
        .map_err(|_| StartupError::Samples("invalid customer number".to_owned()))?;
    let page = app.list_contacts(&number, ContactTypes::default(), i64::MIN, 1);
    let page = page.await;
    let page = page.map_err(|error| StartupError::Samples(error.to_string()))?;
    let first = page.contacts.first();
    Ok(first.map_or_else(String::new, |contact| contact.id.0.to_string()))
}
