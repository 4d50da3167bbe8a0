//! Recipients and channel owners in the model: the table of purposes and rules 21 to 23.

use std::collections::BTreeMap;

use contact_service::api::proto::{
    self, ChannelMatchKind, ChannelOutcome, ContactType, Delivery, ExclusionReason, Purpose,
    RecipientReason,
};

use super::{
    contacts::Contact,
    reference_model::{Customer, ModelResult, ReferenceModel},
    values::is_same_address,
};

pub const PURPOSES: [Purpose; 6] = [
    Purpose::Invoice,
    Purpose::PaymentReminder,
    Purpose::SecurityNotice,
    Purpose::PlannedMaintenance,
    Purpose::Outage,
    Purpose::General,
];

/// The recipients and exclusions so far.
struct Selection<'b> {
    model: &'b ReferenceModel,
    customer: &'b Customer,
    recipients: Vec<proto::Recipient>,
    /// By rank of the contact; the contact data comes last.
    left_out: BTreeMap<usize, proto::Exclusion>,
}

impl Selection<'_> {
    fn exclude(&mut self, rank: usize, contact_id: &str, reason: ExclusionReason) {
        let exclusion = proto::Exclusion {
            contact_id: contact_id.to_owned(),
            reason: reason.into(),
        };
        self.left_out.entry(rank).or_insert(exclusion);
    }

    fn choose(&mut self, rank: usize, recipient: proto::Recipient) {
        let mut chosen = self.recipients.iter();
        if chosen.any(|known| is_same_address(&known.email, &recipient.email)) {
            let reason = ExclusionReason::DuplicateAddress;
            self.exclude(rank, &recipient.contact_id, reason);
        } else {
            self.recipients.push(recipient);
        }
    }

    fn contact(&mut self, rank: usize, contact: &Contact, reason: RecipientReason) {
        if contact.email.is_empty() {
            let reason = match contact.pending_at(self.model.now) {
                Some(_) => ExclusionReason::EmailUnconfirmed,
                None => ExclusionReason::NoEmail,
            };
            return self.exclude(rank, &contact.id, reason);
        }
        let recipient = proto::Recipient {
            contact_id: contact.id.clone(),
            display_name: contact.name.clone(),
            email: contact.email.clone(),
            locale: contact.locale.clone(),
            reason: reason.into(),
        };
        self.choose(rank, recipient);
    }

    fn all_of(&mut self, contact_type: ContactType, reason: RecipientReason) {
        for (rank, contact) in self.customer.contacts.iter().enumerate() {
            if contact.is(contact_type) {
                self.contact(rank, contact, reason);
            }
        }
    }

    fn contact_data(&mut self, reason: RecipientReason) {
        let email = self.customer.email.clone();
        if email.is_empty() {
            return self.exclude(usize::MAX, "", ExclusionReason::NoEmail);
        }
        let recipient = proto::Recipient {
            email,
            locale: self.customer.locale.clone(),
            reason: reason.into(),
            ..proto::Recipient::default()
        };
        self.choose(usize::MAX, recipient);
    }

    fn invoice(&mut self) {
        for (rank, contact) in self.customer.contacts.iter().enumerate() {
            if !contact.is(ContactType::Standard) && !contact.is(ContactType::Accounting) {
                continue;
            }
            // Rule 22: it lapses with the last address.
            if contact.invoice && contact.has_address_at(self.model.now) {
                self.contact(rank, contact, RecipientReason::TypeMatch);
            } else {
                self.exclude(rank, &contact.id, ExclusionReason::InvoiceEmailOff);
            }
        }
    }

    fn notice(&mut self, is_on: bool, may_fall_back: bool) {
        self.all_of(ContactType::Technical, RecipientReason::TypeMatch);
        if is_on {
            self.contact_data(RecipientReason::ContactDataSetting);
        } else if self.recipients.is_empty() && may_fall_back {
            self.contact_data(RecipientReason::ContactDataFallback);
        } else {
            self.exclude(usize::MAX, "", ExclusionReason::NotificationsOff);
        }
        if may_fall_back {
            self.fall_back();
        }
    }

    fn fall_back(&mut self) {
        if self.recipients.is_empty() {
            self.all_of(ContactType::Standard, RecipientReason::StandardFallback);
        }
    }
}

