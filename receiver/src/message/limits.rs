//! How much a field may hold, whatever the type: one table, by which requests are checked and from
//! which the documentation is made. Texts and buttons have limits of their type.

use pabal_common::domain::id::ClientMsgId;
use pabal_common::domain::mail::MailAddress;
use pabal_common::domain::phone::TalkUserId;
use pabal_common::domain::text::SUBJECT_LIMIT;

/// Bytes of metadata as the partner wrote it.
pub(super) const LARGEST_METADATA: usize = 2048;
/// Kakao templates: 32 is the longest code of any vendor, 40 variables are Kakao's own limit.
pub(super) const LONGEST_TEMPLATE_CODE: usize = 32;
pub(super) const MOST_VARIABLES: usize = 40;
/// Characters of a variable's name, and of its value: no longer than the longest text around it.
pub(super) const LONGEST_VARIABLE_NAME: usize = 64;
pub(super) const LONGEST_VARIABLE: usize = 1400;
/// Visible ASCII characters of an identity on a channel. What each vendor's looks like is theirs.
pub(super) const LONGEST_CHANNEL_ID: usize = 64;
pub(super) const MOST_ATTACHMENTS: usize = 3;
/// Files of a mail, and their bytes together: what most mail servers take, less what base64 adds.
pub(super) const MOST_MAIL_ATTACHMENTS: usize = 10;
pub(super) const LARGEST_MAIL_FILES: usize = 15 << 20;
/// Characters of a mail's subject and of its HTML, and its further headers.
pub(super) const LONGEST_MAIL_SUBJECT: usize = 255;
pub(super) const LONGEST_HTML: usize = 50_000;
pub(super) const MOST_HEADERS: usize = 20;
/// Bytes of an MMS's pictures together (NHN Cloud SMS API v3.0); KB of 1,000 as for each of them.
pub(super) const LARGEST_PICTURES: usize = 800_000;
/// The longest address of a button, in characters (Kakao).
pub(super) const LONGEST_URL: usize = 500;

/// The most a field may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldLimit {
    /// The field, with the type where it is the limit of one.
    pub field: &'static str,
    /// How much, in `unit`.
    pub most: usize,
    /// BYTE, CHARACTER or ITEM, as in the details of a refusal.
    pub unit: &'static str,
}

/// The limits of the fields.
pub const FIELD_LIMITS: [FieldLimit; 18] = [
    limit("`clientMsgId`", ClientMsgId::MAX, "CHARACTER"),
    limit("`to` (NAVER_TALK)", TalkUserId::MAX, "CHARACTER"),
    limit("`to` (EMAIL)", MailAddress::MAX, "CHARACTER"),
    limit("`subject`", SUBJECT_LIMIT.max, SUBJECT_LIMIT.unit.name()),
    limit("`subject` (EMAIL)", LONGEST_MAIL_SUBJECT, "CHARACTER"),
    limit("`html`", LONGEST_HTML, "CHARACTER"),
    limit("`headers`", MOST_HEADERS, "ITEM"),
    limit("`template.code`", LONGEST_TEMPLATE_CODE, "CHARACTER"),
    limit("`template.variables`", MOST_VARIABLES, "ITEM"),
    limit(
        "a name in `template.variables`",
        LONGEST_VARIABLE_NAME,
        "CHARACTER",
    ),
    limit(
        "a value in `template.variables`",
        LONGEST_VARIABLE,
        "CHARACTER",
    ),
    limit("each field of `channel`", LONGEST_CHANNEL_ID, "CHARACTER"),
    limit("`buttons[].url`", LONGEST_URL, "CHARACTER"),
    limit("`attachments`", MOST_ATTACHMENTS, "ITEM"),
    limit("`attachments` together (MMS)", LARGEST_PICTURES, "BYTE"),
    limit("`attachments` (EMAIL)", MOST_MAIL_ATTACHMENTS, "ITEM"),
    limit("`attachments` together (EMAIL)", LARGEST_MAIL_FILES, "BYTE"),
    limit("`metadata`", LARGEST_METADATA, "BYTE"),
];

const fn limit(field: &'static str, most: usize, unit: &'static str) -> FieldLimit {
    FieldLimit { field, most, unit }
}
