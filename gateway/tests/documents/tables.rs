//! The tables that are made from code.

use std::collections::BTreeSet;

use pabal_common::config::markdown_table;
use pabal_common::domain::code::{Code, ErrorReason, Language};
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::text::{Unit, limit};
use pabal_gateway::settings;
use pabal_receiver::{
    FIELD_LIMITS, FIELD_TABLE, Field, FieldLimit, Presence, SETTINGS, button_rules, presence,
};

const BEGIN: &str = "<!-- generated: ";
const END: &str = "<!-- end of generated -->";

pub(crate) fn with_fresh_tables(text: &str, mut saw: impl FnMut(&str)) -> String {
    let mut fresh = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        fresh.push_str(line);
        fresh.push('\n');
        let Some(name) = line
            .strip_prefix(BEGIN)
            .and_then(|rest| rest.strip_suffix(" -->"))
        else {
            continue;
        };
        saw(name);
        fresh.push_str(table(name).trim_end());
        fresh.push('\n');
        let end = lines.by_ref().find(|line| *line == END);
        fresh.push_str(end.unwrap_or_else(|| panic!("table {name} has no end")));
        fresh.push('\n');
    }
    fresh
}

fn table(name: &str) -> String {
    match name {
        "settings" => markdown_table(settings::ALL),
        "simulator" => pabal_simulator::markdown_table(),
        "fields" => FIELD_TABLE.to_owned(),
        "fields.ko" => fields_in_korean(),
        "limits" => limits("| what | at most |", BODIES, |limit| {
            (
                limit.field.to_owned(),
                format!("{} {}", limit.most, limit.unit),
            )
        }),
        "limits.ko" => limits("| 항목 | 최대 |", BODIES_IN_KOREAN, in_korean),
        "codes" => codes(),
        "errors" => errors(Language::English, "| reason | code | HTTP | what to do |"),
        "errors.ko" => errors(Language::Korean, "| reason | code | HTTP | 설명 |"),
        other => panic!("no table is called {other}"),
    }
}

fn codes() -> String {
    let mut text = String::from("| code | HTTP | means |\n|---|---|---|\n");
    for code in Code::ALL {
        let usual = code.http_status();
        let finer: BTreeSet<u16> = ErrorReason::ALL
            .iter()
            .filter(|reason| reason.code() == code && reason.http_status() != usual)
            .map(|reason| reason.http_status())
            .collect();
        let finer: Vec<String> = finer.iter().map(u16::to_string).collect();
        let status = match (code, finer.is_empty()) {
            (Code::Success, _) => "200, 202".to_owned(),
            (_, true) => usual.to_string(),
            (_, false) => format!("{usual}; by reason {}", finer.join(", ")),
        };
        text += &format!("| {} | {status} | {} |\n", code.name(), meaning(code));
    }
    text
}

const fn meaning(code: Code) -> &'static str {
    match code {
        Code::Success => "done; a sent message is accepted (202)",
        Code::InvalidParameter => "something in the request is wrong; `details` says what",
        Code::Unauthenticated => "no token, or not a good one",
        Code::RateLimited => "too many; wait as long as `Retry-After` says",
        Code::Duplicate => "this `clientMsgId` was accepted before, as `messageId`",
        Code::InvalidMessageType => "no such message type",
        Code::TooLong => "too long for its type; `details` has limit, actual and unit",
        Code::PartnerNotFound => "your account does not exist any more",
        Code::PartnerDisabled => "your account is disabled",
        Code::SystemError => "we failed; send it again, with the same `clientMsgId`",
        Code::QueueError => "messages cannot be taken just now; again after `Retry-After`",
        Code::DatabaseError => "the request could not be completed just now; likewise",
    }
}

fn errors(language: Language, head: &str) -> String {
    let mut text = format!("{head}\n|---|---|---|---|\n");
    for reason in ErrorReason::ALL {
        text += &format!(
            "| {reason} | {} | {} | {} |\n",
            reason.code(),
            reason.http_status(),
            reason.message(language)
        );
    }
    text
}

/// A body and one of a batch.
const BODIES: [&str; 2] = ["a body", "the body of `POST /v1/messages/batch`"];
const BODIES_IN_KOREAN: [&str; 2] = ["요청 본문 전체", "`POST /v1/messages/batch` 본문 전체"];

/// The limits of the fields, then those of the bodies, which an operator may have changed.
fn limits(
    head: &str,
    bodies: [&str; 2],
    written: impl Fn(&FieldLimit) -> (String, String),
) -> String {
    let mut text = format!("{head}\n|---|---|\n");
    for limit in &FIELD_LIMITS {
        let (field, most) = written(limit);
        text += &format!("| {field} | {most} |\n");
    }
    let settings = ["receiver.body_limit", "receiver.batch_body_limit"];
    for (body, key) in bodies.into_iter().zip(settings) {
        let setting = SETTINGS.iter().find(|setting| setting.key == key);
        text += &format!("| {body} | {} |\n", setting.unwrap().default);
    }
    text
}

fn in_korean(limit: &FieldLimit) -> (String, String) {
    let field = limit
        .field
        .replace(
            "a name in `template.variables`",
            "`template.variables`의 이름",
        )
        .replace(
            "a value in `template.variables`",
            "`template.variables`의 값",
        )
        .replace("each field of `channel`", "`channel`의 각 필드")
        .replace("`attachments` together", "`attachments` 합계");
    let unit = match limit.unit {
        "BYTE" => "바이트",
        "CHARACTER" => "자",
        _ => "개",
    };
    (field, format!("{}{unit}", limit.most))
}

fn fields_in_korean() -> String {
    let mut text =
        String::from("| `type` | 필수 | 선택 | 본문 최대 길이 | 버튼 |\n|---|---|---|---|---|\n");
    for kind in MessageType::ALL {
        let those = |wanted| {
            let fields = Field::ALL
                .into_iter()
                .filter(|field| presence(kind, *field) == wanted);
            let names: Vec<String> = fields.map(|field| format!("`{}`", field.path())).collect();
            if names.is_empty() {
                "–".to_owned()
            } else {
                names.join(", ")
            }
        };
        let longest = limit(kind);
        let unit = match longest.unit {
            Unit::Byte => "바이트",
            Unit::Character => "자",
        };
        let buttons = button_rules(kind).map_or_else(
            || "–".to_owned(),
            |rules| {
                let kinds: Vec<&str> = rules.kinds.iter().map(|one| one.code).collect();
                format!(
                    "최대 {}개, 이름 {}자: {}",
                    rules.most,
                    rules.longest_name,
                    kinds.join(" ")
                )
            },
        );
        text += &format!(
            "| {kind} | {} | {} | {}{unit} | {buttons} |\n",
            those(Presence::Required),
            those(Presence::Optional),
            longest.max
        );
    }
    text
}
