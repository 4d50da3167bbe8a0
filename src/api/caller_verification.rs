//! Caller verification: `VerifyContactChannel`, `FindCustomers`.

use crate::{
    api::{
        auth::Caller,
        convert::{self, Violations},
        proto::{
            self, find_customers_request as search, verify_contact_channel_request as verification,
        },
    },
    app::App,
    domain::{
        caller::{Channel, ChannelMatch, ChannelOwner},
        caller_id::CallerId,
        email_address::EmailAddress,
    },
    error::{Result, Violation},
};

pub(super) async fn verify(
    app: &App,
    caller: &Caller,
    request: proto::VerifyContactChannelRequest,
) -> Result<proto::VerifyContactChannelResponse> {
    let mut violations = Violations::default();
    let number = violations.customer_number("customer_number", &request.customer_number);
    let requested = request.channel.as_ref().map(|channel| match channel {
        verification::Channel::PhoneNumber(text) => Requested::PhoneNumber(text),
        verification::Channel::Email(text) => Requested::Email(text),
    });
    let channel = decode_channel(&mut violations, requested.as_ref());
    let call_id = violations.optional_call_id(&request.call_id);
    let (number, channel) = violations.finish(number.zip(channel))?;
    let actor = caller.actor();
    let verified = app.verify_contact_channel(actor, &number, &channel, call_id.as_deref());
    let matches = verified.await?;
    Ok(proto::VerifyContactChannelResponse {
        outcome: outcome(&channel, matches.is_empty()).into(),
        matches: matches.into_iter().map(channel_match).collect(),
    })
}

pub(super) async fn find(
    app: &App,
    caller: &Caller,
    request: proto::FindCustomersRequest,
) -> Result<proto::FindCustomersResponse> {
    let mut violations = Violations::default();
    let requested = request.channel.as_ref().map(|channel| match channel {
        search::Channel::PhoneNumber(text) => Requested::PhoneNumber(text),
        search::Channel::Email(text) => Requested::Email(text),
    });
    let channel = decode_channel(&mut violations, requested.as_ref());
    let call_id = violations.optional_call_id(&request.call_id);
    let channel = violations.finish(channel)?;
    let found = app.find_customers(caller.actor(), &channel, call_id.as_deref());
    let found = found.await?;
    let matches = found.matches.into_iter().map(|(number, found)| {
        let found = channel_match(found);
        proto::CustomerMatch {
            customer_number: number.as_str().to_owned(),
            contact_id: found.contact_id,
            display_name: found.display_name,
            types: found.types,
            r#match: found.r#match,
        }
    });
    let matches: Vec<_> = matches.collect();
    Ok(proto::FindCustomersResponse {
        outcome: outcome(&channel, matches.is_empty()).into(),
        matches,
        truncated: found.is_truncated,
    })
}

/// The channel of a request.
enum Requested<'r> {
    PhoneNumber(&'r str),
    Email(&'r str),
}

fn decode_channel(
    violations: &mut Violations,
    requested: Option<&Requested<'_>>,
) -> Option<Channel> {
    match requested {
        Some(Requested::PhoneNumber(text)) => violations
            .check("phone_number", CallerId::parse(text))
            .map(Channel::from),
        Some(Requested::Email(text)) => violations
            .check("email", EmailAddress::parse(text))
            .map(Channel::Email),
        None => {
            violations.add("channel", Violation::ChannelMissing);
            None
        }
    }
}

const fn outcome(channel: &Channel, is_unknown: bool) -> proto::ChannelOutcome {
    match channel {
        Channel::Withheld => proto::ChannelOutcome::Withheld,
        Channel::PhoneNumbers(_) | Channel::Email(_) if is_unknown => {
            proto::ChannelOutcome::NotOnFile
        }
        Channel::PhoneNumbers(_) | Channel::Email(_) => proto::ChannelOutcome::OnFile,
    }
}

fn channel_match(found: ChannelMatch) -> proto::ChannelMatch {
    let kind = convert::match_kind(found.kind);
    match found.owner {
        ChannelOwner::ContactData => proto::ChannelMatch {
            r#match: kind.into(),
            ..proto::ChannelMatch::default()
        },
        ChannelOwner::Contact {
            id,
            display_name,
            types,
        } => proto::ChannelMatch {
            contact_id: id.0.to_string(),
            display_name,
            types: convert::contact_types(types),
            r#match: kind.into(),
        },
    }
}
