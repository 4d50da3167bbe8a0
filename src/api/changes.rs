//! `WatchChanges`: an endless stream. What ends it is told in `response_body`.

use futures::{Stream, stream};
use tonic::Status;

use crate::{
    api::{
        audit::{encode_kind, id_or_none, number_or_none},
        auth::Caller,
        convert, proto,
    },
    app::{App, ChangeReader},
    domain::audit::Change,
    error::Result,
};

/// A reader of one customer is told of its place after so many events of others: else it would
/// go on from far back.
const BOOKMARK_AFTER: i64 = 10_000;
struct Watch {
    caller: Caller,
    reader: ChangeReader,
    /// The last place that the reader was told.
    told: i64,
}

/// The changes after the request's cursor, as they happen.
pub(super) async fn watch(
    app: &App,
    caller: Caller,
    request: proto::WatchChangesRequest,
) -> Result<impl Stream<Item = std::result::Result<proto::WatchChangesResponse, Status>> + use<>> {
    let reader = app.read_changes(&request.cursor).await?;
    let watch = Watch {
        caller,
        told: reader.position(),
        reader,
    };
    Ok(stream::try_unfold(watch, |mut watch| async move {
        let response = watch.next().await?;
        Ok(Some((response, watch)))
    }))
}

impl Watch {
    async fn next(&mut self) -> Result<proto::WatchChangesResponse> {
        loop {
            let page = self.reader.next_page().await?;
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
            return Ok(proto::WatchChangesResponse { cursor, events });
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
        kind: encode_kind(&event.kind).into(),
        changed_fields: event.changed_fields,
    }
}
