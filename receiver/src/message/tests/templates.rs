//! Alimtalk and its registered template.

use std::sync::Arc;

use pabal_common::domain::message::Button;
use pabal_common::domain::template::{
    RegisteredTemplate, TemplateForm, TemplateKey, TemplateState,
};

use super::*;

const SENDER_KEY: &str = "0123456789abcdef0123456789abcdef01234567";

fn knowing(state: TemplateState) -> Known {
    let key = TemplateKey {
        sender_key: SENDER_KEY.to_owned(),
        code: "T1".to_owned(),
    };
    let button = Button {
        kind: "WL".to_owned(),
        name: "배송 조회".to_owned(),
        url: Some("https://shop.example/#{no}".to_owned()),
    };
    let template = RegisteredTemplate {
        partner: "shop".parse().unwrap(),
        key: key.clone(),
        form: TemplateForm {
            text: "#{name}님,\n주문 #{no}이 발송되었습니다.".to_owned(),
            buttons: vec![button],
        },
        state,
    };
    Known {
        templates: [(key, Arc::new(template))].into(),
        ..Known::default()
    }
}

fn approved() -> Known {
    knowing(TemplateState::Approved)
}

fn alimtalk() -> Value {
    let mut request = good(MessageType::KakaoAlimtalk);
    put(
        &mut request,
        "template.variables",
        json!({"name": "홍길동", "no": "7"}),
    );
    put(
        &mut request,
        "text",
        json!("홍길동님,\n주문 7이 발송되었습니다."),
    );
    request
}

fn button(url: &str) -> Value {
    json!({"type": "WL", "name": "배송 조회", "url": url})
}

fn says(request: &Value, known: &Known) -> (String, Vec<Option<String>>) {
    let checked = checked_knowing(request, Unencodable::Reject, known);
    let content = checked
        .unwrap_or_else(|error| panic!("{request}: {error:?}"))
        .content;
    let urls = content.buttons.into_iter().map(|button| button.url);
    (content.text, urls.collect())
}

fn told(request: &Value, known: &Known) -> (ErrorReason, Detail) {
    let refused = checked_knowing(request, Unencodable::Reject, known);
    let error = refused.err().unwrap_or_else(|| panic!("{request}"));
    (error.reason(), error.details()[0].clone())
}

#[test]
fn what_is_left_out_is_filled_in_from_the_template() {
    let whole = (
        "홍길동님,\n주문 7이 발송되었습니다.".to_owned(),
        vec![Some("https://shop.example/7".to_owned())],
    );
    let mut bare = alimtalk();
    take(&mut bare, "text");
    let mut given = alimtalk();
    put(
        &mut given,
        "text",
        json!("홍길동님,\r\n주문 7이 발송되었습니다."),
    );
    put(
        &mut given,
        "buttons",
        json!([button("https://shop.example/7")]),
    );
    for request in [bare, alimtalk(), given] {
        assert_eq!(says(&request, &approved()), whole, "{request}");
    }
}

#[test]
fn a_text_that_is_not_the_templates_is_refused_with_the_place_of_the_first_difference() {
    for (text, place) in [
        ("홍길동님,\n주문 8이 발송되었습니다.", 9),
        ("홍길동님,\n주문 7이 발송되었습니다", 19),
        ("홍길동님,\n주문 7이 발송되었습니다.!", 20),
        ("길동님", 0),
    ] {
        let request = with_text(text);
        let (reason, detail) = told(&request, &approved());
        assert_eq!(reason, ErrorReason::TemplateMismatch, "{text}");
        assert_eq!(
            (detail.field.as_ref(), detail.position),
            ("text", Some(place))
        );
    }
}

fn with_text(text: &str) -> Value {
    let mut request = alimtalk();
    put(&mut request, "text", json!(text));
    request
}

