//! Every class of answer, in the forms the documentation prints.

use pabal_common::domain::id::MessageId;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::report::VendorMessageId;
use pabal_provider::{Answer, Closed, Lost, Outcome};
use serde_json::{Value, json};

use crate::canned::Canned;
use crate::world::{Line, answers, call, message, provider};

const REQUEST: &str = "20180810100630ReZQ6KZzAH0";

fn header(code: i32) -> Value {
    json!({"isSuccessful": code == 0, "resultCode": code, "resultMessage": "…"})
}

/// An answer with one recipient's entry.
fn answer(line: Line, whole: Value, request: Value, entry: Value) -> String {
    let whole = match line.product() {
        "sms" => json!({
            "header": whole,
            "body": {"data": {
                "requestId": request, "statusCode": "2", "sendResultList": [entry],
            }},
        }),
        _ => json!({"header": whole, "message": {"requestId": request, "sendResults": [entry]}}),
    };
    whole.to_string()
}

fn entry(id: MessageId, code: i32) -> Value {
    json!({
        "recipientNo": "01000000000", "resultCode": code, "resultMessage": "…",
        "recipientSeq": 1, "recipientGroupingKey": id.to_string(),
    })
}

/// What the adapter makes of the answer that `write` gives for a message's id.
async fn outcome(line: Line, status: u16, write: impl Fn(MessageId) -> String) -> Outcome {
    let call = call(message(line, 0));
    let body = write(call.messages[0].id);
    let vendor = Canned::new(move |_| (status, body.clone())).await;
    provider(&vendor.base_url, line.product(), "")
        .submit(&call)
        .await
}

#[tokio::test]
async fn an_accepted_recipient_is_taken_under_request_and_place() {
    for line in Line::ALL {
        let outcome = outcome(line, 200, |id| {
            answer(line, header(0), json!(REQUEST), entry(id, 0))
        });
        let vendor_id = VendorMessageId::new("20180810100630ReZQ6KZzAH0:1");
        assert_eq!(answers(&outcome.await), [Answer::Taken { vendor_id }]);
    }
}

#[tokio::test]
async fn a_brand_message_is_taken_whether_success_is_0_or_200() {
    let outcome = outcome(Line::Brand, 200, |_| {
        let header = json!({"isSuccessful": true, "resultCode": 200});
        let entry = json!({"recipientSeq": "1", "resultCode": "0"});
        answer(Line::Brand, header, json!(REQUEST), entry)
    });
    let vendor_id = VendorMessageId::new("20180810100630ReZQ6KZzAH0:1");
    assert_eq!(answers(&outcome.await), [Answer::Taken { vendor_id }]);
}

#[tokio::test]
async fn a_failure_inside_200_is_what_its_code_says() {
    use Answer::{Closed as Shut, Refused};
    let cases = [
        (Line::Sms, -2015, Some(Reason::ContentRejected), None),
        (Line::Sms, -2019, Some(Reason::InvalidRecipient), None),
        (Line::Sms, -2023, Some(Reason::ContentRejected), None),
        (Line::Sms, -2312, Some(Reason::SenderRejected), None),
        (Line::Sms, -6001, Some(Reason::OptedOut), None),
        (Line::Sms, -8000, Some(Reason::ContentRejected), None),
        (Line::Sms, -1000, None, Some(Closed::Credentials)),
        (Line::Sms, -1004, None, Some(Closed::Credentials)),
        (Line::Sms, -1008, None, Some(Closed::Suspended)),
        (Line::Sms, -2052, None, Some(Closed::Quota)),
        (Line::Sms, -9999, None, None),
        (Line::Sms, -31_337, None, None),
        (Line::Alimtalk, -3003, Some(Reason::ContentRejected), None),
        (Line::Alimtalk, -2017, Some(Reason::SenderRejected), None),
        (Line::Alimtalk, -5000, Some(Reason::InvalidRecipient), None),
        (Line::Alimtalk, -1001, None, Some(Closed::Credentials)),
        // The same key within ten minutes: what became of the first is not said.
        (Line::Alimtalk, -1005, None, None),
        (Line::Brand, -3301, Some(Reason::OptedOut), None),
    ];
    for (line, number, refused, closed) in cases {
        let code = number.to_string();
        let expected = match (refused, closed) {
            (Some(reason), _) => Refused { code, reason },
            (None, Some(why)) => Shut { code, why },
            (None, None) => Answer::Unknown { code },
        };
        let by_header = outcome(line, 200, |_| json!({"header": header(number)}).to_string());
        assert_eq!(answers(&by_header.await), std::slice::from_ref(&expected));
        let by_entry = outcome(line, 200, |id| {
            answer(line, header(0), Value::Null, entry(id, number))
        });
        assert_eq!(answers(&by_entry.await), std::slice::from_ref(&expected));
        // Kakao also fails the call where every recipient of it failed; the recipient knows why.
        let by_both = outcome(line, 200, |id| {
            answer(line, header(-1031), Value::Null, entry(id, number))
        });
        assert_eq!(answers(&by_both.await), [expected]);
    }
}

