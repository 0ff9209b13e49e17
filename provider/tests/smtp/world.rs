//! Adapters, and messages to send.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pabal_common::domain::id::{MessageId, SubmissionId};
use pabal_common::domain::kind::{MessageType, Purpose};
use pabal_common::domain::message::Content;
use pabal_common::domain::report::VendorAccount;
use pabal_provider::adapter::{self, Account};
use pabal_provider::{Answer, Call, Outcome, Outgoing, Provider};
use secrecy::SecretString;

/// No test waits longer for what must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// By way of a server without TLS.
pub(crate) const SMARTHOST: &str = "mode = 'smarthost'\nehlo = 'pabal.example'\ntls = 'none'\n";

pub(crate) fn account(base_url: &str, settings: &str) -> Account {
    Account {
        account: VendorAccount::new("smtp", "main"),
        base_url: base_url.to_owned(),
        api_key: SecretString::from("password"),
        callback_secret: Some(SecretString::from("sixteen bytes at least")),
        connect_timeout: Duration::from_secs(5),
        answer_timeout: Duration::from_secs(20),
        settings: settings.parse().unwrap(),
    }
}

pub(crate) fn smtp(base_url: &str, settings: &str) -> Arc<dyn Provider> {
    adapter::build("smtp", account(base_url, settings)).unwrap()
}

/// One that waits only briefly.
pub(crate) fn impatient(base_url: &str, settings: &str) -> Arc<dyn Provider> {
    let mut account = account(base_url, settings);
    account.connect_timeout = Duration::from_secs(1);
    account.answer_timeout = Duration::from_secs(2);
    adapter::build("smtp", account).unwrap()
}

/// A message to `to` that says as little as it can.
pub(crate) fn mail(to: &str) -> Outgoing {
    static NEXT: AtomicU64 = AtomicU64::new(0x0123_4567_89AB_CDEF);
    Outgoing {
        id: MessageId::from_number(NEXT.fetch_add(1, Ordering::Relaxed)),
        kind: MessageType::Email,
        purpose: Purpose::Info,
        content: Content {
            to: to.to_owned(),
            from: Some("파발 가게 <shop@shop.example>".to_owned()),
            subject: Some("주문하신 상품이 발송되었습니다".to_owned()),
            text: "안녕하세요.\n주문하신 상품이 발송되었습니다.".to_owned(),
            ..Content::default()
        },
        attachments: Vec::new(),
    }
}

pub(crate) async fn send(provider: &Arc<dyn Provider>, outgoing: Outgoing) -> Outcome {
    let call = Call {
        submission: SubmissionId::from_number(1),
        messages: vec![outgoing],
    };
    provider.submit(&call).await
}

/// The only answer.
pub(crate) fn answer(outcome: &Outcome) -> &Answer {
    match outcome {
        Outcome::Answered(answers) if answers.len() == 1 => &answers[0],
        other => panic!("{other:?} is no answer"),
    }
}
