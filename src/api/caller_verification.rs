//! Caller verification: `VerifyContactChannel`.

use crate::{
    api::{
        auth::Caller,
        convert::{self, Violations},
        proto::{self, verify_contact_channel_request as request},
    },
    app::App,
    domain::{
        caller::{Channel, ChannelMatch, ChannelOwner, MatchKind},
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
    let channel = match &request.channel {
        Some(request::Channel::PhoneNumber(text)) => violations
            .check("phone_number", CallerId::parse(text))
            .map(Channel::from),
        Some(request::Channel::Email(text)) => violations
            .check("email", EmailAddress::parse(text))
            .map(Channel::Email),
        None => {
            violations.add("channel", Violation::ChannelMissing);
            None
        }
    };
    let (number, channel) = violations.finish(number.zip(channel))?;
    let verified = app.verify_contact_channel(caller.actor(), &number, &channel);
    let matches = verified.await?;
    let outcome = match (&channel, matches.as_slice()) {
        (Channel::Withheld, _) => proto::ChannelOutcome::Withheld,
        (Channel::PhoneNumbers(_) | Channel::Email(_), []) => proto::ChannelOutcome::NotOnFile,
        (Channel::PhoneNumbers(_) | Channel::Email(_), _) => proto::ChannelOutcome::OnFile,
    };
    Ok(proto::VerifyContactChannelResponse {
        outcome: outcome.into(),
        matches: matches.into_iter().map(channel_match).collect(),
    })
}

fn channel_match(found: ChannelMatch) -> proto::ChannelMatch {
    let kind = match found.kind {
        MatchKind::Exact => proto::ChannelMatchKind::Exact,
        MatchKind::SameLine => proto::ChannelMatchKind::SameLine,
    };
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
