//! Concurrent histories: every acknowledged change is in the audit log exactly once, and the
//! order of the audit log explains all responses. The model applies the acknowledged requests in
//! that order; its responses and its final state must equal the service's.

use std::collections::{BTreeMap, VecDeque};

use contact_service::api::proto::{self, ContactType};
use futures::future::join_all;
use tonic::{Code, Status};

use super::{
    commands::Command,
    driver::{Difference, Driver, same},
    fields::{DOMAIN, address_of},
    requests::{Request, Response},
};
use crate::{
    harness::{Client, TestServer, rejection},
    requests::only_id,
};

/// A request with the etag that its sender had read, and its outcome.
struct Sent {
    request: Request,
    outcome: Result<Response, Status>,
}

/// By task and customer.
type Acknowledged = BTreeMap<(usize, String), VecDeque<(Request, Response)>>;

/// The results of a round.
#[derive(Debug, Default)]
pub struct Figures {
    pub acknowledged: usize,
    pub rejected: BTreeMap<String, usize>,
}

impl Driver<'_> {
    /// Sends the lists concurrently, each in its own task, to all servers.
    pub async fn run_concurrent(
        &mut self,
        lists: &[Vec<Command>],
        figures: &mut Figures,
    ) -> Result<(), Difference> {
        self.prepare().await?;
        let mut known = BTreeMap::new();
        for number in self.numbers.clone() {
            let audit_log = self.audit_log(&number).await;
            known.insert(number, audit_log.map_or(0, |audit_log| audit_log.len()));
        }
        let tasks = lists.iter().enumerate().map(|(task, commands)| {
            let requests = commands
                .iter()
                .filter_map(|command| self.resolve(command, 0));
            let requests = requests.map(|request| (self.names.to_real(request.clone()), request));
            let clients = self
                .servers
                .iter()
                .map(|server| server.client_of(&self.actor(task)));
            tokio::spawn(send_all(task, requests.collect(), clients.collect()))
        });
        let mut done = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            done.push(task.await.unwrap()?);
        }
        let mut acknowledged = self.acknowledged(done, figures)?;
        for number in self.numbers.clone() {
            self.replay(&number, known[&number], &mut acknowledged)
                .await?;
        }
        for ((task, number), mut left) in acknowledged {
            self.drop_unchanged(&mut left);
            if let Some((request, _)) = left.front() {
                return Err(Difference(format!(
                    "the audit log of {number} lacks a change acknowledged to task {task}: {request:?}"
                )));
            }
        }
        self.deliver().await?;
        self.compare_all().await
    }

    fn actor(&self, task: usize) -> String {
        format!("{}-task-{task}", self.base)
    }

    /// Creates two customers with some contacts, some of which have links.
    async fn prepare(&mut self) -> Result<(), Difference> {
        self.begin().await?;
        let agent = self.agents[0].clone();
        let customer = proto::Customer {
            customer_number: self.numbers[1].clone(),
            ..proto::Customer::default()
        };
        let request = Request::UpdateCustomer(proto::UpdateCustomerRequest {
            customer: Some(customer),
            allow_missing: true,
            ..proto::UpdateCustomerRequest::default()
        });
        self.call(&agent, request).await?;
        for (name, number) in [("Emil", 0), ("Fritz", 0), ("Gerda", 1), ("Hanna", 1)] {
            let request = Request::CreateContact(proto::CreateContactRequest {
                customer_number: self.numbers[number].clone(),
                contact: Some(proto::Contact {
                    types: vec![ContactType::Standard.into()],
                    display_name: name.to_owned(),
                    ..proto::Contact::default()
                }),
                email: address_of(&format!("{name}@{DOMAIN}"), &self.numbers[number])
                    .to_lowercase(),
                ..proto::CreateContactRequest::default()
            });
            self.call(&agent, request).await?;
        }
        self.deliver().await
    }

    /// The acknowledged changes by task and customer, in the order of the task.
    fn acknowledged(
        &self,
        done: Vec<Vec<Sent>>,
        figures: &mut Figures,
    ) -> Result<Acknowledged, Difference> {
        let mut acknowledged: BTreeMap<_, VecDeque<_>> = BTreeMap::new();
        for (task, done) in done.into_iter().enumerate() {
            for Sent { request, outcome } in done {
                let response = match outcome {
                    Ok(response) => response,
                    Err(status) => {
                        let reason = expected_rejection(&request, status)?;
                        *figures.rejected.entry(reason).or_default() += 1;
                        continue;
                    }
                };
                let was_used = matches!(&response, Response::Confirmed(c) if c.already_confirmed);
                if request.is_validate_only() || was_used {
                    continue;
                }
                figures.acknowledged += 1;
                let key = (task, self.number_of(&request));
                acknowledged
                    .entry(key)
                    .or_default()
                    .push_back((request, response));
            }
        }
        Ok(acknowledged)
    }

    /// Rule 25: such requests record no event.
    fn drop_unchanged(&self, requests: &mut VecDeque<(Request, Response)>) {
        while requests
            .front()
            .is_some_and(|(request, response)| self.changed_nothing(request, response))
        {
            requests.pop_front();
        }
    }

    /// True if a response shows the version of an earlier event: a change has the next version.
    fn changed_nothing(&self, request: &Request, response: &Response) -> bool {
        match response {
            // Rule 11: it leaves the version alone.
            Response::Contact(_) if matches!(request, Request::ResendEmailConfirmation(_)) => false,
            Response::Customer(shown) => {
                let known = self.model.customers.get(&shown.customer_number);
                known.is_some_and(|known| version_of(&shown.etag) <= known.version)
            }
            Response::Contact(shown) => {
                let id = self.names.label_of(&shown.contact_id);
                let is_known = id != shown.contact_id;
                // A deletion since then would have recorded its event earlier.
                let known = self.model.contact(&shown.customer_number, &id);
                is_known && known.map_or(true, |known| version_of(&shown.etag) <= known.version)
            }
            _ => false,
        }
    }

    /// Applies the acknowledged requests of a customer to the model in the order of the audit
    /// log.
    async fn replay(
        &mut self,
        number: &str,
        known: usize,
        acknowledged: &mut BTreeMap<(usize, String), VecDeque<(Request, Response)>>,
    ) -> Result<(), Difference> {
        let Ok(audit_log) = self.audit_log(number).await else {
            return Ok(());
        };
        let recorded = |driver: &Self| driver.model.audit_logs.get(number).map_or(0, Vec::len);
        let mut explained = 0;
        for event in &audit_log[known..] {
            if explained > 0 {
                // A further event of one request; `compare_all` compares it.
                explained -= 1;
                continue;
            }
            let recorded_before = recorded(self);
            let task = event.actor.rsplit('-').next();
            let task = task.and_then(|task| task.parse::<usize>().ok());
            let mine = task.and_then(|task| acknowledged.get_mut(&(task, number.to_owned())));
            let mine = mine.and_then(|mine| {
                self.drop_unchanged(mine);
                mine.pop_front()
            });
            let Some((request, response)) = mine else {
                return Err(Difference(format!("no request explains {event:?}")));
            };
            // An etag that is unknown to the model at this point was stale.
            let request = self.names.to_labels(request);
            let model = self.model.response(&event.actor, &request);
            let compared = self.compare(&request, model, Ok(response), false);
            compared.map_err(|Difference(text)| {
                Difference(format!("{} at {event:?}: {text}", request.number()))
            })?;
            explained = recorded(self).saturating_sub(recorded_before + 1);
        }
        Ok(())
    }
}

