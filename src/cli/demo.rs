//! The calls that `serve --demo` prints, ready to paste.

use contact_service::{
    app::{App, demo},
    domain::{contact_types::ContactTypes, ids::CustomerNumber},
    server::SERVICE_NAME,
};

/// Where the demo's calls go, and with which token.
pub(crate) struct Target<'t> {
    pub(crate) address: &'t str,
    pub(crate) token: &'t str,
    /// What to say of the mails that the calls bring about.
    pub(crate) mails: &'t str,
}

/// Prints the token and the calls.
pub(crate) async fn print(app: &App, target: Target<'_>) -> Result<(), String> {
    let Target {
        address,
        token,
        mails,
    } = target;
    let customers: Vec<_> = demo::sample_numbers().collect();
    println!(
        "Sample customers: {}. A token for them (12 hours):\n",
        customers.join(", ")
    );
    println!("export CONTACT_SERVICE_TOKEN={token}\n");
    let change_email = format!(
        r#"{{"customer_number":"K-1001","contact_id":"{}","email":"anna.neu@muster.example"}}"#,
        first_contact(app, "K-1001").await?
    );
    for (what, rpc, body) in [
        (
            "Who gets the invoice of K-1001, who not, and why",
            "ResolveRecipients",
            r#"{"customer_number":"K-1001","purpose":"PURPOSE_INVOICE"}"#,
        ),
        (
            "The invoice of K-1002 goes by post: nobody has a confirmed address",
            "ResolveRecipients",
            r#"{"customer_number":"K-1002","purpose":"PURPOSE_INVOICE"}"#,
        ),
        (
            "Who must hear of a security problem of K-1003",
            "ResolveRecipients",
            r#"{"customer_number":"K-1003","purpose":"PURPOSE_SECURITY_NOTICE"}"#,
        ),
        (
            "The contacts of K-1001",
            "ListContacts",
            r#"{"customer_number":"K-1001"}"#,
        ),
        (
            "One more contact for K-1003",
            "CreateContact",
            r#"{"customer_number":"K-1003","email":"fritz@verein.example","contact":{"types":["CONTACT_TYPE_STANDARD"],"display_name":"Fritz Lang"}}"#,
        ),
        (
            "A new address for the first contact of K-1001; a link to confirm it is mailed",
            "ChangeEmail",
            &change_email,
        ),
        (
            "Whose phone number is this? (examples/call_center.py goes on from here)",
            "VerifyContactChannel",
            r#"{"customer_number":"K-1001","phone_number":"0171 1234563"}"#,
        ),
        (
            "What happened to K-1003",
            "ListAuditEvents",
            r#"{"customer_number":"K-1003"}"#,
        ),
    ] {
        println!("# {what}");
        println!(
            "buf curl --protocol grpc --http2-prior-knowledge \
             -H 'authorization: Bearer {token}' -d '{body}' \
             http://{address}/{SERVICE_NAME}/{rpc}\n"
        );
    }
    println!("{mails}");
    Ok(())
}

async fn first_contact(app: &App, number: &str) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| format!("the samples cannot be read: {error}");
    let number = CustomerNumber::parse(number).map_err(|_| failed(&"number"))?;
    let page = app.list_contacts(&number, ContactTypes::default(), i64::MIN, 1);
    let page = page.await.map_err(|error| failed(&error))?;
    let first = page.contacts.first();
    Ok(first.map_or_else(String::new, |contact| contact.id.0.to_string()))
}
