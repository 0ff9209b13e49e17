//! Which fields a type has.

use std::fmt::Write as _;

use pabal_common::domain::kind::Purpose;
use pabal_common::domain::text::limit;

use super::*;

#[test]
fn the_table_in_the_documentation_is_the_one_in_force() {
    let mut table = String::from(
        "Every type needs `clientMsgId`, `type`, `to` and `text`, and takes `purpose`,\n\
         `validitySeconds` and `metadata`. Beside these:\n\n\
         | `type` | needs | takes | longest text | buttons |\n|---|---|---|---|---|\n",
    );
    for kind in MessageType::ALL {
        let fields = |wanted| {
            let all = Field::ALL.into_iter();
            let of_type = all.filter(|&field| presence(kind, field) == wanted);
            let paths: Vec<_> = of_type.map(|field| format!("`{}`", field.path())).collect();
            if paths.is_empty() {
                "–".to_owned()
            } else {
                paths.join(", ")
            }
        };
        let buttons = button_rules(kind).map_or("–".to_owned(), |rules| {
            let codes: Vec<_> = rules.kinds.iter().map(|kind| kind.code).collect();
            let (most, longest) = (rules.most, rules.longest_name);
            format!("{most} with names of {longest}: {}", codes.join(" "))
        });
        let longest = limit(kind);
        writeln!(
            table,
            "| {kind} | {} | {} | {} {} | {buttons} |",
            fields(Presence::Required),
            fields(Presence::Optional),
            longest.max,
            longest.unit,
        )
        .unwrap();
    }
    table.push_str(
        "\nA field that a type neither needs nor takes is refused by name (FIELD_NOT_ALLOWED). \
         An Alimtalk\nwhose template is registered may leave out its `text`, and so may an EMAIL with `html`.\n\
         A button of type WL leads to an `http` or `https` address, AL into an app, TN and DL to a\n\
         `tel:` address; the others have no `url`.\n",
    );
    assert_eq!(FIELD_TABLE, table);
}

#[test]
fn every_type_is_accepted_with_no_more_than_it_needs() {
    for kind in MessageType::ALL {
        let checked = checked(&good(kind)).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!((checked.kind, checked.purpose), (kind, Purpose::Info));
        assert_eq!(checked.validity.as_secs(), 86_400);
    }
}

#[test]
fn every_type_takes_what_is_optional_to_it_but_files() {
    for kind in MessageType::ALL {
        for field in Field::ALL {
            if presence(kind, field) == Presence::Optional && field != Field::Attachments {
                let request = with(kind, field.path(), value_of(field));
                let told = checked(&request).err();
                assert!(told.is_none(), "{kind} {field:?}: {told:?}");
            }
        }
    }
}

#[test]
fn what_a_type_needs_is_named_when_it_is_missing() {
    for kind in MessageType::ALL {
        let always = ["clientMsgId", "to", "text"];
        let needed = Field::ALL.into_iter();
        let needed = needed.filter(|&field| presence(kind, field) == Presence::Required);
        for path in always.into_iter().chain(needed.map(Field::path)) {
            let mut request = good(kind);
            take(&mut request, path);
            let wanted = (ErrorReason::MissingField, Detail::new(path, "required"));
            assert_eq!(refused(&request), wanted, "{kind}");
            // A field that is there but null is as good as missing.
            put(&mut request, path, Value::Null);
            assert_eq!(refused(&request), wanted, "{kind}");
        }
    }
}

#[test]
fn what_a_type_does_not_know_is_refused_by_name() {
    for kind in MessageType::ALL {
        for field in Field::ALL {
            if presence(kind, field) == Presence::Refused {
                let request = with(kind, field.path(), value_of(field));
                let wanted = Detail::new(field.path(), "notAllowed");
                assert_eq!(
                    refused(&request),
                    (ErrorReason::FieldNotAllowed, wanted),
                    "{kind}"
                );
            }
        }
    }
}

#[test]
fn all_missing_fields_are_named_at_once() {
    let request = json!({"type": "RCS", "to": "01012345678"});
    let error = checked(&request).err().unwrap();
    let fields: Vec<_> = error.details().iter().map(|d| d.field.as_ref()).collect();
    assert_eq!(
        fields,
        [
            "clientMsgId",
            "text",
            "from",
            "channel.brandId",
            "channel.chatbotId",
            "channel.messagebaseId"
        ]
    );
}

#[test]
fn an_unknown_type_is_told_before_anything_else_in_the_request() {
    for name in ["FAX", "sms", "", "MAIL"] {
        let (reason, detail) = refused(&json!({"type": name, "subject": "x"}));
        assert_eq!(reason, ErrorReason::UnknownMessageType, "{name}");
        assert_eq!(detail.field, "type");
        assert!(detail.expected.unwrap().contains("KAKAO_ALIMTALK"));
    }
    let (reason, detail) = refused(&json!({"to": "x"}));
    assert_eq!(
        (reason, detail.field.as_ref()),
        (ErrorReason::MissingField, "type")
    );
}

#[test]
fn unknown_fields_and_wrong_types_are_named_with_their_path() {
    use ErrorReason::{InvalidValue, UnknownField};
    for (path, value, reason) in [
        ("receiver", json!("x"), UnknownField),
        ("template.name", json!("x"), UnknownField),
        ("channel.senderkey", json!("x"), UnknownField),
        ("to", json!(1_012_345_678), InvalidValue),
        ("text", json!(["x"]), InvalidValue),
        ("template", json!("x"), InvalidValue),
        ("template.variables", json!([]), InvalidValue),
        ("template.variables.n", json!(1), InvalidValue),
        ("validitySeconds", json!("60"), InvalidValue),
        ("validitySeconds", json!(60.5), InvalidValue),
        ("metadata", json!("x"), InvalidValue),
        ("metadata", json!([1]), InvalidValue),
        ("buttons", json!({}), InvalidValue),
    ] {
        let (found, detail) = refused(&with(MessageType::KakaoAlimtalk, path, value));
        assert_eq!((found, detail.field.as_ref()), (reason, path));
    }
    let button = json!([{"type": "WL", "name": "a", "url": "https://a.b", "link": "x"}]);
    let (_, detail) = refused(&with(MessageType::KakaoAlimtalk, "buttons", button));
    assert_eq!(detail.field, "buttons[0].link");
}
