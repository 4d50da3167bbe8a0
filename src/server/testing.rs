//! The service of test servers: moves the clock and reads mails.

use chrono::TimeDelta;
use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use crate::{
    api::proto::testing::{
        self, AdvanceClockRequest, AdvanceClockResponse, ListMailsRequest, ListMailsResponse,
        testing_service_server::TestingService,
    },
    app::App,
    error::{Error, Result, Violation},
    mail::{MailFolder, Outbox},
};

const MAX_DAYS: i64 = 3660;

/// The control that tests of consumers have over a server.
#[derive(Clone, Debug)]
pub struct TestControl {
    app: App,
    outbox: Outbox,
    mails: MailFolder,
}

impl TestControl {
    /// Controls the clock of `app`, and sends its mails to `mails` by `outbox`. The server must send none
    /// itself: mails in flight would not be listed.
    pub fn new(app: &App, outbox: Outbox, mails: MailFolder) -> Self {
        Self {
            app: app.clone(),
            outbox,
            mails,
        }
    }

    /// Advances the clock, and runs the jobs that a server runs from time to time.
    async fn advance(&self, by: TimeDelta) -> Result<()> {
        // Mails that were due before: some are not sent once they are too late.
        self.outbox.deliver_due().await?;
        self.app.advance_clock(by);
        self.app.remind_of_pending_emails().await?;
        self.app.clear_expired_emails().await?;
        self.outbox.deliver_due().await?;
        Ok(())
    }

    async fn list(&self, to: &str) -> Result<Vec<testing::Mail>> {
        self.outbox.deliver_due().await?;
        let mails = self.mails.mails().await;
        let mails = mails.map_err(|_| Error::internal("the mails cannot be read"))?;
        let mails = mails
            .into_iter()
            .filter(|mail| to.is_empty() || mail.to == to);
        let message = mails.map(|mail| testing::Mail {
            link: mail.link().unwrap_or_default().to_owned(),
            to: mail.to,
            subject: mail.subject,
            text: mail.text,
        });
        Ok(message.collect())
    }
}

/// Returns the time of a request.
fn time_of(request: &AdvanceClockRequest) -> Result<TimeDelta> {
    let by = request.by.and_then(|by| {
        let by = TimeDelta::new(by.seconds, u32::try_from(by.nanos).ok()?);
        by.filter(|by| *by > TimeDelta::zero() && *by <= TimeDelta::days(MAX_DAYS))
    });
    by.ok_or_else(|| Error::invalid_field("by", Violation::NotATime))
}

#[tonic::async_trait]
impl TestingService for TestControl {
    async fn advance_clock(
        &self,
        request: Request<AdvanceClockRequest>,
    ) -> std::result::Result<Response<AdvanceClockResponse>, Status> {
        self.advance(time_of(request.get_ref())?).await?;
        let now = self.app.now();
        let now = Timestamp {
            seconds: now.timestamp(),
            nanos: i32::try_from(now.timestamp_subsec_nanos()).unwrap_or_default(),
        };
        Ok(Response::new(AdvanceClockResponse { now: Some(now) }))
    }

    async fn list_mails(
        &self,
        request: Request<ListMailsRequest>,
    ) -> std::result::Result<Response<ListMailsResponse>, Status> {
        let mails = self.list(&request.get_ref().to).await?;
        Ok(Response::new(ListMailsResponse { mails }))
    }
}
