//! `report-bounces`: reports bounces and complaints from files, which other services' mails caused.

mod messages;
mod outcome;
mod output;

use std::path::PathBuf;

use clap::Args;
use contact_service::{
    app::{App, ReportMode},
    config::Config,
    domain::{
        audit::Actor,
        delivery_report::{DeliveryReport, ReportResult},
    },
    mail::dsn::{self, BounceAddress},
    observability::logging,
};

use self::{
    messages::{MessageFile, list_messages},
    outcome::{ReadMessage, Report},
    output::{Output, Summary},
};
use crate::cli::{
    bootstrap::{app_without_keys, connect_existing},
    progress::progress_bar,
    retry::with_retry,
    startup_error::StartupError,
};

/// Messages whose reports are applied together.
const BATCH: usize = 200;

/// The arguments of the command.
#[derive(Debug, Args)]
pub(crate) struct ReportBounces {
    /// A message (.eml), a Maildir, or a folder of messages
    path: PathBuf,
    #[arg(
        long,
        value_name = "ADDRESS",
        value_parser = parse_bounce_address,
        help = "Envelope sender of the mails without customer:\n\
                bounces@sender.example"
    )]
    bounce_address: Option<BounceAddress>,
    /// Number of mails of the run
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    sent: u64,
    /// Mark addresses although unusually many fail
    #[arg(long)]
    accept_burst: bool,
    /// Write to this file, not to standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl ReportBounces {
    /// Reads the messages, reports what they say, and writes a row for each recipient. Returns true if
    /// reports were held because unusually many deliveries fail.
    pub(crate) async fn run(&self, config: &Config) -> Result<bool, StartupError> {
        config.database_url()?;
        let messages = list_messages(&self.path)?;
        let output = Output::create(self.output.as_deref())?;
        let _telemetry = logging::start(config)?;
        let database = connect_existing(config).await?;
        let app = app_without_keys(config, &database)?;
        let summary = self.report(&app, &messages, output).await;
        database.close().await;
        let summary = summary?;
        summary.print();
        Ok(summary.held > 0)
    }

    async fn report(
        &self,
        app: &App,
        messages: &[MessageFile],
        mut output: Output,
    ) -> Result<Summary, StartupError> {
        let mut summary = Summary::default();
        let progress = progress_bar(Some(messages.len() as u64));
        // The mails that did not come back were delivered, as far as is known.
        app.count_deliveries(self.sent.saturating_sub(messages.len() as u64));
        for batch in messages.chunks(BATCH) {
            let read = batch.iter().map(|file| self.read(file));
            let read: Vec<_> = read.collect::<Result<_, _>>()?;
            let reports: Vec<_> = read.iter().flat_map(|message| &message.outcomes).collect();
            let reports = reports
                .into_iter()
                .flatten()
                .map(Report::to_domain)
                .collect::<Vec<_>>();
            let results = self.apply(app, reports).await?;
            let mut results = results.into_iter();
            for message in &read {
                summary.messages += 1;
                for outcome in &message.outcomes {
                    let result = outcome.as_ref().ok().and_then(|_| results.next());
                    output.write(&message.name, outcome, result)?;
                    summary.add(result);
                }
            }
            progress.inc(batch.len() as u64);
        }
        output.finish()?;
        progress.finish_and_clear();
        Ok(summary)
    }

    async fn apply(
        &self,
        app: &App,
        reports: Vec<DeliveryReport>,
    ) -> Result<Vec<ReportResult>, StartupError> {
        let actor = Actor::command_line();
        let mode = ReportMode {
            accepts_burst: self.accept_burst,
            ..ReportMode::default()
        };
        let report = || app.report_deliveries(&actor, reports.clone(), mode);
        Ok(with_retry(report).await?)
    }

    fn read(&self, file: &MessageFile) -> Result<ReadMessage, StartupError> {
        let (bytes, file_time) = file.read()?;
        let outcomes = dsn::read(&bytes, self.bounce_address.as_ref());
        let outcomes = outcomes.into_iter().map(|outcome| {
            let bounce = outcome.map_err(|reason| reason.to_string())?;
            let time = bounce.report_time.unwrap_or(file_time);
            Ok(Report { bounce, time })
        });
        Ok(ReadMessage {
            name: file.name(),
            outcomes: outcomes.collect(),
        })
    }
}

fn parse_bounce_address(text: &str) -> Result<BounceAddress, String> {
    BounceAddress::parse(text).map_err(|reason| reason.0)
}
