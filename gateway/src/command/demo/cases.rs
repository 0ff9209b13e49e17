//! What the demo sends, and how each message must end.

use pabal_common::domain::kind::MessageType;
use pabal_common::domain::reason::Reason;
use pabal_common::domain::status::Status;
use serde_json::{Value, json};

/// The text of every message. It must not be readable anywhere but at the vendor.
pub(super) const TEXT: &str = "[파발] 주문하신 상품이 오늘 도착할 예정입니다.";
/// The subject of those that have one.
pub(super) const SUBJECT: &str = "배송 안내문입니다";
/// The value of a template's variable.
pub(super) const VARIABLE: &str = "홍길동고객님";

/// The sender numbers the partner may use, and the domain of its mails. RCS hangs on a company's
/// number.
pub(super) const SENDERS: [&str; 3] = ["0200000000", "15880000", "demo.example"];

/// One message: its type, the last two digits of its recipient, and its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) what: &'static str,
    pub(super) kind: MessageType,
    pub(super) digits: u8,
    pub(super) status: Status,
    pub(super) reason: Option<Reason>,
}

use MessageType::{Email, KakaoAlimtalk, KakaoBrandMessage, Lms, Mms, NaverTalk, Rcs, Sms};

/// Every message the demo sends. The same trouble ends differently by vendor: a carrier whose
/// answer is lost reports under an id nobody was told, the RCS hub's report bears our id, Kakao can
/// be asked, TalkTalk answers at once or never.
pub(super) const CASES: [Case; 48] = [
    delivered("delivered", Sms, 0),
    delivered("delivered", Lms, 0),
    delivered("delivered", Mms, 0),
    delivered("delivered", KakaoAlimtalk, 0),
    delivered("delivered", KakaoBrandMessage, 0),
    delivered("delivered", NaverTalk, 0),
    delivered("delivered", Rcs, 0),
    delivered("delivered", Email, 0),
    failed("no such recipient", Sms, 51, Reason::InvalidRecipient),
    failed("no such recipient", Email, 51, Reason::InvalidRecipient),
    failed(
        "no such recipient",
        KakaoAlimtalk,
        51,
        Reason::InvalidRecipient,
    ),
    failed(
        "recipient unavailable",
        Lms,
        52,
        Reason::RecipientUnavailable,
    ),
    failed(
        "recipient unavailable",
        KakaoBrandMessage,
        52,
        Reason::RecipientUnavailable,
    ),
    failed("recipient refuses", NaverTalk, 53, Reason::RecipientBlocked),
    failed("filtered as spam", Rcs, 54, Reason::Spam),
    failed("refused in the answer", Mms, 55, Reason::SenderRejected),
    failed(
        "refused in the answer",
        KakaoAlimtalk,
        55,
        Reason::ContentRejected,
    ),
    delivered("door shut for 2.2 s", Sms, 60),
    delivered("door shut for 2.2 s", NaverTalk, 60),
    delivered("throttled for 1.5 s", KakaoAlimtalk, 61),
    delivered("throttled for 1.5 s", Rcs, 61),
    unknown("answer lost", Sms, 62),
    unknown("answer lost", NaverTalk, 62),
    delivered("answer lost", Rcs, 62),
    delivered("answer lost", KakaoAlimtalk, 62),
    unknown("answer lost, no report", Sms, 63),
    delivered("answer lost, no report", KakaoAlimtalk, 63),
    unknown("HTTP 500, yet taken", Lms, 64),
    delivered("HTTP 500, yet taken", Rcs, 64),
    unknown("HTTP 500, not taken", Mms, 65),
    unknown("HTTP 500, not taken", KakaoAlimtalk, 65),
    unknown("unreadable answer", Sms, 66),
    delivered("unreadable answer", Rcs, 66),
    delivered("reported 5 s late", Sms, 70),
    delivered("reported 5 s late", KakaoAlimtalk, 70),
    delivered("reported twice", Lms, 71),
    delivered("reported twice", KakaoBrandMessage, 71),
    delivered("report before the answer", Sms, 72),
    delivered("report before the answer", Rcs, 72),
    expired("never reported", Mms, 73, Reason::NoReport),
    expired("never reported", KakaoBrandMessage, 73, Reason::NoReport),
    delivered("unknown id first", Rcs, 74),
    delivered("id in another notation", Mms, 75),
    delivered("id in another notation", Rcs, 75),
    delivered("answered after 2 s", Sms, 80),
    delivered("answered after 2 s", NaverTalk, 80),
    unknown("answered after 30 s", Sms, 81),
    delivered("answered after 30 s", Rcs, 81),
];

const fn delivered(what: &'static str, kind: MessageType, digits: u8) -> Case {
    Case {
        what,
        kind,
        digits,
        status: Status::Delivered,
        reason: None,
    }
}

