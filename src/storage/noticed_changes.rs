//! The changes of a notice (rule 31) as they are stored.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    domain::{
        change_notice::{NoticeKind, NoticedChange},
        ids::ContactId,
    },
    error::{Error, Result},
};

/// A change as it is stored.
#[derive(Serialize, Deserialize)]
struct ChangeRecord {
    kind: String,
    contact_id: Option<Uuid>,
    name: String,
    time: DateTime<Utc>,
}

/// Writes the changes of a notice; `None` for an e-mail that is none.
pub(super) fn from_changes(changes: &[NoticedChange]) -> Result<Option<String>> {
    if changes.is_empty() {
        return Ok(None);
    }
    let records = changes.iter().map(|change| ChangeRecord {
        kind: change.kind.as_str().to_owned(),
        contact_id: change.contact_id.map(|id| id.0),
        name: change.name.clone(),
        time: change.time,
    });
    let json = serde_json::to_string(&records.collect::<Vec<_>>());
    json.map(Some)
        .map_err(|_| Error::internal("the changes of a notice are not serializable"))
}

pub(super) fn to_changes(json: Option<&str>) -> Result<Vec<NoticedChange>> {
    let unreadable = || Error::data_loss("outbox_mails.changes");
    let Some(json) = json else {
        return Ok(Vec::new());
    };
    let records: Vec<ChangeRecord> = serde_json::from_str(json).map_err(|_| unreadable())?;
    let to_change = |record: ChangeRecord| {
        let kind = NoticeKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == record.kind);
        Ok(NoticedChange {
            kind: kind.ok_or_else(unreadable)?,
            contact_id: record.contact_id.map(ContactId),
            name: record.name,
            time: record.time,
        })
    };
    records.into_iter().map(to_change).collect()
}
