//! The feed of changes: `WatchChanges`, an endless stream. `response_body` ends it.

use futures::{Stream, stream};
use tonic::Status;

use crate::{
    api::{
        audit::{encode_kind, id_or_none, number_or_none},
        auth::Caller,
        convert, proto,
    },
    app::{App, ChangeReader},
    domain::audit::FeedEvent,
    error::Result,
};

/// Number of changes of other customers after which a tenant-scoped reader gets a new cursor, so that it
/// does not resume far back.
const BOOKMARK_AFTER: i64 = 10_000;

/// An open watch.
struct Watch {
    caller: Caller,
    reader: ChangeReader,
    /// The position of the last cursor that was sent.
    sent_position: i64,
}

/// Streams the changes after the cursor of the request as they happen.
pub(super) async fn watch(
    app: &App,
    caller: Caller,
    request: proto::WatchChangesRequest,
) -> Result<impl Stream<Item = std::result::Result<proto::WatchChangesResponse, Status>> + use<>> {
    let reader = app.read_changes(&request.cursor).await?;
    let watch = Watch {
        caller,
        sent_position: reader.position(),
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
            let tenant = self.caller.customer();
            let is_shown =
                |change: &FeedEvent| tenant.is_none() || change.customer_number.as_ref() == tenant;
            let events: Vec<_> = page.into_iter().filter(is_shown).map(encode).collect();
            if events.is_empty() && last - self.sent_position < BOOKMARK_AFTER {
                continue;
            }
            self.sent_position = last;
            let cursor = self.reader.cursor()?;
            return Ok(proto::WatchChangesResponse { cursor, events });
        }
    }
}

fn encode(change: FeedEvent) -> proto::Change {
    proto::Change {
        event_id: change.id.to_string(),
        event_time: Some(convert::timestamp(change.event_time)),
        customer_number: number_or_none(change.customer_number),
        contact_id: id_or_none(change.contact_id),
        kind: encode_kind(&change.kind).into(),
        changed_fields: change.changed_fields,
    }
}
