//! What SMS v3.0 asks of a request.

use serde::Deserialize;

use super::{List, MOST_RECIPIENTS, Recipient};

const AUTH_WORDS: [&str; 7] = [
    "auth",
    "password",
    "verify",
    "にんしょう",
    "認証",
    "비밀번호",
    "인증",
];

/// What differs between the services.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    longest_body: usize,
    has_title: bool,
    is_auth: bool,
    is_ad: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Send {
    title: Option<String>,
    body: Option<String>,
    send_no: Option<String>,
    #[serde(default)]
    recipient_list: Vec<To>,
    origin_code: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct To {
    recipient_no: Option<String>,
    recipient_grouping_key: Option<String>,
}

/// The service at `…/sender/{name}`, and where its messages are listed.
pub(super) fn service(name: &str) -> Option<(List, Rules)> {
    let short = Rules {
        longest_body: 255,
        has_title: false,
        is_auth: false,
        is_ad: false,
    };
    let long = Rules {
        longest_body: 4000,
        has_title: true,
        ..short
    };
    Some(match name {
        "sms" => (List::Sms, short),
        "ad-sms" => (
            List::Sms,
            Rules {
                is_ad: true,
                ..short
            },
        ),
        "auth/sms" => (
            List::AuthSms,
            Rules {
                is_auth: true,
                ..short
            },
        ),
        "mms" => (List::Mms, long),
        "ad-mms" => (
            List::Mms,
            Rules {
                is_ad: true,
                ..long
            },
        ),
        _ => return None,
    })
}

/// The list at `…/sender/{name}`.
pub(super) fn list(name: &str) -> Option<List> {
    Some(match name {
        "sms" => List::Sms,
        "mms" => List::Mms,
        "auth/sms" => List::AuthSms,
        _ => return None,
    })
}

/// The one recipient of a request that keeps the rules, or NHN's code for what it breaks.
pub(super) fn read(body: &[u8], rules: Rules) -> Result<Recipient, i32> {
    let send: Send = serde_json::from_slice(body).map_err(|_| -9997)?;
    check_text(&send, rules)?;
    let sender = send.send_no.as_deref().unwrap_or_default();
    if !is_number(sender, 13) {
        return Err(-2312);
    }
    if send.origin_code.is_some_and(|code| !is_number(&code, 9)) {
        return Err(4);
    }
    match send.recipient_list.as_slice() {
        [] => Err(-2001),
        [to] => recipient(to),
        list if list.len() > MOST_RECIPIENTS => Err(-2016),
        // More than this simulator can do.
        _ => Err(4),
    }
}

fn check_text(send: &Send, rules: Rules) -> Result<(), i32> {
    let body = send.body.as_deref().unwrap_or_default();
    let title = send.title.as_deref().unwrap_or_default();
    if body.is_empty() || (rules.has_title && title.is_empty()) {
        return Err(-2014);
    }
    if body.chars().count() > rules.longest_body || title.chars().count() > 120 {
        return Err(-2015);
    }
    if body
        .chars()
        .chain(title.chars())
        .any(|one| one > '\u{ffff}')
    {
        return Err(-2023);
    }
    let lower = body.to_lowercase();
    if rules.is_auth && !AUTH_WORDS.iter().any(|word| lower.contains(word)) {
        return Err(-8000);
    }
    let bare: String = body.chars().filter(|one| !one.is_whitespace()).collect();
    let told = ["무료수신거부", "무료거부"]
        .iter()
        .any(|word| bare.contains(word));
    if rules.is_ad && !(body.starts_with("(광고)") && told) {
        return Err(-6003);
    }
    Ok(())
}

fn recipient(to: &To) -> Result<Recipient, i32> {
    let number = to.recipient_no.as_deref().ok_or(-2018)?;
    if !is_number(number, 20) {
        return Err(-2019);
    }
    let key = to.recipient_grouping_key.as_deref().ok_or(4)?;
    Ok(Recipient {
        message: key.parse().map_err(|_| 4)?,
        number: number.to_owned(),
    })
}

fn is_number(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}
