//! What the vendor answers to a call: HTTP 200 with the messages it took and those it refused, each
//! bearing the fields it was given; any other status with an `errorCode`.

use std::collections::HashMap;

use pabal_common::domain::id::MessageId;
use serde::Deserialize;

use super::super::reading::Answers;
use super::codes::CODES;
use super::stored::{Stored, text};
use crate::provider::Answer;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Submitted {
    #[serde(default)]
    failed_message_list: Vec<Stored>,
    #[serde(default)]
    message_list: Vec<Stored>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Error {
    #[serde(deserialize_with = "text")]
    error_code: Option<String>,
}

/// The answers for `messages`, in their order. A refused message may stand in both lists; an answer
/// that says two things of one message says nothing.
pub(super) fn read_answer(body: &[u8], messages: &[MessageId]) -> Option<Vec<Answer>> {
    let submitted: Submitted = serde_json::from_slice(body).ok()?;
    let places: HashMap<_, _> = messages.iter().zip(0..).collect();
    let mut answers = Answers::of(messages.len());
    let mut said: HashMap<usize, &str> = HashMap::new();
    let entries = submitted.failed_message_list.iter();
    for entry in entries.chain(&submitted.message_list) {
        // Without our id it belongs to no message; that one is then without an answer.
        let Some(message) = entry.message() else {
            continue;
        };
        let place = *places.get(&message)?;
        let code = entry.status_code.as_deref().unwrap_or_default();
        match said.insert(place, code) {
            None => answers.put(place, answer(entry, code))?,
            Some(before) if before == code => {}
            Some(_) => return None,
        }
    }
    answers.complete()
}

fn answer(entry: &Stored, code: &str) -> Answer {
    match (CODES.answer(code, entry.vendor_id()), &entry.message_id) {
        // What cannot be recognised again in a report is not known to be taken.
        (Answer::Taken { vendor_id: None }, Some(_)) => Answer::Unknown {
            code: "BAD_ID".to_owned(),
        },
        (answer, _) => answer,
    }
}

/// What a status that blames the request says of every message of the call.
pub(super) fn read_error(body: &[u8]) -> Option<Answer> {
    let error: Error = serde_json::from_slice(body).ok()?;
    let answer = CODES.answer(&error.error_code?, None);
    matches!(answer, Answer::Refused { .. } | Answer::Closed { .. }).then_some(answer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDS: [MessageId; 2] = [MessageId::from_number(1), MessageId::from_number(2)];

    fn entry(message: MessageId, code: &str) -> serde_json::Value {
        serde_json::json!({
            "messageId": "M4V20260101000000AAAAAAAAAAAAAAA",
            "statusCode": code,
            "customFields": {"message": message},
        })
    }

    fn read(failed: &[serde_json::Value], taken: &[serde_json::Value]) -> Option<Vec<Answer>> {
        let body = serde_json::json!({"failedMessageList": failed, "messageList": taken});
        read_answer(body.to_string().as_bytes(), &IDS)
    }

    #[test]
    fn a_refusal_may_stand_in_both_lists_but_not_with_another_code() {
        let refused = entry(IDS[0], "1062");
        let taken = entry(IDS[1], "2000");
        let answers = read(
            std::slice::from_ref(&refused),
            &[refused.clone(), taken.clone()],
        )
        .unwrap();
        assert!(matches!(&answers[0], Answer::Refused { code, .. } if code == "1062"));
        assert!(matches!(&answers[1], Answer::Taken { vendor_id: Some(_) }));
        assert_eq!(read(&[refused], &[entry(IDS[0], "2000"), taken]), None);
    }

    #[test]
    fn a_message_that_is_not_spoken_of_is_unknown_and_a_foreign_one_spoils_the_answer() {
        let answers = read(&[], &[entry(IDS[1], "2000")]).unwrap();
        assert!(matches!(&answers[0], Answer::Unknown { .. }));
        let foreign = entry(MessageId::from_number(3), "2000");
        assert_eq!(read(&[], &[entry(IDS[1], "2000"), foreign]), None);
        assert_eq!(read(&[], &[]), None);
    }

    #[test]
    fn an_error_that_is_not_listed_as_a_refusal_refuses_nothing() {
        for code in ["DuplicatedSignature", "FailedGroup", "2000", "4000", ""] {
            let body = serde_json::json!({"errorCode": code, "errorMessage": "…"});
            assert_eq!(read_error(body.to_string().as_bytes()), None, "{code}");
        }
        assert_eq!(read_error(br#"{"code":"ValidationError"}"#), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(body: Vec<u8>) {
            let answers = read_answer(&body, &IDS);
            prop_assert!(answers.is_none_or(|answers| answers.len() == IDS.len()));
            let _ = read_error(&body);
        }

        #[test]
        fn an_answer_of_the_right_shape_has_one_entry_per_message(
            failed in proptest::collection::vec((0_u64..4, "[0-9]{0,5}"), 0..4),
            taken in proptest::collection::vec((0_u64..4, "[0-9]{0,5}"), 0..4),
        ) {
            let written = |list: Vec<(u64, String)>| -> Vec<_> {
                list.iter().map(|(id, code)| entry(MessageId::from_number(*id), code)).collect()
            };
            let answers = read(&written(failed), &written(taken));
            prop_assert!(answers.is_none_or(|answers| answers.len() == IDS.len()));
        }
    }
}
