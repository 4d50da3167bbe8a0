//! Runs a history: applies each command to the model and to the service and compares the
//! responses.

use std::{collections::BTreeMap, fmt::Debug};

use chrono::{DateTime, TimeDelta, Utc};
use contact_service::api::proto::{self, set_phone_password_request::Source};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{
    commands::{Command, Step},
    fields::{DOMAIN, PASSWORDS, address_of},
    names::{Names, place_of},
    reference_model::{ModelResult, ReferenceModel, Rejection},
    requests::{Request, Response},
    resolve::pick_of,
};
use crate::harness::{Client, TestServer};

/// Duration of every command, so that no two happen at the same instant.
const TICK: TimeDelta = TimeDelta::milliseconds(1);
/// Number of commands between two comparisons of the entire state.
const SNAPSHOT_INTERVAL: usize = 15;
/// Shorter than the lifetime of the tests' tokens.
const TOKEN_TTL: TimeDelta = TimeDelta::days(300);

/// A disagreement between model and service.
#[derive(Debug)]
pub struct Difference(pub String);

pub fn same<T: PartialEq + Debug>(label: &str, model: &T, service: &T) -> Result<(), Difference> {
    if model == service {
        return Ok(());
    }
    Err(Difference(format!(
        "{label}\nmodel:   {model:#?}\nservice: {service:#?}"
    )))
}

pub struct Driver<'s> {
    /// Share one database; requests go to the first one unless they are concurrent.
    pub servers: &'s [TestServer],
    /// The prefix of all names in this history.
    pub base: String,
    pub numbers: [String; 3],
    pub agents: [String; 2],
    pub model: ReferenceModel,
    pub names: Names,
    /// The customer of each contact label.
    pub owners: Vec<String>,
    /// Successful requests with an id, and their agents.
    sent: Vec<(String, Request)>,
    guesses: usize,
    /// Number of outcomes by RPC and result.
    pub seen: BTreeMap<String, usize>,
    /// True if a request timed out, which leaves its effect unknown.
    pub was_busy: bool,
    clients: BTreeMap<String, Client>,
    tokens_end: DateTime<Utc>,
}

impl<'s> Driver<'s> {
    pub fn new(servers: &'s [TestServer], history: usize) -> Self {
        let base = format!("H{history:06}");
        Self {
            servers,
            numbers: ["A", "B", "C"].map(|customer| format!("{base}-{customer}")),
            agents: ["one", "other"].map(|agent| format!("{base}-{agent}")),
            model: ReferenceModel::new(servers[0].now()),
            base,
            names: Names::default(),
            owners: Vec::new(),
            sent: Vec::new(),
            guesses: 0,
            seen: BTreeMap::new(),
            was_busy: false,
            clients: BTreeMap::new(),
            tokens_end: servers[0].now(),
        }
    }

