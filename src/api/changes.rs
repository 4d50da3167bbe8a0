//! `WatchChanges`: a stream that ends when its reader goes away, its token expires, or the server
//! stops. A reader that is slow is read for no further than a page.

use std::time::Duration;

use futures::{Stream, stream};
use tokio::{sync::watch, time::sleep};
use tonic::Status;

use crate::{
    api::{
        audit::{id_or_none, number_or_none},
        auth::Caller,
        convert, proto,
        service::ContactApi,
    },
    app::{App, ChangeReader},
    domain::audit::Change,
    error::Result,
};

/// How often a token's time is looked at while nothing happens.
const TOKEN_CHECK: Duration = Duration::from_secs(10);
/// A reader of one customer is told of its place after so many events of others: else it would
/// go on from far back.
const BOOKMARK_AFTER: i64 = 10_000;
struct Watch {
    app: App,
    caller: Caller,
    reader: ChangeReader,
    stopped: watch::Receiver<()>,
    /// The last place that the reader was told.
    told: i64,
}

/// The changes after the request's cursor, as they happen.
pub(super) async fn watch(
    api: &ContactApi,
    caller: Caller,
    request: proto::WatchChangesRequest,
) -> Result<impl Stream<Item = std::result::Result<proto::WatchChangesResponse, Status>> + use<>> {
    let reader = api.app.read_changes(&request.cursor).await?;
    let watch = Watch {
        app: api.app.clone(),
        caller,
        stopped: api.stopped.clone(),
        told: reader.position(),
        reader,
    };
    Ok(stream::try_unfold(watch, |mut watch| async move {
        let next = watch.next().await?;
        Ok(next.map(|response| (response, watch)))
    }))
}

impl Watch {
    /// `None`: the server stops.
    async fn next(&mut self) -> Result<Option<proto::WatchChangesResponse>> {
        loop {
            self.caller.check_time(self.app.now())?;
            let page = tokio::select! {
                biased;
                _ = self.stopped.changed() => return Ok(None),
                page = self.reader.next_page() => page?,
                () = sleep(TOKEN_CHECK) => continue,
            };
            let Some(last) = page.last().map(|change| change.position) else {
                continue;
            };
            let confined = self.caller.customer();
            let is_shown = |change: &Change| {
                confined.is_none() || change.event.customer_number.as_ref() == confined
            };
            let events: Vec<_> = page.into_iter().filter(is_shown).map(encode).collect();
            if events.is_empty() && last - self.told < BOOKMARK_AFTER {
                continue;
            }
            self.told = last;
            let cursor = self.reader.cursor()?;
            return Ok(Some(proto::WatchChangesResponse { cursor, events }));
        }
    }
}

fn encode(change: Change) -> proto::Change {
    let event = change.event;
    proto::Change {
        event_id: event.id.to_string(),
        event_time: Some(convert::timestamp(event.event_time)),
        customer_number: number_or_none(event.customer_number),
        contact_id: id_or_none(event.contact_id),
        kind: event.kind,
        changed_fields: event.changed_fields,
    }
}