#[tokio::test]
async fn an_answer_that_contradicts_itself_or_speaks_of_another_proves_nothing() {
    let success = json!({"isSuccessful": true, "resultCode": -1000});
    let failure = json!({"isSuccessful": false, "resultCode": 0});
    for line in Line::ALL {
        let other = MessageId::from_number(7);
        let bodies = [
            answer(line, header(0), json!(REQUEST), entry(other, 0)),
            answer(line, header(0), json!(REQUEST), entry(other, -2019)),
            json!({"header": success}).to_string(),
            json!({"header": failure}).to_string(),
            json!({"header": header(0)}).to_string(),
            json!({"header": header(0), "message": {"requestId": REQUEST, "sendResults": [
                {"recipientSeq": 1, "resultCode": 0}, {"recipientSeq": 2, "resultCode": 0},
            ]}})
            .to_string(),
            "null".to_owned(),
            String::new(),
        ];
        for body in bodies {
            let outcome = outcome(line, 200, |_| body.clone()).await;
            assert_eq!(outcome, Outcome::Unknown(Lost::Garbled), "{line:?} {body}");
        }
    }
}

#[tokio::test]
async fn success_without_an_id_is_unknown() {
    for (request, seq) in [
        (Value::Null, json!(1)),
        (json!(""), json!(1)),
        (json!(REQUEST), Value::Null),
        (json!(REQUEST), json!("first")),
    ] {
        let outcome = outcome(Line::Sms, 200, |_| {
            let entry = json!({"resultCode": 0, "recipientSeq": seq});
            answer(Line::Sms, header(0), request.clone(), entry)
        });
        let unknown = Answer::Unknown {
            code: "BAD_ID".to_owned(),
        };
        assert_eq!(answers(&outcome.await), [unknown]);
    }
}

#[tokio::test]
async fn a_status_that_blames_the_request_counts_by_its_code() {
    let said = |code| json!({"header": header(code)}).to_string();
    let refused = outcome(Line::Sms, 400, |_| said(-2019)).await;
    let reason = Reason::InvalidRecipient;
    let code = "-2019".to_owned();
    assert_eq!(refused, Outcome::Refused { code, reason });
    let closed = outcome(Line::Alimtalk, 401, |_| said(-1001)).await;
    let (code, why) = ("-1001".to_owned(), Closed::Credentials);
    assert_eq!(closed, Outcome::Closed { code, why });
    for (status, body) in [
        (400, said(-9999)),
        (401, "<html>".to_owned()),
        (500, said(-2019)),
        (503, String::new()),
        (302, said(-1001)),
    ] {
        let unknown = Outcome::Unknown(Lost::Status(status));
        assert_eq!(outcome(Line::Sms, status, |_| body.clone()).await, unknown);
    }
}