    pub fn server(&self) -> &'s TestServer {
        &self.servers[0]
    }

    /// A client of `agent`, cached because making a token takes longer than a request.
    pub fn client_of(&mut self, agent: &str) -> Client {
        if self.model.now >= self.tokens_end {
            self.clients.clear();
            self.tokens_end = self.model.now + TOKEN_TTL;
        }
        let server = self.server();
        let made = || server.client_of(agent);
        let client = self.clients.entry(agent.to_owned()).or_insert_with(made);
        client.clone()
    }

    /// A client for reading, of no agent.
    pub fn reader(&mut self) -> Client {
        self.client_of("reader")
    }

    pub async fn run(&mut self, steps: &[Step]) -> Result<(), Difference> {
        self.begin().await?;
        for (index, step) in steps.iter().enumerate() {
            let ran = match self.step(step).await {
                Ok(()) if (index + 1) % SNAPSHOT_INTERVAL == 0 => self.compare_all().await,
                ran => ran,
            };
            ran.map_err(|Difference(text)| {
                Difference(format!("step {}, {step:?}: {text}", index + 1))
            })?;
        }
        self.deliver().await?;
        self.compare_all().await
    }

    /// The initial state of a history: a customer with a contact that has a link and a phone
    /// password, and some order types.
    pub async fn begin(&mut self) -> Result<(), Difference> {
        let agent = self.agents[0].clone();
        for code in 0..2 {
            let order_type = proto::OrderType {
                code: self.order_type(code),
                display_name: "Domain".into(),
                system_management: code == 1,
                offered_by_phone: true,
                retired: false,
                ..proto::OrderType::default()
            };
            let request = Request::UpdateOrderType(proto::UpdateOrderTypeRequest {
                order_type: Some(order_type),
                allow_missing: true,
                ..proto::UpdateOrderTypeRequest::default()
            });
            self.call(&agent, request).await?;
        }
        let request = Request::UpdateCustomer(proto::UpdateCustomerRequest {
            customer: Some(proto::Customer {
                customer_number: self.numbers[0].clone(),
                ..proto::Customer::default()
            }),
            allow_missing: true,
            ..proto::UpdateCustomerRequest::default()
        });
        self.call(&agent, request).await?;
        let request = Request::CreateContact(proto::CreateContactRequest {
            customer_number: self.numbers[0].clone(),
            contact: Some(proto::Contact {
                types: vec![proto::ContactType::Standard.into()],
                display_name: "Clara Beck".into(),
                ..proto::Contact::default()
            }),
            email: address_of(&format!("clara@{DOMAIN}"), &self.numbers[0]),
            ..proto::CreateContactRequest::default()
        });
        self.call(&agent, request).await?;
        let request = Request::SetPhonePassword(proto::SetPhonePasswordRequest {
            customer_number: self.numbers[0].clone(),
            contact_id: "#0".to_owned(),
            source: Some(Source::PhonePassword(PASSWORDS[0].0.to_owned())),
            ..proto::SetPhonePasswordRequest::default()
        });
        self.call(&agent, request).await
    }

    async fn step(&mut self, step: &Step) -> Result<(), Difference> {
        let agent = self.agents[step.agent].clone();
        match &step.command {
            Command::Wait(time) => {
                self.wait(*time);
                Ok(())
            }
            Command::Work => self.work().await,
            Command::Deliver => self.deliver().await,
            Command::Guess {
                contact,
                count,
                pause,
                spread,
            } => {
                let (number, id) = self.pick(*contact);
                for guess in 0..*count {
                    self.guesses += 1;
                    let id = if *spread {
                        Names::unknown(100 + self.guesses)
                    } else {
                        id.clone()
                    };
                    let call_id = format!("{}-guess-{}", self.base, self.guesses);
                    let request = proto::CheckPhonePasswordRequest {
                        customer_number: number.clone(),
                        contact_id: id,
                        phone_password: format!("geraten {guess}"),
                        call_id,
                    };
                    self.call(&agent, Request::CheckPhonePassword(request))
                        .await?;
                    self.wait(*pause);
                }
                Ok(())
            }
            Command::Repeat(index) => {
                let Some((agent, request)) = pick_of(&self.sent, *index).cloned() else {
                    return Ok(());
                };
                self.call(&agent, request).await
            }
            Command::Settle { contact, email } => {
                let change = Command::ChangeEmail {
                    contact: *contact,
                    email: email.clone(),
                    request: None,
                };
                self.resolve_and_call(&change, step.agent).await?;
                self.resolve_and_call(&Command::Confirm(0), step.agent)
                    .await
            }
            command => self.resolve_and_call(command, step.agent).await,
        }
    }

    async fn resolve_and_call(
        &mut self,
        command: &Command,
        agent: usize,
    ) -> Result<(), Difference> {
        if matches!(command, Command::Confirm(_)) {
            // A confirmed link means that the e-mail was read.
            self.deliver().await?;
        }
        let Some(request) = self.resolve(command, agent) else {
            return Ok(());
        };
        if request.has_etag() {
            // Only an etag that was read can be sent. An expiry has made a new one since.
            self.compare_records(request.number()).await?;
        }
        let agent = self.agents[agent].clone();
        self.call(&agent, request).await
    }

    fn wait(&mut self, time: TimeDelta) {
        for server in self.servers {
            server.clock.advance(time);
        }
        self.model.now = self.server().now();
    }

    /// Runs the server's background jobs, whose times a test cannot choose.
    async fn work(&mut self) -> Result<(), Difference> {
        let app = &self.server().app;
        app.remind_of_pending_emails().await.unwrap();
        app.clear_expired_emails().await.unwrap();
        app.purge_expired_requests().await.unwrap();
        app.purge_attempts().await.unwrap();
        self.model.expire_emails();
        let now = self.model.now;
        self.model.attempts.sweep(now);
        self.wait(TICK);
        Ok(())
    }

    /// Sends a request to both; compares the responses and the customer afterwards.
    pub async fn call(&mut self, agent: &str, request: Request) -> Result<(), Difference> {
        let real = self.names.to_real(request.clone());
        let client = self.client_of(agent);
        let is_replay = self.model.is_replay(agent, &request);
        let service = self.send_and_compare_recipients(real, client, is_replay);
        let service = service.await?;
        let model = self.model.response(agent, &request);
        let is_done = model.is_ok() && !request.is_validate_only();
        self.compare(&request, model, service, is_replay)?;
        if is_done && !request.request_id().is_empty() {
            self.sent.push((agent.to_owned(), request.clone()));
        }
        self.wait(TICK);
        let number = self.number_of(&request);
        if number.is_empty() {
            return Ok(());
        }
        self.compare_records(&number).await
    }

    pub fn compare(
        &mut self,
        request: &Request,
        model: ModelResult,
        service: Result<Response, Status>,
        is_replay: bool,
    ) -> Result<(), Difference> {
        let keeps = !request.is_validate_only();
        let answered = match &model {
            Ok(response) => response.name(),
            Err(rejection) => rejection.reason.to_owned(),
        };
        let answered = format!("{}: {answered}", request.rpc());
        *self.seen.entry(answered).or_default() += 1;
        if let Err(status) = &service {
            let not_answered = [Code::Unavailable, Code::DeadlineExceeded];
            self.was_busy |= not_answered.contains(&status.code());
        }
        match (model, service) {
            (Ok(model), Ok(mut service)) => {
                self.names.put_in_response(&mut service, &model, keeps);
                same("the response", &model, &service)?;
                if matches!(request, Request::CreateContact(_)) && keeps && !is_replay {
                    self.owners.push(request.number().to_owned());
                }
                Ok(())
            }
            (Err(model), Err(service)) => same(
                "the rejection",
                &from_model(&model),
                &from_service(&service),
            ),
            (model, service) => Err(Difference(format!(
                "the response\nmodel:   {model:#?}\nservice: {service:#?}"
            ))),
        }
    }

    /// The customer that a request is about; the model knows that of a link.
    pub fn number_of(&self, request: &Request) -> String {
        let Request::ConfirmEmail(r) = request else {
            return request.number().to_owned();
        };
        let place = place_of("link ", &r.token);
        let link = place.and_then(|place| self.model.links.get(place));
        link.map(|link| link.number.clone()).unwrap_or_default()
    }
}

