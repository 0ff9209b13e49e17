//! What is posted for one message, and where.

use serde::Serialize;

use super::{kakao, sms};

/// One message, ready to be posted.
pub(super) struct Letter<'a> {
    pub(super) path: String,
    pub(super) body: Body<'a>,
}

/// In the words of its product.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Body<'a> {
    Sms(sms::Send<'a>),
    Kakao(kakao::Send<'a>),
}

/// Whether one of `words`, all in lower case, stands in `text`; Latin letters count in any case.
pub(super) fn holds_one_of(words: &[&str], text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    words.iter().any(|word| text.contains(word))
}