/// The version in an etag of the service.
fn version_of(etag: &str) -> usize {
    let (_, version) = etag.split_once('-').expect("no etag");
    usize::from_str_radix(version, 16).expect("no version")
}

/// Sends the requests in sequence. Each carries the etag that its sender read last; one with an
/// id is sent to all servers concurrently.
async fn send_all(
    task: usize,
    requests: Vec<(Request, Request)>,
    clients: Vec<Client>,
) -> Result<Vec<Sent>, Difference> {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut done = Vec::new();
    for (index, (mut real, mut request)) in requests.into_iter().enumerate() {
        if !request.request_id().is_empty() {
            let id = format!("0190d6d2-5a3c-7cc1-8f2e-{index:012}");
            real.set_request_id(id.clone());
            request.set_request_id(id);
        }
        if let Request::UpdateContact(r) = &mut real {
            let contact = r.contact.as_mut().unwrap();
            let seen = seen.get(&contact.contact_id);
            if let Some(etag) = seen.filter(|_| !contact.etag.is_empty()) {
                contact.etag.clone_from(etag);
            }
            if let Request::UpdateContact(labelled) = &mut request {
                let labelled = labelled.contact.as_mut().unwrap();
                labelled.etag.clone_from(&contact.etag);
            }
        }
        let mut outcome = if real.request_id().is_empty() {
            let client = clients[(task + index) % clients.len()].clone();
            real.send(client).await
        } else {
            let twins = [0, 1].map(|twin| clients[(task + twin) % clients.len()].clone());
            let [one, other] = twins.map(|client| real.clone().send(client));
            let (one, other) = tokio::join!(one, other);
            // Validate-only responses are not stored: each one to a new contact has another id.
            if let (Ok(one), Ok(other), false) = (&one, &other, request.is_validate_only()) {
                same("the responses to one request", one, other)?;
            }
            one.or(other)
        };
        if let Ok(response) = &mut outcome
            && let Some(contact) = response.shown_contact()
        {
            seen.insert(contact.contact_id.clone(), contact.etag.clone());
        }
        done.push(Sent { request, outcome });
    }
    Ok(done)
}

