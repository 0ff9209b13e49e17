//! A message that is good in every respect but has no id yet.

use std::time::Duration;

use pabal_common::clock::Timestamp;
use pabal_common::crypto::{Lookup, Sealer};
use pabal_common::domain::id::{ClientMsgId, FileId, MessageId, PartnerId};
use pabal_common::domain::kind::{Lane, MessageType, Purpose};
use pabal_common::domain::message::NewMessage;
use pabal_common::http::ApiError;

use super::check::Checked;

/// What a message will be. It holds the content in the clear, so it has no `Debug`.
pub(crate) struct Draft {
    pub(crate) client_msg_id: ClientMsgId,
    pub(crate) kind: MessageType,
    pub(crate) purpose: Purpose,
    /// Keyed digest of what was asked for.
    pub(crate) digest: [u8; 16],
    validity: Duration,
    metadata: Option<String>,
    recipient_hash: [u8; 16],
    files: Vec<FileId>,
    /// The content as it will be sealed: JSON.
    plain: Vec<u8>,
}

impl Draft {
    /// # Errors
    /// E100 if the content cannot be written, which no checked content gives cause for.
    pub(crate) fn new(checked: Checked, lookup: &Lookup) -> Result<Self, ApiError> {
        let plain = serde_json::to_vec(&checked.content).map_err(ApiError::internal)?;
        let digest = lookup.body_digest(&canonical(&checked, &plain));
        Ok(Self {
            recipient_hash: lookup.recipient_hash(&checked.content.to),
            files: checked
                .content
                .attachments
                .iter()
                .map(|file| file.id)
                .collect(),
            client_msg_id: checked.client_msg_id,
            kind: checked.kind,
            purpose: checked.purpose,
            digest,
            validity: checked.validity,
            metadata: checked.metadata.map(|metadata| metadata.text),
            plain,
        })
    }

    /// The files it refers to.
    pub(crate) fn files(&self) -> impl Iterator<Item = FileId> + '_ {
        self.files.iter().copied()
    }

    /// Until when its files may be needed: as long as it may be sent, and be spoken of after that.
    pub(crate) fn files_needed_until(&self, now: Timestamp) -> Timestamp {
        now.plus(self.validity).plus(self.kind.carrier_deadline())
    }

    /// The message under the id `id`. The id seals the content too, so another id needs another call.
    pub(crate) fn message(
        &self,
        id: MessageId,
        partner: &PartnerId,
        lane: Lane,
        now: Timestamp,
        sealer: &Sealer,
    ) -> NewMessage {
        NewMessage {
            id,
            partner: partner.clone(),
            client_msg_id: self.client_msg_id.clone(),
            digest: self.digest,
            kind: self.kind,
            purpose: self.purpose,
            lane,
            accepted_at: now,
            valid_until: now.plus(self.validity),
            metadata: self.metadata.clone(),
            sealed: sealer.seal(id, &self.plain),
            recipient_hash: self.recipient_hash,
        }
    }
}

/// What was asked for, the same however it was written: values as they were understood, JSON with
/// sorted keys and nothing between. Parts are divided by NUL, which JSON and the API's words never
/// contain. A field that comes with a later release is absent here as long as it is not used, so
/// that digests stay as they are.
fn canonical(checked: &Checked, plain: &[u8]) -> Vec<u8> {
    let metadata = checked.metadata.as_ref();
    let metadata = metadata.map_or("", |metadata| metadata.canonical.as_str());
    let validity = checked.validity.as_secs().to_string();
    let (kind, purpose) = (checked.kind.name(), checked.purpose.name());
    [
        kind.as_bytes(),
        purpose.as_bytes(),
        validity.as_bytes(),
        plain,
        metadata.as_bytes(),
    ]
    .join(&0)
}
