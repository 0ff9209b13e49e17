//! Answers to a call, in the words of either product.

use axum::body::Body;
use axum::http::Response;
use serde_json::{Value, json};

use super::super::Fate;
use super::super::fault::json as answer_with;
use super::{Product, Recipient, request_id};

/// The call as a whole failed; as everywhere at NHN, inside HTTP 200.
pub(super) fn failure(code: i32) -> Response<Body> {
    answer_with(200, &json!({ "header": header(code) }))
}

/// A header that speaks of the whole call.
pub(super) fn header(code: i32) -> Value {
    json!({
        "isSuccessful": code == 0,
        "resultCode": code,
        "resultMessage": if code == 0 { "SUCCESS" } else { "failed" },
    })
}

/// The answer for one recipient. Where none is taken, Kakao fails the call too.
pub(super) fn answer(
    product: Product,
    recipient: &Recipient,
    fate: Option<&Fate>,
) -> Response<Body> {
    let (code, request) = match fate {
        Some(Fate::Taken(vendor) | Fate::Ended(vendor, _)) => (0, Some(request_id(*vendor))),
        Some(Fate::Refused) | None => (product.refusal(), None),
    };
    let entry = json!({
        "recipientNo": recipient.number,
        "resultCode": code,
        "resultMessage": if code == 0 { "SUCCESS" } else { "failed" },
        "recipientSeq": 1,
        "recipientGroupingKey": recipient.message.to_string(),
    });
    let whole = match product {
        Product::Sms => json!({
            "header": header(0),
            "body": {
                "data": {
                    "requestId": request,
                    "statusCode": if code == 0 { "2" } else { "3" },
                    "sendResultList": [entry],
                },
            },
        }),
        Product::Kakao => json!({
            "header": header(if code == 0 { 0 } else { -1031 }),
            "message": { "requestId": request, "sendResults": [entry] },
        }),
    };
    answer_with(200, &whole)
}