/// The reason of a rejection that rules or conflicts may cause.
fn expected_rejection(request: &Request, status: Status) -> Result<String, Difference> {
    let text = format!("{status:?}");
    let (code, reason) = rejection::<()>(Err(status));
    let is_expected = match code {
        Code::InvalidArgument
        | Code::NotFound
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::ResourceExhausted => true,
        _ => reason == "OVERLOADED",
    };
    if is_expected {
        Ok(reason)
    } else {
        Err(Difference(format!("{request:?} failed: {text}")))
    }
}

/// Eight writers increment a number in one note: each reads, adds one, and writes with the etag
/// it read. Returns the number of retries.
pub async fn count_up(servers: &[TestServer], number: &str, each: usize) -> usize {
    let contact = servers[0].create_customer_with_contact(number).await;
    let writers = (0..8).map(|writer| {
        let server = &servers[writer % servers.len()];
        let (client, contact) = (
            server.client_of(&format!("writer-{writer}")),
            contact.clone(),
        );
        tokio::spawn(write_numbers(client, contact, each))
    });
    let mut repeated = 0;
    let mut etags = vec![contact.etag.clone()];
    for writer in join_all(writers.collect::<Vec<_>>()).await {
        let (written, over) = writer.unwrap();
        etags.extend(written);
        repeated += over;
    }
    let after = servers[0].contact(&contact).await;
    assert_eq!(after.restrictions.unwrap().note, (8 * each).to_string());
    // Each success is a version of its own, and so is each event.
    assert!(etags.contains(&after.etag));
    etags.sort();
    etags.dedup();
    assert_eq!(etags.len(), 8 * each + 1);
    let events = servers[0].events(number).await;
    let updates = events
        .iter()
        .filter(|event| event.kind().as_str_name() == "EVENT_KIND_CONTACT_UPDATED");
    assert_eq!(updates.count(), 8 * each);
    repeated
}

async fn write_numbers(
    mut client: Client,
    contact: proto::Contact,
    each: usize,
) -> (Vec<String>, usize) {
    let (mut etags, mut repeated) = (Vec::new(), 0);
    while etags.len() < each {
        let request = proto::GetContactRequest {
            customer_number: contact.customer_number.clone(),
            contact_id: contact.contact_id.clone(),
        };
        let read = client.get_contact(request).await.unwrap().into_inner();
        let read = read.contact.unwrap();
        let note = read.restrictions.as_ref().map(|r| r.note.clone());
        let count: usize = note
            .filter(|n| !n.is_empty())
            .map_or(0, |n| n.parse().unwrap());
        let update = proto::UpdateContactRequest {
            contact: Some(proto::Contact {
                restrictions: Some(proto::Restrictions {
                    note: (count + 1).to_string(),
                    ..proto::Restrictions::default()
                }),
                etag: read.etag.clone(),
                ..only_id(&read)
            }),
            ..proto::UpdateContactRequest::default()
        };
        match client.update_contact(update).await {
            Ok(written) => etags.push(written.into_inner().contact.unwrap().etag),
            Err(status) => {
                let (_, reason) = rejection::<()>(Err(status));
                let reasons = ["ETAG_MISMATCH", "CONFLICT", "OVERLOADED"];
                assert!(reasons.contains(&reason.as_str()), "{reason}");
                repeated += 1;
            }
        }
    }
    (etags, repeated)
}
