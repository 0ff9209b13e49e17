//! The simulated vendor refuses what NHN documents as wrong.

use axum::http::StatusCode;
use pabal_simulator::{Family, Simulator};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::world::{APP_KEY, SENDER_KEY, config, pace};

async fn simulator(product: &str) -> (Simulator, String) {
    let simulator = Simulator::start(config(product, pace()), CancellationToken::new()).await;
    let simulator = simulator.unwrap();
    let base_url = simulator.base_url(Family::Nhn).unwrap();
    (simulator, base_url)
}

async fn code(url: String, key: &str, body: &Value) -> i64 {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(url).header("x-secret-key", key);
    let request = request.body(body.to_string());
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let answer: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    let header = &answer["header"];
    let code = header["resultCode"].as_i64().unwrap();
    assert_eq!(header["isSuccessful"], json!(code == 0));
    code
}

fn sms(change: impl Fn(&mut Value)) -> Value {
    let mut body = json!({
        "title": "제목",
        "body": "본문",
        "sendNo": "15446859",
        "recipientList": [{
            "recipientNo": "01000000000",
            "recipientGroupingKey": "0000000000007",
        }],
    });
    change(&mut body);
    body
}

#[tokio::test]
async fn of_sms() {
    let (simulator, base) = simulator("sms").await;
    let at = |service: &str| format!("{base}/sms/v3.0/appKeys/{APP_KEY}/sender/{service}");
    let many = json!(vec![json!({"recipientNo": "01000000000"}); 1001]);
    let cases: [(&str, Value, i64); 17] = [
        ("sms", sms(|_| ()), 0),
        ("mms", sms(|_| ()), 0),
        (
            "sms",
            sms(|body| body["body"] = json!("가".repeat(256))),
            -2015,
        ),
        (
            "mms",
            sms(|body| body["body"] = json!("가".repeat(4001))),
            -2015,
        ),
        (
            "mms",
            sms(|body| body["title"] = json!("가".repeat(121))),
            -2015,
        ),
        ("mms", sms(|body| body["title"] = Value::Null), -2014),
        ("sms", sms(|body| body["body"] = json!("안녕 😀")), -2023),
        ("sms", sms(|body| body["sendNo"] = Value::Null), -2312),
        (
            "sms",
            sms(|body| body["sendNo"] = json!("12345678901234")),
            -2312,
        ),
        ("sms", sms(|body| body["recipientList"] = json!([])), -2001),
        (
            "sms",
            sms(|body| body["recipientList"] = many.clone()),
            -2016,
        ),
        (
            "sms",
            sms(|body| body["recipientList"][0]["recipientNo"] = Value::Null),
            -2018,
        ),
        (
            "sms",
            sms(|body| body["recipientList"][0]["recipientNo"] = json!("010-0")),
            -2019,
        ),
        ("auth/sms", sms(|_| ()), -8000),
        ("ad-sms", sms(|_| ()), -6003),
        ("nothing", sms(|_| ()), -9998),
        ("sms", json!("no"), -9997),
    ];
    for (service, body, expected) in &cases {
        let told = code(at(service), "simulator-key", body).await;
        assert_eq!(told, *expected, "{service}");
    }
    assert_eq!(simulator.taken_count(), 2);
    assert_eq!(code(at("sms"), "wrong", &sms(|_| ())).await, -1000);
    let elsewhere = format!("{base}/sms/v3.0/appKeys/other/sender/sms");
    assert_eq!(code(elsewhere, "simulator-key", &sms(|_| ())).await, -1000);
    assert_eq!(simulator.taken_count(), 2);
}

fn kakao(change: impl Fn(&mut Value)) -> Value {
    let mut body = json!({
        "senderKey": SENDER_KEY,
        "templateCode": "ORDER",
        "chatBubbleType": "TEXT",
        "content": "본문",
        "recipientList": [{
            "recipientNo": "01000000000",
            "content": "본문",
            "templateParameter": {"이름": "홍길동"},
            "targeting": "I",
            "resendParameter": {"isResend": false},
            "recipientGroupingKey": "0000000000007",
        }],
    });
    change(&mut body);
    body
}

#[tokio::test]
async fn of_kakao() {
    let (simulator, base) = simulator("kakao").await;
    let alimtalk = |service: &str| format!("{base}/alimtalk/v2.3/appkeys/{APP_KEY}/{service}");
    let brand = |service: &str| format!("{base}/brand-message/v1.0/appkeys/{APP_KEY}/{service}");
    let to = |body: &mut Value, name: &str, value: Value| body["recipientList"][0][name] = value;
    let long = json!("가".repeat(1301));
    let button = |button: Value| json!([button]);
    let web = button(json!({"ordering": 1, "type": "WL", "name": "보기"}));
    let app = button(json!({"ordering": 1, "type": "AL", "name": "앱", "linkMo": "https://a"}));
    let cases: [(String, Value, i64); 18] = [
        (alimtalk("messages"), kakao(|_| ()), 0),
        (alimtalk("raw-messages"), kakao(|_| ()), 0),
        (brand("basic-messages"), kakao(|_| ()), 0),
        (brand("freestyle-messages"), kakao(|_| ()), 0),
        (
            alimtalk("messages"),
            kakao(|body| body["senderKey"] = Value::Null),
            -2002,
        ),
        (
            alimtalk("messages"),
            kakao(|body| body["senderKey"] = long.clone()),
            -2000,
        ),
        (
            alimtalk("messages"),
            kakao(|body| body["templateCode"] = json!("")),
            -2001,
        ),
        (
            alimtalk("messages"),
            kakao(|body| body["recipientList"] = json!([])),
            -4011,
        ),
        (
            alimtalk("messages"),
            kakao(|body| to(body, "resendParameter", Value::Null)),
            -2502,
        ),
        (
            alimtalk("messages"),
            kakao(|body| to(body, "recipientNo", json!("+82"))),
            -5000,
        ),
        (
            alimtalk("messages"),
            kakao(|body| to(body, "templateParameter", Value::Null)),
            -3049,
        ),
        (
            alimtalk("raw-messages"),
            kakao(|body| to(body, "content", long.clone())),
            -2019,
        ),
        (
            alimtalk("raw-messages"),
            kakao(|body| to(body, "buttons", web.clone())),
            -3000,
        ),
        (
            alimtalk("raw-messages"),
            kakao(|body| to(body, "buttons", app.clone())),
            -3007,
        ),
        (alimtalk("auth/raw-messages"), kakao(|_| ()), -8006),
        (
            brand("basic-messages"),
            kakao(|body| to(body, "targeting", Value::Null)),
            -3298,
        ),
        (
            brand("freestyle-messages"),
            kakao(|body| body["content"] = long.clone()),
            -3304,
        ),
        (alimtalk("nothing"), kakao(|_| ()), -9998),
    ];
    for (url, body, expected) in &cases {
        let told = code(url.clone(), "simulator-key", body).await;
        assert_eq!(told, *expected, "{url}");
    }
    assert_eq!(simulator.taken_count(), 4);
    assert_eq!(
        code(alimtalk("messages"), "wrong", &kakao(|_| ())).await,
        -1001
    );
    assert_eq!(simulator.taken_count(), 4);
}
