//! What a partner sends to the API, and what it answers.

use reqwest::RequestBuilder;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

/// A sender number of every partner here.
pub(crate) const SENDER: &str = "02-123-4567";
/// Every message type that the reference vendors carry, by its name.
pub(crate) const TYPES: [&str; 7] = [
    "SMS",
    "LMS",
    "MMS",
    "KAKAO_ALIMTALK",
    "KAKAO_BRAND_MESSAGE",
    "NAVER_TALK",
    "RCS",
];

/// A good message of a type whose recipient ends in `digits`.
pub(crate) fn message(kind: &str, client: &str, digits: u8) -> Value {
    let mut message = json!({
        "clientMsgId": client,
        "type": kind,
        "to": format!("010-2345-67{digits:02}"),
        "text": "주문하신 상품이 발송되었습니다.",
    });
    let more = match kind {
        "SMS" | "LMS" | "MMS" => json!({"from": SENDER}),
        "KAKAO_ALIMTALK" => json!({
            "template": {"code": "ORDER_SHIPPED"}, "channel": {"senderKey": "sender-key"},
        }),
        "KAKAO_BRAND_MESSAGE" => json!({"channel": {"senderKey": "sender-key"}}),
        "NAVER_TALK" => json!({
            "to": format!("user-{digits:02}"), "channel": {"talkId": "w45ab1"},
        }),
        "RCS" => json!({
            "from": SENDER,
            "channel": {"brandId": "BR.1", "chatbotId": "bot-1", "messagebaseId": "SS000000"},
        }),
        other => panic!("no such type: {other}"),
    };
    extend(&mut message, more);
    message
}

/// An SMS that will be delivered.
pub(crate) fn sms(client: &str) -> Value {
    message("SMS", client, 0)
}

/// The same message with another value in one field; `null` takes the field away.
pub(crate) fn with(mut message: Value, field: &str, value: Value) -> Value {
    message[field] = value;
    message
}

/// A batch of messages.
pub(crate) fn batch(messages: impl IntoIterator<Item = Value>) -> Value {
    json!({"messages": messages.into_iter().collect::<Vec<_>>()})
}

fn extend(message: &mut Value, more: Value) {
    let (Value::Object(message), Value::Object(more)) = (message, more) else {
        panic!("not objects");
    };
    message.extend(more);
}

/// An answer, whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The body; text that is no JSON becomes a JSON string.
    pub(crate) body: Value,
}

impl Answer {
    /// The answer to a request that is expected to be answered.
    pub(crate) async fn to(request: RequestBuilder) -> Self {
        Self::try_to(request).await.unwrap()
    }

    /// The answer, or why there is none.
    pub(crate) async fn try_to(request: RequestBuilder) -> Result<Self, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Self {
            status,
            headers,
            body,
        })
    }

    #[track_caller]
    pub(crate) fn text(&self, field: &str) -> &str {
        self.body[field]
            .as_str()
            .unwrap_or_else(|| panic!("{field} in {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(HeaderValue::to_str)
            .and_then(Result::ok)
    }

    /// Seconds.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.header("retry-after")
            .and_then(|seconds| seconds.parse().ok())
    }

    /// It is an error answer of this kind, with everything an error answer has.
    #[track_caller]
    pub(crate) fn is_refused(&self, status: u16, code: &str, reason: &str) {
        let found = (self.status, &self.body["code"], &self.body["reason"]);
        assert_eq!(found, (status, &json!(code), &json!(reason)), "{self:?}");
        assert!(!self.text("message").is_empty());
        assert!(!self.text("requestId").is_empty());
        assert!(self.body["details"].is_array(), "{self:?}");
        assert_eq!(
            self.header("x-request-id"),
            self.body["requestId"].as_str(),
            "{self:?}"
        );
    }

    /// The first detail has at least these fields with these values.
    #[track_caller]
    pub(crate) fn names(&self, expected: &Value) {
        let detail = &self.body["details"][0];
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&detail[field], value, "{field} in {self:?}");
        }
    }
}
