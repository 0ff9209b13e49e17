//! Single requests of a partner, and what is said to them.

use pabal_gateway::trial::site::{Partner, SENDER};
use serde_json::{Value, json};

use crate::world::World;

/// What was said to a request.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Said {
    pub(crate) fn is_accepted(&self) -> bool {
        self.status == 202
    }

    /// E004 with this reason.
    pub(crate) fn is_known(&self, reason: &str) -> bool {
        self.status == 409 && self.body["code"] == "E004" && self.body["reason"] == reason
    }

    /// The message it speaks of.
    #[track_caller]
    pub(crate) fn message(&self) -> String {
        let id = self.body["messageId"].as_str();
        id.unwrap_or_else(|| panic!("no id: {self:?}")).to_owned()
    }
}

/// An SMS to a recipient that ends in these digits.
pub(crate) fn sms(client: &str, row: u8) -> Value {
    let number = fastrand::u32(0..1_000_000);
    json!({
        "clientMsgId": client, "type": "SMS", "from": SENDER,
        "to": format!("010{number:06}{row:02}"), "text": "안녕하세요, 파발입니다.",
    })
}

/// A Kakao message that is reported by polling.
pub(crate) fn brand_message(client: &str) -> Value {
    let number = fastrand::u32(0..1_000_000);
    json!({
        "clientMsgId": client, "type": "KAKAO_BRAND_MESSAGE",
        "to": format!("010{number:06}00"), "text": "안녕하세요, 파발입니다.",
        "channel": { "senderKey": "0123456789abcdef0123456789abcdef01234567" },
    })
}

/// Asks one receiver to take a message; nothing if it did not answer.
pub(crate) async fn ask(
    world: &World,
    partner: &Partner,
    base: &str,
    message: &Value,
) -> Option<Said> {
    let request = world.site.client.post(format!("{base}/v1/messages"));
    let answer = request.bearer_auth(&partner.token).json(message).send();
    let answer = answer.await.ok()?;
    Some(Said {
        status: answer.status().as_u16(),
        body: answer.json().await.ok()?,
    })
}

/// Sends messages as one batch that is accepted as a whole; their ids.
pub(crate) async fn accept(
    world: &World,
    partner: &Partner,
    base: &str,
    messages: &[Value],
) -> Vec<String> {
    let request = world.site.client.post(format!("{base}/v1/messages/batch"));
    let request = request.bearer_auth(&partner.token);
    let answer = request.json(&json!({ "messages": messages })).send().await;
    let answer: Value = answer.unwrap().json().await.unwrap();
    assert_eq!(answer["accepted"], messages.len(), "{answer}");
    let results = answer["results"].as_array().unwrap();
    let id = |one: &Value| one["messageId"].as_str().unwrap().to_owned();
    results.iter().map(id).collect()
}
