//! A history on its way: each command goes to the model and to the service, and the answers
//! are compared.

use std::{collections::BTreeMap, fmt::Debug};

use chrono::{DateTime, TimeDelta, Utc};
use contact_service::api::proto::{self, set_phone_password_request::Source};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{
    book::{Book, Outcome, Refusal},
    commands::{Command, Step},
    fields::{DOMAIN, PASSWORDS, address_of},
    names::{Names, place_of},
    requests::{Answer, Request},
    resolve::pick_of,
};
use crate::harness::{Client, TestServer};

/// What every command takes, so that no two happen at the same instant.
const TICK: TimeDelta = TimeDelta::milliseconds(1);
/// How many commands lie between two looks at everything.
const LOOK_EVERY: usize = 15;
/// Less than the tokens of tests are good for.
const TOKENS_KEPT: TimeDelta = TimeDelta::days(300);

/// What the model and the service do not agree on.
#[derive(Debug)]
pub struct Difference(pub String);

pub fn same<T: PartialEq + Debug>(what: &str, model: &T, service: &T) -> Result<(), Difference> {
    if model == service {
        return Ok(());
    }
    Err(Difference(format!(
        "{what}\nmodel:   {model:#?}\nservice: {service:#?}"
    )))
}

pub struct Driver<'s> {
    /// On one database; calls go to the first one, unless many are made at once.
    pub servers: &'s [TestServer],
    /// What the names of this history begin with.
    pub base: String,
    pub numbers: [String; 3],
    pub agents: [String; 2],
    pub book: Book,
    pub names: Names,
    /// Whose contact each label was.
    pub owners: Vec<String>,
    /// The requests that had an id and were done, with their agents.
    sent: Vec<(String, Request)>,
    guesses: usize,
    /// How often each RPC was answered how.
    pub seen: BTreeMap<String, usize>,
    /// Whether a call was not answered in time, so that nobody knows what it did.
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
            book: Book::new(servers[0].now()),
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

    /// A client of `agent`; making its token anew for each call would take longer than the call.
    pub fn client_of(&mut self, agent: &str) -> Client {
        if self.book.now >= self.tokens_end {
            self.clients.clear();
            self.tokens_end = self.book.now + TOKENS_KEPT;
        }
        let server = self.server();
        let made = || server.client_of(agent);
        let client = self.clients.entry(agent.to_owned()).or_insert_with(made);
        client.clone()
    }

    /// A client of nobody in particular, for reading.
    pub fn reader(&mut self) -> Client {
        self.client_of("reader")
    }

    pub async fn run(&mut self, steps: &[Step]) -> Result<(), Difference> {
        self.begin().await?;
        for (index, step) in steps.iter().enumerate() {
            let ran = match self.step(step).await {
                Ok(()) if (index + 1) % LOOK_EVERY == 0 => self.look_at_all().await,
                ran => ran,
            };
            ran.map_err(|Difference(what)| {
                Difference(format!("step {}, {step:?}: {what}", index + 1))
            })?;
        }
        self.deliver().await?;
        self.look_at_all().await
    }

    /// What a history starts from: a customer with a contact that has a link and a phone
    /// password, and some order types.
    pub async fn begin(&mut self) -> Result<(), Difference> {
        let agent = self.agents[0].clone();
        for code in 0..2 {
            let order_type = proto::OrderType {
                code: self.order_type(code),
                display_name: "Domain".into(),
                system_management: code == 1,
                offered_by_phone: true,
            };
            let request = Request::UpdateOrderType(proto::UpdateOrderTypeRequest {
                order_type: Some(order_type),
                allow_missing: true,
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
                        Names::nobody(100 + self.guesses)
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
            // Whoever confirms has read the mail.
            self.deliver().await?;
        }
        let Some(request) = self.resolve(command, agent) else {
            return Ok(());
        };
        let agent = self.agents[agent].clone();
        self.call(&agent, request).await
    }

    fn wait(&mut self, time: TimeDelta) {
        for server in self.servers {
            server.clock.advance(time);
        }
        self.book.now = self.server().now();
    }

    /// What the server does by itself, at times that a test cannot choose.
    async fn work(&mut self) -> Result<(), Difference> {
        let app = &self.server().app;
        app.remind_of_pending_emails().await.unwrap();
        app.clear_lapsed_emails().await.unwrap();
        app.forget_expired_requests().await.unwrap();
        app.forget_old_tries().await.unwrap();
        self.book.see_to_deadlines();
        let now = self.book.now;
        self.book.tries.sweep(now);
        self.wait(TICK);
        Ok(())
    }

    /// Sends a request to both, and compares the answers, and the customer afterwards.
    pub async fn call(&mut self, agent: &str, request: Request) -> Result<(), Difference> {
        let real = self.names.to_real(request.clone());
        let client = self.client_of(agent);
        let service = real.send(client).await;
        let is_replay = self.book.remembers(agent, &request);
        let model = self.book.answer(agent, &request);
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
        self.look_at_records(&number).await
    }

    pub fn compare(
        &mut self,
        request: &Request,
        model: Outcome,
        service: Result<Answer, Status>,
        is_replay: bool,
    ) -> Result<(), Difference> {
        let keeps = !request.is_validate_only();
        let answered = match &model {
            Ok(answer) => answer.name(),
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
                self.names.put_in_answer(&mut service, &model, keeps);
                same("the answer", &model, &service)?;
                if matches!(request, Request::CreateContact(_)) && keeps && !is_replay {
                    self.owners.push(request.number().to_owned());
                }
                Ok(())
            }
            (Err(model), Err(service)) => same("the rejection", &told(&model), &heard(&service)),
            (model, service) => Err(Difference(format!(
                "the answer\nmodel:   {model:#?}\nservice: {service:#?}"
            ))),
        }
    }

    /// The customer that a request concerns; a link's is in the book.
    pub fn number_of(&self, request: &Request) -> String {
        let Request::ConfirmEmail(r) = request else {
            return request.number().to_owned();
        };
        let place = place_of("link ", &r.token);
        let link = place.and_then(|place| self.book.links.get(place));
        link.map(|link| link.number.clone()).unwrap_or_default()
    }
}

/// A rejection, as far as the model knows it.
type Told = (Code, String, Vec<String>, Option<TimeDelta>);

fn told(rejection: &Refusal) -> Told {
    let reason = rejection.reason.to_owned();
    let fields = rejection.fields.clone();
    (code_of(rejection.reason), reason, fields, rejection.retry)
}

fn heard(status: &Status) -> Told {
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
