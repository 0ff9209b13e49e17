//! What Alimtalk v2.3 and Brand Message v1.0 ask of a request.

use serde::Deserialize;
use serde_json::Value;

use super::{List, MOST_RECIPIENTS, Recipient};

const AUTH_WORDS: [&str; 7] = [
    "auth",
    "password",
    "verif",
    "にんしょう",
    "認証",
    "비밀번호",
    "인증",
];
const LONGEST_TEXT: usize = 1300;

/// What differs between the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rules {
    /// A template that NHN fills in.
    Template,
    /// The whole text of a template.
    Raw {
        /// A word that says so has to stand in it.
        is_auth: bool,
    },
    /// A Brand Message from a template.
    Basic,
    /// A Brand Message of its own text.
    Freestyle,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Send {
    sender_key: Option<String>,
    template_code: Option<String>,
    chat_bubble_type: Option<String>,
    content: Option<String>,
    #[serde(default)]
    buttons: Vec<Button>,
    #[serde(default)]
    recipient_list: Vec<To>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct To {
    recipient_no: Option<String>,
    content: Option<String>,
    template_parameter: Option<Value>,
    #[serde(default)]
    buttons: Vec<Button>,
    targeting: Option<String>,
    resend_parameter: Option<Resend>,
    recipient_grouping_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resend {
    is_resend: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Button {
    ordering: Option<u32>,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    link_mo: Option<String>,
    scheme_ios: Option<String>,
    scheme_android: Option<String>,
    tel_number: Option<String>,
}

/// The service of Alimtalk with this name, and where its messages are listed.
pub(super) fn alimtalk(name: &str) -> Option<(List, Rules)> {
    Some(match name {
        "messages" => (List::Alimtalk, Rules::Template),
        "raw-messages" => (List::Alimtalk, Rules::Raw { is_auth: false }),
        "auth/messages" => (List::AuthAlimtalk, Rules::Template),
        "auth/raw-messages" => (List::AuthAlimtalk, Rules::Raw { is_auth: true }),
        _ => return None,
    })
}

/// The list of Alimtalk with this name.
pub(super) fn alimtalk_list(name: &str) -> Option<List> {
    Some(match name {
        "messages" => List::Alimtalk,
        "auth/messages" => List::AuthAlimtalk,
        _ => return None,
    })
}

/// The service of Brand Message with this name.
pub(super) fn brand(name: &str) -> Option<(List, Rules)> {
    Some(match name {
        "basic-messages" => (List::Brand, Rules::Basic),
        "freestyle-messages" => (List::Brand, Rules::Freestyle),
        _ => return None,
    })
}

/// The one recipient of a request that keeps the rules, or NHN's code for what it breaks.
pub(super) fn read(body: &[u8], rules: Rules) -> Result<Recipient, i32> {
    let send: Send = serde_json::from_slice(body).map_err(|_| -9997)?;
    within(send.sender_key.as_deref(), 40)?;
    if rules != Rules::Freestyle {
        within(send.template_code.as_deref(), 20)?;
    }
    let to = match send.recipient_list.as_slice() {
        [] => return Err(-4011),
        [to] => to,
        list if list.len() > MOST_RECIPIENTS => return Err(-2005),
        // More than this simulator can do.
        _ => return Err(4),
    };
    check(&send, to, rules)?;
    // Fallback is ours to decide; a console that is set to it does so unless told not to.
    if to
        .resend_parameter
        .as_ref()
        .is_none_or(|resend| resend.is_resend)
    {
        return Err(-2502);
    }
    let number = to.recipient_no.as_deref().unwrap_or_default();
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    if number.is_empty() || number.len() > 15 || !digits {
        return Err(-5000);
    }
    let key = to.recipient_grouping_key.as_deref().ok_or(4)?;
    Ok(Recipient {
        message: key.parse().map_err(|_| 4)?,
        number: number.to_owned(),
    })
}

fn check(send: &Send, to: &To, rules: Rules) -> Result<(), i32> {
    match rules {
        Rules::Template => {
            let filled_in = to.template_parameter.as_ref().is_some_and(Value::is_object);
            filled_in.then_some(()).ok_or(-3049)
        }
        Rules::Raw { is_auth } => {
            let content = to.content.as_deref().ok_or(-2002)?;
            check_length(content, -2019)?;
            let lower = content.to_lowercase();
            if is_auth && !AUTH_WORDS.iter().any(|word| lower.contains(word)) {
                return Err(-8006);
            }
            if to.buttons.iter().any(|button| button.ordering.is_none()) {
                return Err(-2018);
            }
            check_buttons(&to.buttons)
        }
        Rules::Basic => check_targeting(to),
        Rules::Freestyle => {
            if send.chat_bubble_type.as_deref() != Some("TEXT") {
                return Err(-3303);
            }
            check_length(send.content.as_deref().ok_or(-3303)?, -3304)?;
            check_buttons(&send.buttons)?;
            check_targeting(to)
        }
    }
}

fn check_targeting(to: &To) -> Result<(), i32> {
    let known = matches!(to.targeting.as_deref(), Some("M" | "N" | "I"));
    known.then_some(()).ok_or(-3298)
}

fn check_buttons(buttons: &[Button]) -> Result<(), i32> {
    if buttons.len() > 5 {
        return Err(-2005);
    }
    for button in buttons {
        if button.name.is_empty() || button.name.chars().count() > 14 {
            return Err(-3009);
        }
        let link = button.link_mo.as_deref();
        let is_web = link.is_some_and(|link| link.starts_with("http"));
        match button.kind.as_str() {
            "WL" if link.is_none() => return Err(-3000),
            "WL" if !is_web => return Err(-3006),
            "AL" if button.scheme_ios.is_none() || button.scheme_android.is_none() => {
                return Err(-3007);
            }
            "TN" if button.tel_number.is_none() => return Err(-3052),
            _ => {}
        }
    }
    Ok(())
}

fn check_length(text: &str, code: i32) -> Result<(), i32> {
    let fits = (1..=LONGEST_TEXT).contains(&text.chars().count());
    fits.then_some(()).ok_or(code)
}

fn within(text: Option<&str>, longest: usize) -> Result<(), i32> {
    match text {
        None => Err(-2002),
        Some("") => Err(-2001),
        Some(text) if text.chars().count() > longest => Err(-2000),
        Some(_) => Ok(()),
    }
}
