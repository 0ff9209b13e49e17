//! NHN's answer to a call: a header that speaks for the whole, and one entry a recipient.
//!
//! Failures come inside HTTP 200, with `isSuccessful: false`.

use pabal_common::domain::id::MessageId;
use serde::Deserialize;

use super::super::code::Codes;
use super::code::ACCEPTED;
use super::wire::{Word, vendor_id};
use crate::provider::Answer;

/// What "Send basic message" of Brand Message documents beside `isSuccessful: true`; everywhere
/// else it is 0.
const ACCEPTED_BRAND: &str = "200";

/// What every answer of NHN begins with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Header {
    is_successful: bool,
    result_code: Word,
}

impl Header {
    /// Whether the whole call succeeded, by flag and code.
    pub(super) fn succeeded(&self) -> bool {
        let code = self.result_code.text();
        self.is_successful && (code == ACCEPTED || code == ACCEPTED_BRAND)
    }

    /// Why the whole call failed; `None` if it did not, or contradicts itself.
    pub(super) fn failure(&self) -> Option<String> {
        let code = self.result_code.text();
        (!self.is_successful && code != ACCEPTED).then_some(code)
    }
}

#[derive(Deserialize)]
struct Envelope {
    header: Header,
    /// SMS.
    body: Option<Wrapped>,
    /// Kakao.
    message: Option<Sent>,
}

#[derive(Deserialize)]
struct Wrapped {
    data: Option<Sent>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    request_id: Option<String>,
    #[serde(default, alias = "sendResultList")]
    send_results: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    result_code: Option<Word>,
    recipient_seq: Option<Word>,
    recipient_grouping_key: Option<String>,
}

impl Entry {
    fn failure(&self) -> Option<String> {
        let code = self.result_code.as_ref()?.text();
        (code != ACCEPTED).then_some(code)
    }
}

/// The answer for the one message of a call; `None` if it cannot be understood, or is about
/// another.
pub(super) fn read(body: &[u8], message: MessageId, codes: Codes) -> Option<Vec<Answer>> {
    let Envelope {
        header,
        body,
        message: kakao,
    } = serde_json::from_slice(body).ok()?;
    let sent = body.and_then(|body| body.data).or(kakao);
    let entry = match sent.as_ref().map(|sent| sent.send_results.as_slice()) {
        Some([entry]) => Some(entry),
        None | Some([]) => None,
        Some(_) => return None,
    };
    let ours = |key: &String| key.parse() == Ok(message);
    let key = entry.and_then(|entry| entry.recipient_grouping_key.as_ref());
    if key.is_some_and(|key| !ours(key)) {
        return None;
    }
    // Beside the recipient it is told more exactly.
    let failure = entry.and_then(Entry::failure).or_else(|| header.failure());
    if let Some(code) = failure {
        return Some(vec![codes.answer(&code, None)]);
    }
    let (sent, entry) = (sent.as_ref()?, entry.filter(|_| header.succeeded())?);
    entry.result_code.as_ref()?;
    let request = sent.request_id.as_deref();
    let seq = entry.recipient_seq.as_ref();
    Some(vec![match vendor_id(request, seq) {
        Some(id) => codes.answer(ACCEPTED, Some(id)),
        None => Answer::Unknown {
            code: "BAD_ID".to_owned(),
        },
    }])
}

/// What an answer whose status blames the request says of it.
pub(super) fn read_refusal(body: &[u8], codes: Codes) -> Option<Answer> {
    let Envelope { header, .. } = serde_json::from_slice(body).ok()?;
    let answer = codes.answer(&header.failure()?, None);
    matches!(answer, Answer::Refused { .. } | Answer::Closed { .. }).then_some(answer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::code::{KAKAO, SMS};
    use super::*;

    const ID: MessageId = MessageId::from_number(1);

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(body: Vec<u8>) {
            for codes in [SMS, KAKAO] {
                let answers = read(&body, ID, codes);
                prop_assert!(answers.is_none_or(|answers| answers.len() == 1));
                let _ = read_refusal(&body, codes);
            }
        }

        #[test]
        fn only_success_everywhere_is_taken(
            flag: bool, whole in -3_i64..3, code in prop::option::of(-3_i64..3), seq: u32,
            request in prop::option::of("[0-9A-Za-z]{1,25}"),
        ) {
            let entry = serde_json::json!({"resultCode": code, "recipientSeq": seq});
            let sent = serde_json::json!({"requestId": request, "sendResults": [entry]});
            let header = serde_json::json!({"isSuccessful": flag, "resultCode": whole});
            let body = serde_json::json!({"header": header, "message": sent}).to_string();
            let answers = read(body.as_bytes(), ID, KAKAO);
            let taken = matches!(answers.as_deref(), Some([Answer::Taken { vendor_id: Some(_) }]));
            let expected = flag && whole == 0 && code == Some(0) && request.is_some();
            prop_assert_eq!(taken, expected);
        }
    }
}
