//! A message as a partner writes it.
//!
//! Every field is optional to the parser: which ones a type needs is a question of content, so that
//! all that are missing can be named at once. `null` counts as absent.

use std::collections::BTreeMap;

use pabal_common::domain::kind::{MessageType, Purpose};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// One message to send. Which fields a type needs, and which it does not know, is in the table of
/// the operation.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({
    "clientMsgId": "order-1001",
    "type": "SMS",
    "to": "010-1234-5678",
    "from": "02-1234-5678",
    "text": "주문하신 상품이 발송되었습니다."
}))]
pub struct MessageRequest {
    /// Your own id of the message, 1 to 64 visible ASCII characters. A request repeated under the
    /// same id is never sent twice.
    #[schema(
        required = true,
        nullable = false,
        min_length = 1,
        max_length = 64,
        example = "order-1001"
    )]
    pub client_msg_id: Option<String>,
    /// What kind of message it is.
    #[serde(rename = "type")]
    #[schema(required = true, nullable = false, value_type = MessageType)]
    pub kind: Option<String>,
    /// What it is for: AUTH takes the express lane. Without it, INFO.
    #[schema(value_type = Option<Purpose>)]
    pub purpose: Option<String>,
    /// The recipient: a Korean mobile number in any usual notation; for NAVER_TALK the channel's id
    /// of its user; for EMAIL a mail address.
    #[schema(required = true, nullable = false, example = "010-1234-5678")]
    pub to: Option<String>,
    /// The sender: one of the numbers registered for you; for EMAIL an address of one of your domains,
    /// with or without a name.
    #[schema(example = "02-1234-5678")]
    pub from: Option<String>,
    /// The title, at most 40 bytes; of an EMAIL, at most 255 characters.
    pub subject: Option<String>,
    /// The text. SMS 90, LMS 4000, MMS 2000, RCS 1300 bytes (ASCII 1, other 2); KAKAO_ALIMTALK 1000,
    /// KAKAO_BRAND_MESSAGE 1400, NAVER_TALK 1000, EMAIL 30000 characters. Every type needs it, but for an Alimtalk
    /// whose template is registered: left out, it is filled in from the template.
    #[schema(nullable = false, example = "주문하신 상품이 발송되었습니다.")]
    pub text: Option<String>,
    /// The approved template. If it is registered, text and buttons must be what it says, or be left
    /// out.
    pub template: Option<TemplateRequest>,
    /// Buttons below the text.
    pub buttons: Option<Vec<ButtonRequest>>,
    /// Who you are on the channel.
    pub channel: Option<ChannelRequest>,
    /// How long the message is worth sending, 10 to 86400 seconds. Without it, 180 for AUTH and
    /// 86400 for the others.
    #[schema(minimum = 10, maximum = 86400)]
    pub validity_seconds: Option<i64>,
    /// The HTML of a mail, beside its text or instead of it.
    pub html: Option<String>,
    /// Where answers to a mail go. Without it, to `from`.
    #[schema(example = "Help <help@shop.example>")]
    pub reply_to: Option<String>,
    /// Further headers of a mail, by name: those that begin with `X-`, and Auto-Submitted,
    /// Feedback-ID, Importance, In-Reply-To, Keywords, List-Help, List-Id, List-Unsubscribe,
    /// Precedence, References. Advertising needs List-Unsubscribe with an `https` address.
    #[schema(example = json!({"List-Unsubscribe": "<https://shop.example/leave/1001>"}))]
    pub headers: Option<BTreeMap<String, String>>,
    /// Files that were uploaded before with `POST /v1/files`.
    pub attachments: Option<Vec<AttachmentRequest>>,
    /// Anything you want back with the result: a JSON object of at most 2048 bytes. It is kept in
    /// the clear, so put no personal data in it.
    #[schema(value_type = Option<Object>, example = json!({"campaign": "spring"}))]
    pub metadata: Option<Box<RawValue>>,
}

/// An approved template and the values of its variables.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateRequest {
    /// The template's code, 1 to 32 visible ASCII characters.
    #[schema(required = true, nullable = false, example = "ORDER_SHIPPED")]
    pub code: Option<String>,
    /// Variable name → value, at most 40.
    #[schema(example = json!({"name": "홍길동"}))]
    pub variables: Option<BTreeMap<String, String>>,
}

/// A button.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ButtonRequest {
    /// What it does: WL opens a page, AL an app; which ones a type has is in the table of the
    /// operation.
    #[serde(rename = "type")]
    #[schema(required = true, nullable = false, example = "WL")]
    pub kind: Option<String>,
    /// What is written on it.
    #[schema(required = true, nullable = false, example = "배송 조회")]
    pub name: Option<String>,
    /// Where it leads, at most 500 characters.
    #[schema(example = "https://shop.example/orders/1001")]
    pub url: Option<String>,
}

/// Who the partner is on a channel.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelRequest {
    /// Kakao: the key of the sender profile.
    pub sender_key: Option<String>,
    /// RCS: the brand.
    pub brand_id: Option<String>,
    /// RCS: the chatroom.
    pub chatbot_id: Option<String>,
    /// RCS: the message base.
    pub messagebase_id: Option<String>,
    /// Naver TalkTalk: the channel. As every id here, 1 to 64 visible ASCII characters.
    pub talk_id: Option<String>,
}

/// A file that goes with the message.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AttachmentRequest {
    /// Its id.
    #[schema(required = true, nullable = false)]
    pub file_id: Option<String>,
}
