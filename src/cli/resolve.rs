//! `resolve FILE`: who is written to, for all customer numbers of a file.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use contact_service::{
    app,
    clock::Clock,
    domain::{
        attention_line::{DEFAULT_ROOM_CHARS, MIN_ROOM_CHARS},
        ids::CustomerNumber,
        recipients::{self, DeliveryMethod, ExclusionReason, Resolution},
    },
    error::{Error, Invalid, Result},
    storage::Database,
};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;

use self::output::{Format, Sheet};
use crate::cli::atomic_file::{cannot, patiently, progress_bar};

mod output;

/// How many customers share a query, and how many queries are ahead of what is written.
const CHUNK: usize = 500;
const AHEAD: usize = 4;
/// How many customers the report names on a terminal.
const MOST_NAMED: usize = 20;

/// What the command takes.
#[derive(Debug, Args)]
pub(crate) struct ResolveFile {
    /// Customer numbers, one a line; - is the standard input
    file: PathBuf,
    /// What the customers are written to about
    #[arg(long, value_enum)]
    purpose: Purpose,
    /// Where the answers go, instead of the standard output
    #[arg(long)]
    output: Option<PathBuf>,
    /// How the answers are written
    #[arg(long, value_enum, default_value = "csv")]
    format: Format,
    /// Where the report of customers without a recipient goes, instead of the standard error
    #[arg(long)]
    report: Option<PathBuf>,
    /// Room for the attention line of an invoice, in characters
    #[arg(long, default_value_t = DEFAULT_ROOM_CHARS)]
    attention_line_chars: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Purpose {
    Invoice,
    PaymentReminder,
    SecurityNotice,
    PlannedMaintenance,
    Outage,
    General,
}

impl From<Purpose> for recipients::Purpose {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Invoice => Self::Invoice,
            Purpose::PaymentReminder => Self::PaymentReminder,
            Purpose::SecurityNotice => Self::SecurityNotice,
            Purpose::PlannedMaintenance => Self::PlannedMaintenance,
            Purpose::Outage => Self::Outage,
            Purpose::General => Self::General,
        }
    }
}

/// What a line of the file asks for, and the answer.
struct Answered {
    text: String,
    outcome: Outcome,
}

/// Who is written to, or why there is no answer.
type Outcome = std::result::Result<Resolution, String>;

/// The customers without a recipient, and why.
#[derive(Default)]
struct Report {
    answered: usize,
    unreached: Vec<(String, String)>,
}

impl ResolveFile {
    /// Reads, resolves and writes, each while the others go on.
    ///
    /// # Errors
    /// A line that says what cannot be read or written, or that the database stayed away.
    pub(crate) async fn run(&self, database: &Database) -> std::result::Result<(), String> {
        if self.attention_line_chars < MIN_ROOM_CHARS {
            return Err(format!(
                "--attention-line-chars: must be at least {MIN_ROOM_CHARS}"
            ));
        }
        let length = self.file.metadata().map(|file| file.len());
        let progress = progress_bar(length.ok());
        let lines = open(&self.file, &progress)?;
        let mut sheet = Sheet::create(self.output.as_deref(), self.format)?;
        let mut report = Report::default();
        let answers = stream::iter(chunks(lines))
            .map(|texts| async { self.answer(database, texts?).await })
            .buffered(AHEAD);
        let mut answers = std::pin::pin!(answers);
        while let Some(chunk) = answers.try_next().await? {
            for answered in chunk {
                sheet.write(&answered.text, &answered.outcome)?;
                report.note(answered);
            }
            progress.set_message(format!("{} customers", report.answered));
        }
        sheet.finish()?;
        progress.finish_and_clear();
        self.tell(&report)
    }

    async fn answer(
        &self,
        database: &Database,
        texts: Vec<String>,
    ) -> std::result::Result<Vec<Answered>, String> {
        let parsed: Vec<_> = texts
            .iter()
            .map(|text| CustomerNumber::parse(text))
            .collect();
        let numbers: Vec<_> = parsed.iter().flatten().cloned().collect();
        let resolved = self.resolve(database, &numbers).await;
        let mut resolved = resolved.map_err(|error| error.to_string())?.into_iter();
        let answers = texts.into_iter().zip(parsed).map(|(text, parsed)| {
            let missing = || Err(Error::internal("a customer was left out"));
            let outcome = match parsed {
                Ok(_) => resolved
                    .next()
                    .unwrap_or_else(missing)
                    .map_err(|error| error.to_string()),
                Err(Invalid(why)) => Err(format!("a customer number {why}")),
            };
            Answered { text, outcome }
        });
        Ok(answers.collect())
    }

