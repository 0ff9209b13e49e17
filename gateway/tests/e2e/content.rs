//! Texts: how long, and in which characters.

use pabal_common::domain::kind::MessageType;
use pabal_common::domain::text::{Unencodable, Unit, limit};
use serde_json::json;

use crate::api::{TYPES, message, with};
use crate::endpoint::Endpoint;
use crate::house::House;

/// The longest text of a type, in Korean.
fn longest(kind: &str) -> String {
    let limit = limit(MessageType::parse(kind).unwrap());
    "가".repeat(match limit.unit {
        Unit::Byte => limit.max / 2,
        Unit::Character => limit.max,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_one_byte_or_character_too_long_is_told_limit_length_and_unit() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    for kind in TYPES {
        let limit = limit(MessageType::parse(kind).unwrap());
        for text in [longest(kind) + ".", "a".repeat(limit.max + 1)] {
            let request = with(message(kind, "order-1", 0), "text", json!(text));
            let answer = house.send(&partner, &request).await;
            answer.is_refused(400, "E006", "TEXT_TOO_LONG");
            answer.names(&json!({
                "field": "text", "limit": limit.max, "actual": limit.max + 1,
                "unit": limit.unit.name(),
            }));
        }
    }
    house.nothing_was_kept(&partner).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_text_of_every_type_is_delivered() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let mut ids = Vec::new();
    for kind in TYPES {
        let request = with(
            message(kind, &format!("order-{kind}"), 0),
            "text",
            json!(longest(kind)),
        );
        ids.push(house.accept(&partner, &request).await);
    }
    for id in ids {
        assert_eq!(house.result(&partner, &id).await["status"], "DELIVERED");
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_character_that_a_type_cannot_carry_is_told_with_its_place() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    for kind in ["SMS", "LMS", "MMS"] {
        for (text, position, character) in [
            ("감사합니다 😀", 6, "U+1F600"),
            // A Hangul syllable that CP949 has and EUC-KR has not.
            ("똠방각하", 0, "U+B620"),
            ("中国", 1, "U+56FD"),
        ] {
            let request = with(message(kind, "order-1", 0), "text", json!(text));
            let answer = house.send(&partner, &request).await;
            answer.is_refused(400, "E001", "UNENCODABLE_CHARACTER");
            answer.names(&json!({"field": "text", "position": position, "character": character}));
        }
    }
    house.nothing_was_kept(&partner).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_type_cannot_carry_another_can_or_a_partner_lets_replace() {
    let house = House::open(&[]).await;
    let partner = house.partner("shop").await;
    let lenient = house
        .partner_with("lenient", Endpoint::start(), |application| {
            application.unencodable = Unencodable::Replace('?');
        })
        .await;
    let mut sent = Vec::new();
    for kind in ["RCS", "KAKAO_ALIMTALK", "KAKAO_BRAND_MESSAGE", "NAVER_TALK"] {
        let request = with(
            message(kind, &format!("order-{kind}"), 0),
            "text",
            json!("똠방각하 😀"),
        );
        sent.push((&partner, house.accept(&partner, &request).await));
    }
    let request = with(message("SMS", "order-SMS", 0), "text", json!("똠방각하 😀"));
    house
        .send(&partner, &request)
        .await
        .is_refused(400, "E001", "UNENCODABLE_CHARACTER");
    sent.push((&lenient, house.accept(&lenient, &request).await));
    for (partner, id) in sent {
        assert_eq!(house.result(partner, &id).await["status"], "DELIVERED");
    }
    house.close().await;
}
