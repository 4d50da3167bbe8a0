//! `VerifyContactChannel`.

use crate::{
    api::{
        auth::Caller,
        convert::{self, Fields},
        proto::{self, verify_contact_channel_request as request},
        service::ContactApi,
    },
    domain::{
        caller::{Channel, ChannelMatch},
        email_address::EmailAddress,
        phone_number::PhoneNumber,
    },
    error::Result,
};

pub(super) async fn verify(
    api: &ContactApi,
    caller: &Caller,
    request: proto::VerifyContactChannelRequest,
) -> Result<proto::VerifyContactChannelResponse> {
    let mut fields = Fields::default();
    let number = fields.customer_number("customer_number", &request.customer_number);
    let channel = match &request.channel {
        Some(request::Channel::PhoneNumber(text)) => fields
            .check("phone_number", PhoneNumber::parse(text))
            .map(Channel::PhoneNumber),
        Some(request::Channel::Email(text)) => fields
            .check("email", EmailAddress::parse(text))
            .map(Channel::Email),
        None => {
            fields.refuse("channel", "must be phone_number or email");
            None
        }
    };
    let (number, channel) = fields.finish(number.zip(channel))?;
    let verified = api
        .app
        .verify_contact_channel(caller.actor(), &number, &channel);
    let matches = verified.await?;
    Ok(proto::VerifyContactChannelResponse {
        known: !matches.is_empty(),
        matches: matches.into_iter().map(channel_match).collect(),
    })
}

fn channel_match(found: ChannelMatch) -> proto::ChannelMatch {
    match found {
        ChannelMatch::ContactData => proto::ChannelMatch::default(),
        ChannelMatch::Contact {
            id,
            display_name,
            types,
        } => proto::ChannelMatch {
            contact_id: id.0.to_string(),
            display_name,
            types: convert::contact_types(types),
        },
    }
}