impl ReferenceModel {
    /// The response of `ResolveRecipients`; a `room` of 0 means 70.
    pub fn resolution(
        &self,
        number: &str,
        purpose: Purpose,
        room: i32,
    ) -> ModelResult<proto::Resolution> {
        let customer = self.customer(number)?;
        let mut choice = Selection {
            model: self,
            customer,
            recipients: Vec::new(),
            left_out: BTreeMap::new(),
        };
        let [security, maintenance, outages, _] = customer.notices;
        match purpose {
            Purpose::Invoice => choice.invoice(),
            Purpose::PaymentReminder => {
                choice.all_of(ContactType::Accounting, RecipientReason::TypeMatch);
                choice.fall_back();
                if choice.recipients.is_empty() {
                    choice.contact_data(RecipientReason::ContactDataFallback);
                }
            }
            Purpose::SecurityNotice => choice.notice(security, true),
            Purpose::PlannedMaintenance => choice.notice(maintenance, true),
            Purpose::Outage => choice.notice(outages, outages),
            Purpose::General => {
                choice.contact_data(RecipientReason::ContactData);
                choice.fall_back();
            }
            Purpose::Unspecified => panic!("no purpose"),
        }
        let is_invoice = purpose == Purpose::Invoice;
        let delivery = match (choice.recipients.is_empty(), is_invoice) {
            (false, _) => Delivery::Email,
            (true, true) => Delivery::Postal,
            (true, false) => Delivery::None,
        };
        let (attention_line, attention_line_omitted_names) = if is_invoice && !customer.suppressed {
            customer.attention_line(if room == 0 { 70 } else { room })
        } else {
            (String::new(), Vec::new())
        };
        Ok(proto::Resolution {
            customer_number: number.to_owned(),
            recipients: choice.recipients,
            exclusions: choice.left_out.into_values().collect(),
            delivery: delivery.into(),
            attention_line,
            attention_line_omitted_names,
            purpose: purpose.into(),
        })
    }

    /// The response of `VerifyContactChannel` for a normalized address or number (rule 21).
    pub fn owners(
        &self,
        number: &str,
        channel: &str,
    ) -> ModelResult<proto::VerifyContactChannelResponse> {
        let customer = self.customer(number)?;
        let match_kind = |kept: &mut dyn Iterator<Item = &String>| {
            kept.filter_map(|kept| match_kind(kept, channel)).min()
        };
        let mut matches = Vec::new();
        let mut add = |kind: Option<ChannelMatchKind>, owner: proto::ChannelMatch| {
            matches.extend(kind.map(|kind| proto::ChannelMatch {
                r#match: kind.into(),
                ..owner
            }));
        };
        let of_customer = match_kind(&mut [&customer.email, &customer.phone].into_iter());
        add(of_customer, proto::ChannelMatch::default());
        for contact in &customer.contacts {
            let kind = match_kind(&mut contact.phones.iter().chain([&contact.email]));
            let owner = proto::ChannelMatch {
                contact_id: contact.id.clone(),
                display_name: contact.name.clone(),
                types: contact.types.iter().copied().collect(),
                ..proto::ChannelMatch::default()
            };
            add(kind, owner);
        }
        matches.sort_by_key(proto::ChannelMatch::r#match);
        let outcome = if matches.is_empty() {
            ChannelOutcome::NotOnFile
        } else {
            ChannelOutcome::OnFile
        };
        Ok(proto::VerifyContactChannelResponse {
            outcome: outcome.into(),
            matches,
        })
    }
}

fn match_kind(kept: &str, channel: &str) -> Option<ChannelMatchKind> {
    if is_same_address(kept, channel) {
        return Some(ChannelMatchKind::Exact);
    }
    let extension = channel
        .strip_prefix(kept)
        .filter(|_| kept.starts_with('+'))?;
    (extension.len() <= 4).then_some(ChannelMatchKind::SameLine)
}

impl Customer {
    /// The attention line of rule 23, and the omitted names.
    fn attention_line(&self, room: i32) -> (String, Vec<String>) {
        let all_of = |contact_type| -> Vec<&str> {
            let of_type = self.contacts.iter().filter(|c| c.is(contact_type));
            of_type.map(|contact| contact.name.as_str()).collect()
        };
        let mut names = all_of(ContactType::Accounting);
        if names.is_empty() {
            names = all_of(ContactType::Standard);
        }
        let mut once: Vec<&str> = Vec::new();
        for name in names {
            if !once.contains(&name) {
                once.push(name);
            }
        }
        let room = usize::try_from(room).expect("no room");
        let (mut line, mut left_out) = (Vec::new(), Vec::new());
        for name in once {
            let longer = format!(
                "z.Hd. {}",
                [&line[..], &[name.to_owned()]].concat().join(", ")
            );
            if longer.chars().count() <= room {
                line.push(name.to_owned());
            } else if line.is_empty() {
                let cut: String = name.chars().take(room - "z.Hd. ".len() - 1).collect();
                line.push(format!("{}…", cut.trim_end()));
            } else {
                left_out.push(name.to_owned());
            }
        }
        let has_comma = line.iter().any(|name| name.contains(','));
        let text = line.join(if has_comma { "; " } else { ", " });
        if text.is_empty() {
            return (text, left_out);
        }
        (format!("z.Hd. {text}"), left_out)
    }
}
