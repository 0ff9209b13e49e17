//! A message: what is kept openly, and what is sealed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::file::FileRef;
use super::id::{ClientMsgId, MessageId, PartnerId};
use super::kind::{Lane, MessageType, Purpose};
use crate::clock::Timestamp;

/// What is sealed at rest: recipient, sender, subject, text, variables, files. Its `Debug` shows none of
/// it, so that no log line can.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// The recipient in the vendor's usual notation: national digits, a TalkTalk user id, or a mail
    /// address.
    pub to: String,
    /// The sender, where the type has one: a number, digits only, or a mail address with or without a
    /// name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The title of an LMS, MMS or RCS, or the subject of a mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The text, newlines normalised and characters transliterated as the type needs.
    pub text: String,
    /// The template and its variables, for Alimtalk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// Buttons below the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Button>,
    /// The partner's identity on the channel.
    #[serde(default, skip_serializing_if = "ChannelIds::is_empty")]
    pub channel: ChannelIds,
    /// The files that go with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<FileRef>,
    /// The HTML of a mail, beside its text or instead of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// Where answers to a mail go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// Further headers of a mail, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Content(sealed)")
    }
}

/// An approved template and the values for its variables.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// The template's code at the vendor.
    pub code: String,
    /// Variable name → value.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
}

/// A button below a message.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Button {
    /// The button's type as the channel names it (Kakao: WL, AL, BK…).
    pub kind: String,
    /// What is written on it.
    pub name: String,
    /// Where it leads, where it leads anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// The partner's identity on a channel; which of them a type needs, the receiver checks.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelIds {
    /// Kakao sender profile key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_key: Option<String>,
    /// RCS brand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand_id: Option<String>,
    /// RCS chatroom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chatbot_id: Option<String>,
    /// RCS message base (format or template).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messagebase_id: Option<String>,
    /// Naver TalkTalk channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub talk_id: Option<String>,
}

impl ChannelIds {
    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A message at acceptance, ready for the ledger.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Its id.
    pub id: MessageId,
    /// Whose it is.
    pub partner: PartnerId,
    /// The partner's own id; unique per partner.
    pub client_msg_id: ClientMsgId,
    /// Keyed digest of the request, to tell a repeat from a conflict.
    pub digest: [u8; 16],
    /// Its type.
    pub kind: MessageType,
    /// What it is for.
    pub purpose: Purpose,
    /// Which of the twin queues it takes.
    pub lane: Lane,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Until when it is worth handing to a vendor.
    pub valid_until: Timestamp,
    /// The partner's open metadata: a JSON object, or nothing.
    pub metadata: Option<String>,
    /// The sealed [`Content`].
    pub sealed: Vec<u8>,
    /// Keyed hash of the recipient, for look-up.
    pub recipient_hash: [u8; 16],
}
