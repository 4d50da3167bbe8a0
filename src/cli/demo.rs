//! The calls that `serve --demo` prints, ready to paste.

use std::fmt::Display;

use chrono::TimeDelta;
use contact_service::{
    app::{App, demo},
    config::Config,
    domain::{contact_types::ContactTypes, ids::CustomerNumber},
    server::SERVICE_NAME,
};

use crate::cli::{startup_error::StartupError, token::MintToken};

/// The option of all clients that adds the token.
const BEARER: &str = r#"-H "authorization: Bearer $CONTACT_SERVICE_TOKEN""#;
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
        "The customer and contact with this phone number (examples/call_center goes on from here)",
        "FindCustomers",
        r#"{"phone_number":"0171 1234563"}"#,
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
    let url = format!("http://{address}/{SERVICE_NAME}");
    for (title, rpc, request) in CALLS {
        let request = request.replace("FIRST_CONTACT", &first_contact);
        println!("# {title}");
        if config.serves_http_json {
            println!(
                "curl {BEARER} -H 'content-type: application/json' -d '{request}' {url}/{rpc}\n"
            );
        } else {
            println!("{} call {rpc} '{request}'\n", program());
        }
    }
    print_other_clients(&address.to_string());
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

/// Prints the first call for other clients.
fn print_other_clients(address: &str) {
    let [(_, rpc, request), ..] = CALLS;
    println!("# The first of them over gRPC, which describes itself by reflection");
    println!("{} call {rpc} '{request}'\n", program());
    println!("# With buf (https://buf.build/docs/cli/installation)");
    println!(
        "buf curl --protocol grpc --http2-prior-knowledge {BEARER} -d '{request}' \
         http://{address}/{SERVICE_NAME}/{rpc}\n"
    );
    println!("# With grpcurl (https://github.com/fullstorydev/grpcurl#installation)");
    println!("grpcurl -plaintext {BEARER} -d '{request}' {address} {SERVICE_NAME}/{rpc}\n");
}

/// Returns the path of this program, which is seldom on the search path where the demo is tried.
fn program() -> String {
    let path = std::env::current_exe();
    path.map_or_else(
        |_| "contact-service".to_owned(),
        |path| path.display().to_string(),
    )
}

/// Mints a token with all scopes for all customers.
pub(crate) fn mint_token(config: &Config) -> Result<String, StartupError> {
    let ttl = TOKEN_TTL.min(config.auth.max_lifetime);
    let ttl = format!("{}s", ttl.num_seconds());
    MintToken::with_all_scopes(&ttl).mint(config)
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