    async fn resolve(
        &self,
        database: &Database,
        numbers: &[CustomerNumber],
    ) -> Result<Vec<Result<Resolution>>> {
        let (purpose, room) = (self.purpose.into(), self.attention_line_chars);
        patiently(|| app::resolve_many(database, numbers, purpose, room, Clock::System.now())).await
    }

    fn tell(&self, report: &Report) -> std::result::Result<(), String> {
        eprintln!(
            "{} customers answered, {} of them without a recipient",
            report.answered,
            report.unreached.len()
        );
        if let Some(path) = &self.report {
            let failed = |error: io::Error| cannot("written", path, &error);
            let mut file = BufWriter::new(File::create(path).map_err(failed)?);
            for (number, why) in &report.unreached {
                writeln!(file, "{number}: {why}").map_err(failed)?;
            }
            return file.flush().map_err(failed);
        }
        for (number, why) in report.unreached.iter().take(MOST_NAMED) {
            eprintln!("{number}: {why}");
        }
        if report.unreached.len() > MOST_NAMED {
            eprintln!("… and more: --report FILE lists them all");
        }
        Ok(())
    }
}

impl Report {
    fn note(&mut self, answered: Answered) {
        self.answered += 1;
        let why = match answered.outcome {
            Err(why) => why,
            Ok(resolution) if resolution.recipients.is_empty() => cause(&resolution),
            Ok(_) => return,
        };
        self.unreached.push((answered.text, why));
    }
}

/// Why a resolution has no recipient: the reasons of its exclusions, each once, by the names of the
/// contract. A setting is named first, and then the reasons that are nearest to an address in use.
fn cause(resolution: &Resolution) -> String {
    const REASONS: [(ExclusionReason, &str); 5] = [
        (ExclusionReason::NotificationsOff, "NOTIFICATIONS_OFF"),
        (ExclusionReason::EmailBounced, "EMAIL_BOUNCED"),
        (ExclusionReason::EmailUnconfirmed, "EMAIL_UNCONFIRMED"),
        (ExclusionReason::InvoiceEmailOff, "INVOICE_EMAIL_OFF"),
        (ExclusionReason::NoEmail, "NO_EMAIL"),
    ];
    let applies = |reason| {
        let exclusions = &resolution.exclusions;
        exclusions
            .iter()
            .any(|exclusion| exclusion.reason == reason)
    };
    let names: Vec<&str> = REASONS
        .into_iter()
        .filter_map(|(reason, name)| applies(reason).then_some(name))
        .collect();
    let names = if names.is_empty() {
        "NO_CONTACT".to_owned()
    } else {
        names.join(", ")
    };
    match resolution.delivery {
        DeliveryMethod::Postal => format!("by post: {names}"),
        DeliveryMethod::Email | DeliveryMethod::None => names,
    }
}

type Lines = Box<dyn Iterator<Item = std::result::Result<String, String>> + Send>;

/// The numbers of a file; empty lines are passed over.
fn open(path: &Path, progress: &ProgressBar) -> std::result::Result<Lines, String> {
    let shown = path.to_owned();
    let reader: Box<dyn BufRead + Send> = if path == Path::new("-") {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let file = File::open(path).map_err(|error| cannot("read", path, &error))?;
        Box::new(BufReader::new(progress.wrap_read(file)))
    };
    let lines = reader.lines().map(move |line| match line {
        Ok(line) => Ok(line.trim_start_matches('\u{feff}').trim().to_owned()),
        Err(error) => Err(cannot("read", &shown, &error)),
    });
    Ok(Box::new(
        lines.filter(|line| !line.as_ref().is_ok_and(String::is_empty)),
    ))
}

fn chunks(
    mut lines: Lines,
) -> impl Iterator<Item = std::result::Result<Vec<String>, String>> + Send {
    std::iter::from_fn(move || {
        let chunk: std::result::Result<Vec<_>, _> = lines.by_ref().take(CHUNK).collect();
        chunk
            .map(|texts| (!texts.is_empty()).then_some(texts))
            .transpose()
    })
}
