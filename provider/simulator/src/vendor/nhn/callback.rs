//! Webhooks about results. The signature is the very text that was configured.

use pabal_common::clock::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::super::Vendor;
use super::{Product, kst, request_id, setting};
use crate::callbacks::Callback;
use crate::reports::{Item, Notation};

pub(crate) const CALLBACK: Callback = Callback {
    batch: 100,
    body,
    headers,
};

fn headers(vendor: &Vendor, _: &[u8], _: Timestamp) -> Vec<(&'static str, String)> {
    let signature = vendor.account.callback_secret.expose_secret().to_owned();
    vec![("x-toast-webhook-signature", signature)]
}

fn body(vendor: &Vendor, items: &[Item], at: Timestamp) -> serde_json::Result<Vec<u8>> {
    let product = Product::of(vendor);
    let hooks: Vec<Value> = items.iter().map(|item| hook(product, item, at)).collect();
    serde_json::to_vec(&json!({
        "hooksId": "202007271010101010sadasdavas",
        "webhookConfigId": "simulator",
        "productName": match product {
            Product::Sms => "SMS",
            Product::Kakao => "KakaoTalk Bizmessage",
        },
        "appKey": setting(vendor, "app_key"),
        "event": "MESSAGE_RESULT_UPDATE",
        "hooks": hooks,
    }))
}

/// The other notation writes the place as text, and the grouping key as the documentation's example
/// does.
fn hook(product: Product, item: &Item, at: Timestamp) -> Value {
    let code = product.code_of(item.ending);
    let mut hook = json!({
        "hookId": "20240429205809GcSUXthVA00",
        "requestId": request_id(item.shown_vendor()),
        "recipientSeq": 1,
        "receiveDate": kst::second(at).replace(' ', "T"),
        "resultCode": code,
        "recipientGroupingKey": item.message.to_string(),
    });
    match product {
        Product::Sms => {
            hook["senderType"] = json!("NORMAL_SMS");
            let ended = if code == "1000" {
                "COMPLETED"
            } else {
                "FAILED"
            };
            hook["messageStatus"] = json!(ended);
        }
        Product::Kakao => hook["kakaoMessageType"] = json!("ALIMTALK_NORMAL"),
    }
    match item.notation {
        Notation::Usual => {}
        Notation::Other => {
            hook["recipientSeq"] = json!("1");
            hook["recipientGroupingKey"] = Value::Null;
            hook["recipientGropuingKey"] = json!(item.message.to_string());
        }
        Notation::Unknown => hook["recipientGroupingKey"] = Value::Null,
    }
    hook
}
