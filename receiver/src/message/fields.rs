//! Which fields a message type needs, takes, or does not know: one table, from which requests are
//! checked and the documentation is made.

use pabal_common::domain::kind::MessageType;

use super::request::{ChannelRequest, MessageRequest};

/// The table for people, in Markdown; a test keeps it equal to [`presence`].
pub const FIELD_TABLE: &str = include_str!("fields.md");

/// What `POST /v1/messages` does, for people.
pub(crate) const SEND_DESCRIPTION: &str = concat!(
    "202 means that the message is kept and will be carried to its end. A request repeated with \
     the same `clientMsgId` is answered E004 with the id of the message it was accepted as, and is \
     never sent twice; a refused request does not use up its `clientMsgId`.\n\n",
    include_str!("fields.md"),
);

/// What a field is to a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It must be there.
    Required,
    /// It may be there.
    Optional,
    /// It is refused: the type could not carry it, and dropping it in silence would send something
    /// else than was asked for.
    Refused,
}

/// The fields that depend on the type. `clientMsgId`, `type`, `to` and `text` every type needs;
/// `purpose`, `validitySeconds` and `metadata` every type takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The sender number.
    From,
    /// The title.
    Subject,
    /// The template with its variables.
    Template,
    /// The buttons.
    Buttons,
    /// The files.
    Attachments,
    /// The HTML of a mail.
    Html,
    /// Where answers to a mail go.
    ReplyTo,
    /// Further headers of a mail.
    Headers,
    /// The Kakao sender profile.
    SenderKey,
    /// The RCS brand.
    BrandId,
    /// The RCS chatroom.
    ChatbotId,
    /// The RCS message base.
    MessagebaseId,
    /// The TalkTalk channel.
    TalkId,
}

impl Field {
    /// Every field, in the order of the table.
    pub const ALL: [Self; 13] = [
        Self::From,
        Self::Subject,
        Self::Template,
        Self::Buttons,
        Self::Attachments,
        Self::Html,
        Self::ReplyTo,
        Self::Headers,
        Self::SenderKey,
        Self::BrandId,
        Self::ChatbotId,
        Self::MessagebaseId,
        Self::TalkId,
    ];

    /// Where it stands in a request.
    pub const fn path(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::Subject => "subject",
            Self::Template => "template",
            Self::Buttons => "buttons",
            Self::Attachments => "attachments",
            Self::Html => "html",
            Self::ReplyTo => "replyTo",
            Self::Headers => "headers",
            Self::SenderKey => "channel.senderKey",
            Self::BrandId => "channel.brandId",
            Self::ChatbotId => "channel.chatbotId",
            Self::MessagebaseId => "channel.messagebaseId",
            Self::TalkId => "channel.talkId",
        }
    }

    /// Whether the request has it. An empty list counts as absent.
    pub(super) fn is_in(self, request: &MessageRequest) -> bool {
        let channel = |of: fn(&ChannelRequest) -> &Option<String>| {
            request.channel.as_ref().is_some_and(|c| of(c).is_some())
        };
        match self {
            Self::From => request.from.is_some(),
            Self::Subject => request.subject.is_some(),
            Self::Template => request.template.is_some(),
            Self::Buttons => request.buttons.as_ref().is_some_and(|b| !b.is_empty()),
            Self::Attachments => request.attachments.as_ref().is_some_and(|a| !a.is_empty()),
            Self::Html => request.html.is_some(),
            Self::ReplyTo => request.reply_to.is_some(),
            Self::Headers => request.headers.as_ref().is_some_and(|h| !h.is_empty()),
            Self::SenderKey => channel(|c| &c.sender_key),
            Self::BrandId => channel(|c| &c.brand_id),
            Self::ChatbotId => channel(|c| &c.chatbot_id),
            Self::MessagebaseId => channel(|c| &c.messagebase_id),
            Self::TalkId => channel(|c| &c.talk_id),
        }
    }
}

/// What `field` is to `kind`.
pub const fn presence(kind: MessageType, field: Field) -> Presence {
    use Field as F;
    use MessageType as T;
    use Presence::{Optional, Refused, Required};
    match (kind, field) {
        (T::Sms | T::Lms | T::Mms, F::From) => Required,
        (T::Lms | T::Mms, F::Subject) => Optional,
        (T::Mms, F::Attachments) => Optional,

        (T::KakaoAlimtalk, F::Template | F::SenderKey) => Required,
        (T::KakaoAlimtalk, F::Buttons) => Optional,

        (T::KakaoBrandMessage, F::SenderKey) => Required,
        (T::KakaoBrandMessage, F::Template | F::Buttons) => Optional,

        (T::NaverTalk, F::TalkId) => Required,
        (T::NaverTalk, F::Buttons) => Optional,

        (T::Rcs, F::From | F::BrandId | F::ChatbotId | F::MessagebaseId) => Required,
        (T::Rcs, F::Subject | F::Buttons) => Optional,

        (T::Email, F::From | F::Subject) => Required,
        (T::Email, F::Attachments | F::Html | F::ReplyTo | F::Headers) => Optional,

        _ => Refused,
    }
}