const fn failed(what: &'static str, kind: MessageType, digits: u8, reason: Reason) -> Case {
    Case {
        what,
        kind,
        digits,
        status: Status::Failed,
        reason: Some(reason),
    }
}

const fn expired(what: &'static str, kind: MessageType, digits: u8, reason: Reason) -> Case {
    Case {
        what,
        kind,
        digits,
        status: Status::Expired,
        reason: Some(reason),
    }
}

const fn unknown(what: &'static str, kind: MessageType, digits: u8) -> Case {
    expired(what, kind, digits, Reason::UnknownOutcome)
}

impl Case {
    /// The partner's id of it.
    pub(super) fn client_msg_id(&self) -> String {
        let kind = self.kind.name().to_lowercase().replace('_', "-");
        format!("demo-{kind}-{:02}", self.digits)
    }

    /// Its recipient as the partner writes it: obviously nobody's.
    pub(super) fn recipient(&self) -> String {
        match self.kind {
            NaverTalk => format!("demo-user-00{:02}", self.digits),
            Email => format!("demo-user-00{:02}@mail.example", self.digits),
            _ => format!("010-0000-00{:02}", self.digits),
        }
    }

    /// Whether a vendor takes it: all but the ones it refuses.
    pub(super) const fn is_taken(&self) -> bool {
        !matches!(self.digits, 55 | 65)
    }

    /// Whether it stops its vendor for everybody for a while.
    pub(super) const fn disturbs_others(&self) -> bool {
        matches!(self.digits, 60 | 61)
    }

    /// The request.
    pub(super) fn request(&self) -> Value {
        let mut request = json!({
            "clientMsgId": self.client_msg_id(),
            "type": self.kind.name(),
            "to": self.recipient(),
            "text": TEXT,
            "metadata": {"case": self.what},
        });
        match self.kind {
            Sms => request["from"] = json!("02-0000-0000"),
            Lms | Mms => {
                request["from"] = json!("02-0000-0000");
                request["subject"] = json!(SUBJECT);
            }
            KakaoAlimtalk => {
                request["channel"] = json!({"senderKey": "demo-sender-key"});
                request["template"] =
                    json!({"code": "DEMO_ORDER", "variables": {"name": VARIABLE}});
            }
            KakaoBrandMessage => request["channel"] = json!({"senderKey": "demo-sender-key"}),
            NaverTalk => request["channel"] = json!({"talkId": "demo-talk"}),
            Email => {
                request["from"] = json!("Demo <news@demo.example>");
                request["subject"] = json!(SUBJECT);
            }
            Rcs => {
                request["from"] = json!("1588-0000");
                request["channel"] = json!({
                    "brandId": "demo-brand", "chatbotId": "demo-bot", "messagebaseId": "demo-base",
                });
            }
        }
        request
    }
}

/// What must be readable nowhere: every recipient in both notations, and every text.
pub(super) fn secrets() -> Vec<String> {
    let mut secrets: Vec<String> = [TEXT, SUBJECT, VARIABLE]
        .iter()
        .map(|&text| text.to_owned())
        .collect();
    for case in &CASES {
        let recipient = case.recipient();
        if !matches!(case.kind, NaverTalk | Email) {
            secrets.push(recipient.replace('-', ""));
        }
        secrets.push(recipient);
    }
    secrets.sort();
    secrets.dedup();
    secrets
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use pabal_simulator::Outcome;

    use super::*;

    #[test]
    fn there_is_a_case_for_every_row_of_the_simulators_table_and_a_delivery_of_every_type() {
        for row in &Outcome::TABLE {
            assert!(
                CASES.iter().any(|case| case.digits == row.digits),
                "{}",
                row.digits
            );
        }
        for kind in MessageType::ALL {
            assert!(
                CASES
                    .iter()
                    .any(|case| case.kind == kind && case.digits == 0),
                "{kind}"
            );
        }
    }

    #[test]
    fn no_two_cases_share_their_client_msg_id() {
        let ids: HashSet<_> = CASES.iter().map(Case::client_msg_id).collect();
        assert_eq!(ids.len(), CASES.len());
    }

    #[test]
    fn every_digit_is_an_outcome_of_the_simulator() {
        for case in CASES.iter().filter(|case| case.digits != 0) {
            let recipient = case.recipient();
            // Of a mail address the part before the @ counts.
            let digits = recipient.split('@').next().unwrap();
            assert_ne!(
                Outcome::of_recipient(digits),
                Outcome::Delivered,
                "{case:?}"
            );
        }
    }

    #[test]
    fn recipients_and_texts_are_secrets_in_every_notation() {
        let secrets = secrets();
        for secret in ["010-0000-0051", "01000000051", "demo-user-0053", TEXT] {
            assert!(secrets.iter().any(|one| one == secret), "{secret}");
        }
    }
}