#[test]
fn buttons_that_are_not_the_templates_are_refused_with_their_place() {
    let right = button("https://shop.example/7");
    let renamed = json!({"type": "WL", "name": "배송조회", "url": "https://shop.example/7"});
    for (buttons, field, position) in [
        (json!([right, right]), "buttons", None),
        (
            json!([button("https://shop.example/8")]),
            "buttons[0].url",
            Some(21),
        ),
        (json!([renamed]), "buttons[0].name", Some(2)),
        (
            json!([{"type": "BK", "name": "배송 조회"}]),
            "buttons[0].type",
            Some(0),
        ),
    ] {
        let mut request = alimtalk();
        put(&mut request, "buttons", buttons);
        let (reason, detail) = told(&request, &approved());
        assert_eq!(reason, ErrorReason::TemplateMismatch);
        assert_eq!((detail.field.as_ref(), detail.position), (field, position));
    }
}

#[test]
fn missing_variables_are_named_as_the_template_names_them_and_unknown_ones_by_place_alone() {
    let mut request = alimtalk();
    put(
        &mut request,
        "template.variables",
        json!({"name": "홍길동"}),
    );
    let (reason, detail) = told(&request, &approved());
    assert_eq!(reason, ErrorReason::MissingField);
    assert_eq!(detail.field, "template.variables");
    assert_eq!(detail.expected.as_deref(), Some("no"));

    put(
        &mut request,
        "template.variables",
        json!({"name": "a", "no": "7", "010": "x"}),
    );
    let (reason, detail) = told(&request, &approved());
    assert_eq!(reason, ErrorReason::InvalidValue);
    assert_eq!((detail.position, detail.expected), (Some(0), None));
}

#[test]
fn a_text_that_grows_too_long_by_its_variables_is_too_long() {
    let mut request = alimtalk();
    take(&mut request, "text");
    put(
        &mut request,
        "template.variables.name",
        json!("가".repeat(1000)),
    );
    let (reason, detail) = told(&request, &approved());
    assert_eq!(reason, ErrorReason::TextTooLong);
    assert_eq!((detail.limit, detail.actual), (Some(1000), Some(1017)));
}

#[test]
fn a_template_that_is_not_registered_is_refused_only_where_it_has_to_be() {
    let mut request = alimtalk();
    put(&mut request, "template.code", json!("T2"));
    put(&mut request, "text", json!("무엇이든"));
    assert_eq!(
        says(&request, &approved()),
        ("무엇이든".to_owned(), Vec::new())
    );
    let required = Known {
        templates_required: true,
        ..approved()
    };
    let (reason, detail) = told(&request, &required);
    assert_eq!(reason, ErrorReason::TemplateNotFound);
    assert_eq!(detail.field, "template.code");
    // The text can only come from a template that is there.
    take(&mut request, "text");
    assert_eq!(told(&request, &approved()).0, ErrorReason::MissingField);
}

#[test]
fn a_suspended_template_is_refused() {
    let suspended = knowing(TemplateState::Suspended);
    let (reason, detail) = told(&alimtalk(), &suspended);
    assert_eq!(reason, ErrorReason::TemplateSuspended);
    assert_eq!(detail.field, "template.code");
}

#[test]
fn a_brand_message_is_not_held_to_a_template() {
    let mut request = good(MessageType::KakaoBrandMessage);
    put(&mut request, "template", json!({"code": "T1"}));
    put(&mut request, "text", json!("무엇이든"));
    assert_eq!(says(&request, &approved()).0, "무엇이든");
}

#[test]
fn a_template_of_which_no_message_can_be_made_is_told_before_it_is_registered() {
    let form = |text: &str, url: &str| TemplateForm {
        text: text.to_owned(),
        buttons: vec![Button {
            kind: "WL".to_owned(),
            name: "열기".to_owned(),
            url: Some(url.to_owned()),
        }],
    };
    assert!(check_template_form(&form("#{a}", "https://#{host}/#{a}")).is_ok());
    for (text, url) in [
        ("", "https://a.example"),
        ("#{a}", "#{url}"),
        (&"가".repeat(1001), "https://a.example"),
        (
            &(0..41).map(|n| format!("#{{v{n}}}")).collect::<String>(),
            "https://a.example",
        ),
    ] {
        assert!(check_template_form(&form(text, url)).is_err(), "{text}");
    }
}
