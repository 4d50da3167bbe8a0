//! Sends requests as fast as the server responds, or at a given rate; prints throughput and
//! latencies as one line of JSON.
//!
//! It has its own HTTP/2 client and encodes all requests in advance, because it shares the
//! processors with the server. The customers are those of `generate` with the same seed.

#![allow(
    clippy::cast_precision_loss,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "benchmarks fail by panicking and print figures"
)]

mod support {
    //! Modules shared by the benchmarks.

    pub(crate) mod client;
    pub(crate) mod http2;
    #[allow(dead_code, reason = "the other benchmark uses the rest")]
    pub(crate) mod population;
    pub(crate) mod requests;
    pub(crate) mod status;
    pub(crate) mod stream;
    pub(crate) mod unary;
}

use std::{
    process::ExitCode,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use contact_service::{api::proto, clock::Clock};
use serde::Serialize;
use support::{
    client::Server,
    http2::{Connection, request_head},
    requests::{Bodies, Material, Rpc},
    stream, unary,
    unary::{Failed, Pace, RunResult, Work, new_histogram},
};
use tonic::Code;

/// Interval at which failures are checked for.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Send requests and measure throughput and latency
#[derive(Debug, Parser)]
struct CommandLine {
    /// Address of the gRPC listener, such as 127.0.0.1:50051
    #[arg(long)]
    address: String,
    /// Tokens with the scope of the RPC, distributed over the connections
    #[arg(long, required = true, value_delimiter = ',')]
    token: Vec<String>,
    /// The RPC to call
    #[arg(long)]
    rpc: Rpc,
    /// Number of customers in the database
    #[arg(long)]
    customers: u64,
    /// Seed that the customers were generated with
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Concurrent requests over all connections
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// Seconds to measure
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds of warm-up before the measurement
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Requests per second, sent on schedule; latency counts from the scheduled time
    #[arg(long)]
    rate: Option<f64>,
    /// Purpose of resolutions; default: general, or invoice for `stream`
    #[arg(long)]
    purpose: Option<PurposeArg>,
    /// Added by Cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PurposeArg {
    Invoice,
    PaymentReminder,
    SecurityNotice,
    PlannedMaintenance,
    Outage,
    General,
}

impl From<PurposeArg> for proto::Purpose {
    fn from(purpose: PurposeArg) -> Self {
        match purpose {
            PurposeArg::Invoice => Self::Invoice,
            PurposeArg::PaymentReminder => Self::PaymentReminder,
            PurposeArg::SecurityNotice => Self::SecurityNotice,
            PurposeArg::PlannedMaintenance => Self::PlannedMaintenance,
            PurposeArg::Outage => Self::Outage,
            PurposeArg::General => Self::General,
        }
    }
}

#[derive(Serialize)]
struct LoadReport {
    call: String,
    requests: u64,
    seconds: f64,
    requests_per_second: f64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    failed: u64,
    first_error: Option<String>,
}

#[derive(Serialize)]
struct StreamReport {
    call: String,
    customers: u64,
    seconds: f64,
    customers_per_second: f64,
    bytes: u64,
    messages: u64,
    failed: u64,
    first_error: Option<String>,
}

fn main() -> ExitCode {
    let line = CommandLine::parse();
    let measured = if matches!(line.rpc, Rpc::Stream | Rpc::StreamAll) {
        measure_stream(&line)
    } else {
        measure_requests(&line)
    };
    match measured {
        Ok(code) => code,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

impl CommandLine {
    fn server(&self) -> Server {
        Server {
            address: self.address.clone(),
            token: self.token(0).to_owned(),
        }
    }

    fn material(&self) -> Material {
        let otherwise = if matches!(self.rpc, Rpc::Stream | Rpc::StreamAll) {
            proto::Purpose::Invoice
        } else {
            proto::Purpose::General
        };
        Material {
            rpc: self.rpc,
            purpose: self.purpose.map_or(otherwise, proto::Purpose::from),
            customers: self.customers,
            seed: self.seed,
            connections: u64::try_from(self.connections).unwrap(),
        }
    }

    /// The token of connection `index`.
    fn token(&self, index: usize) -> &str {
        self.token.iter().cycle().nth(index).unwrap()
    }

    fn connect(&self, index: usize) -> Result<Connection, String> {
        let head = request_head(&self.address, self.rpc.path(), self.token(index));
        Connection::connect(&self.address, head)
    }

    fn name(&self) -> String {
        let name = self.rpc.to_possible_value();
        name.unwrap().get_name().to_owned()
    }

    /// The work of connection `index`, except its end.
    fn pace(&self, index: usize) -> Pace {
        if let Some(rate) = self.rate {
            return Pace::Schedule {
                phase: Duration::from_secs_f64(index as f64 / rate),
                interval: Duration::from_secs_f64(self.connections as f64 / rate),
            };
        }
        let extra = usize::from(index < self.in_flight % self.connections);
        Pace::InFlight(self.in_flight / self.connections + extra)
    }
}

fn measure_requests(line: &CommandLine) -> Result<ExitCode, String> {
    let material = line.material();
    if line.rpc == Rpc::CheckPassword {
        line.server()
            .set_phone_passwords(material.contacts_with_password());
    }
    let bodies: Vec<Bodies> = (0..material.connections)
        .map(|connection| material.bodies(connection))
        .collect();
    if bodies.iter().any(Bodies::is_empty) {
        return Err("too few customers for this number of connections".to_owned());
    }
    let links: Result<Vec<Connection>, String> =
        (0..bodies.len()).map(|index| line.connect(index)).collect();
    let first_failure = OnceLock::new();
    let begin = Instant::now();
    let from = begin + Duration::from_secs_f64(line.warm_up);
    let until = from + Duration::from_secs_f64(line.seconds);
    // Grows faster than requests are sent, so that no later run repeats a value.
    let counter = u64::try_from(Clock::System.now().timestamp_micros()).unwrap();
    let (outcomes, first_error) = thread::scope(|scope| {
        let mut threads = Vec::new();
        for (index, (connection, bodies)) in links?.into_iter().zip(&bodies).enumerate() {
            let work = Work {
                bodies,
                response_prefix: line.rpc.response_prefix(),
                pace: line.pace(index),
                from,
                until,
                counter: (
                    counter + u64::try_from(index).unwrap(),
                    material.connections,
                ),
                first_failure: &first_failure,
            };
            threads.push(scope.spawn(move || unary::run(connection, work, begin)));
        }
        let explain = |first_error: &mut Option<String>| {
            if let Some(Failed { body, code }) = first_failure.get()
                && first_error.is_none()
            {
                *first_error = Some(line.server().explain(line.rpc.path(), body, *code));
            }
        };
        // Under load, because the error may not occur afterwards.
        let mut first_error = None;
        while !threads.iter().all(thread::ScopedJoinHandle::is_finished) {
            thread::sleep(CHECK_INTERVAL);
            explain(&mut first_error);
        }
        explain(&mut first_error);
        let outcomes: Result<Vec<RunResult>, String> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        Ok::<_, String>((outcomes?, first_error))
    })?;
    report_requests(line, &outcomes, (from, until), first_error);
    Ok(ExitCode::SUCCESS)
}

fn report_requests(
    line: &CommandLine,
    outcomes: &[RunResult],
    (from, until): (Instant, Instant),
    first_error: Option<String>,
) {
    let mut latencies = new_histogram();
    for outcome in outcomes {
        latencies.add(&outcome.latencies).unwrap();
    }
    let micros = |nanos: u64| rounded(nanos as f64 / 1e3);
    let quantile_us = |quantile| micros(latencies.value_at_quantile(quantile));
    let last_response = outcomes.iter().filter_map(|outcome| outcome.last_response);
    let end = last_response.max().map_or(until, |last| last.max(until));
    let seconds = (end - from).as_secs_f64();
    let requests = latencies.len();
    let report = LoadReport {
        call: line.name(),
        requests,
        seconds: rounded(seconds),
        requests_per_second: rounded(requests as f64 / seconds),
        p50_us: quantile_us(0.5),
        p90_us: quantile_us(0.9),
        p99_us: quantile_us(0.99),
        p999_us: quantile_us(0.999),
        max_us: micros(latencies.max()),
        failed: outcomes.iter().map(|outcome| outcome.failed).sum(),
        first_error,
    };
    println!("{}", serde_json::to_string(&report).unwrap());
}

/// Rounds to three decimal places.
fn rounded(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

fn measure_stream(line: &CommandLine) -> Result<ExitCode, String> {
    let bodies = line.material().bodies(0);
    let streamed = stream::run(line.connect(0)?, bodies.all())?;
    let seconds = streamed.elapsed.as_secs_f64();
    let is_whole = streamed.results == line.customers && streamed.code == Some(Code::Ok);
    let first_error = (!is_whole).then(|| {
        let (first, _) = bodies.get(0);
        line.server().explain(line.rpc.path(), first, streamed.code)
    });
    let report = StreamReport {
        call: line.name(),
        customers: streamed.results,
        seconds: rounded(seconds),
        customers_per_second: rounded(streamed.results as f64 / seconds),
        bytes: streamed.bytes,
        messages: streamed.messages,
        failed: u64::from(!is_whole),
        first_error,
    };
    println!("{}", serde_json::to_string(&report).unwrap());
    if is_whole {
        return Ok(ExitCode::SUCCESS);
    }
    Err(format!(
        "{} results for {} customers, and the status {:?}",
        streamed.results, line.customers, streamed.code
    ))
}