/// A rejection in the terms of the model.
type ComparableRejection = (Code, String, Vec<String>, Option<TimeDelta>);

fn from_model(rejection: &Rejection) -> ComparableRejection {
    let reason = rejection.reason.to_owned();
    let fields = rejection.fields.clone();
    (code_of(rejection.reason), reason, fields, rejection.retry)
}

fn from_service(status: &Status) -> ComparableRejection {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone());
    let violations = details
        .bad_request()
        .map(|bad| bad.field_violations.clone());
    let violations = violations.unwrap_or_default();
    let mut fields: Vec<_> = violations.into_iter().map(|found| found.field).collect();
    fields.sort();
    let retry = details.retry_info().and_then(|retry| retry.retry_delay);
    let retry = retry.map(|delay| TimeDelta::from_std(delay).unwrap());
    (status.code(), reason.unwrap_or_default(), fields, retry)
}

fn code_of(reason: &str) -> Code {
    match reason {
        "INVALID_FIELD" | "REQUEST_ID_REUSED" => Code::InvalidArgument,
        "ETAG_MISMATCH" => Code::Aborted,
        "RESEND_LIMIT" | "PHONE_CALL_ATTEMPT_LIMIT" | "AGENT_BLOCKED" => Code::ResourceExhausted,
        "UNIMPLEMENTED" => Code::Unimplemented,
        not_found if not_found.ends_with("_NOT_FOUND") => Code::NotFound,
        _ => Code::FailedPrecondition,
    }
}
