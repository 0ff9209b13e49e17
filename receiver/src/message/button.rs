//! Buttons: which ones a channel has, and where they may lead.

use pabal_common::domain::code::ErrorReason;
use pabal_common::domain::kind::MessageType;
use pabal_common::domain::message::Button;
use pabal_common::http::{ApiError, Detail};

use super::limits::LONGEST_URL;
use super::request::ButtonRequest;

/// Where a button leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Nowhere: the channel knows what to do.
    None,
    /// To an `http` or `https` address.
    Web,
    /// Into an app, by an address of any scheme.
    App,
    /// To a telephone, by a `tel:` address.
    Phone,
}

/// A type of button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ButtonKind {
    /// The channel's word for it.
    pub code: &'static str,
    /// Where it leads.
    pub link: Link,
    /// What must be written on it, where the channel lets nobody choose.
    pub names: &'static [&'static str],
}

/// What a message type takes in buttons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ButtonRules {
    /// How many.
    pub most: usize,
    /// How long a name may be, in characters.
    pub longest_name: usize,
    /// Which.
    pub kinds: &'static [ButtonKind],
}

/// The buttons of `kind`, if it has any.
pub const fn button_rules(kind: MessageType) -> Option<ButtonRules> {
    match kind {
        MessageType::Sms | MessageType::Lms | MessageType::Mms | MessageType::Email => None,
        MessageType::KakaoAlimtalk => Some(ButtonRules {
            most: 5,
            longest_name: 14,
            kinds: ALIMTALK,
        }),
        MessageType::KakaoBrandMessage => Some(ButtonRules {
            most: 5,
            longest_name: 14,
            kinds: BRAND_MESSAGE,
        }),
        MessageType::NaverTalk => Some(ButtonRules {
            most: 5,
            longest_name: 14,
            kinds: TALK,
        }),
        MessageType::Rcs => Some(ButtonRules {
            most: 3,
            longest_name: 17,
            kinds: RCS,
        }),
    }
}

const fn plain(code: &'static str) -> ButtonKind {
    linked(code, Link::None)
}

const fn linked(code: &'static str, link: Link) -> ButtonKind {
    ButtonKind {
        code,
        link,
        names: &[],
    }
}

const ADD_CHANNEL: ButtonKind = ButtonKind {
    code: "AC",
    link: Link::None,
    names: &["채널 추가"],
};

const CALL: ButtonKind = ButtonKind {
    code: "TN",
    link: Link::Phone,
    names: &["전화 연결", "고객센터 연결", "상담원 연결"],
};

const ALIMTALK: &[ButtonKind] = &[
    linked("WL", Link::Web),
    linked("AL", Link::App),
    plain("DS"),
    plain("BK"),
    plain("MD"),
    plain("BC"),
    plain("BT"),
    ADD_CHANNEL,
    plain("BF"),
    plain("P1"),
    plain("P2"),
    plain("P3"),
    CALL,
];

const BRAND_MESSAGE: &[ButtonKind] = &[
    linked("WL", Link::Web),
    linked("AL", Link::App),
    plain("BK"),
    plain("MD"),
    ADD_CHANNEL,
    plain("BT"),
    plain("BF"),
];

const TALK: &[ButtonKind] = &[linked("WL", Link::Web), linked("AL", Link::App)];

const RCS: &[ButtonKind] = &[linked("WL", Link::Web), linked("DL", Link::Phone)];

/// The buttons of a message of type `kind`; types without buttons have been sorted out before.
pub(super) fn check_buttons(
    kind: MessageType,
    requests: Vec<ButtonRequest>,
) -> Result<Vec<Button>, ApiError> {
    let Some(rules) = button_rules(kind) else {
        return Ok(Vec::new());
    };
    if requests.len() > rules.most {
        return Err(invalid(
            Detail::new("buttons", "maxItems")
                .limit(rules.most as u64)
                .actual(requests.len() as u64)
                .unit("ITEM"),
        ));
    }
    let buttons = requests.into_iter().enumerate();
    buttons
        .map(|(place, request)| check_button(rules, place, request))
        .collect()
}

fn check_button(
    rules: ButtonRules,
    place: usize,
    request: ButtonRequest,
) -> Result<Button, ApiError> {
    let at = |field: &str| format!("buttons[{place}].{field}");
    let missing = |field: &str| {
        ApiError::new(ErrorReason::MissingField).detail(Detail::new(at(field), "required"))
    };
    let code = request.kind.ok_or_else(|| missing("type"))?;
    let name = request.name.ok_or_else(|| missing("name"))?;
    let kind = rules.kinds.iter().find(|kind| kind.code == code);
    let kind = kind.ok_or_else(|| {
        let codes: Vec<_> = rules.kinds.iter().map(|kind| kind.code).collect();
        invalid(Detail::new(at("type"), "oneOf").expected(codes.join(", ")))
    })?;
    check_name(kind, rules.longest_name, &name)
        .map_err(|rule| invalid(rule.into_detail(at("name"))))?;
    let url = match (kind.link, request.url) {
        (Link::None, None) => None,
        (Link::None, Some(_)) => {
            return Err(ApiError::new(ErrorReason::FieldNotAllowed)
                .detail(Detail::new(at("url"), "notAllowed")));
        }
        (_, None) => return Err(missing("url")),
        (link, Some(url)) => {
            check_url(link, &url).map_err(|rule| invalid(rule.into_detail(at("url"))))?;
            Some(url)
        }
    };
    Ok(Button {
        kind: code,
        name,
        url,
    })
}

/// What is wrong with a value, without where.
enum Broken {
    TooLong { limit: usize, actual: usize },
    Expected(&'static str, String),
}

impl Broken {
    fn into_detail(self, field: String) -> Detail {
        match self {
            Self::TooLong { limit, actual } => Detail::new(field, "maxLength")
                .limit(limit as u64)
                .actual(actual as u64)
                .unit("CHARACTER"),
            Self::Expected(rule, expected) => Detail::new(field, rule).expected(expected),
        }
    }
}

fn check_name(kind: &ButtonKind, longest: usize, name: &str) -> Result<(), Broken> {
    if !kind.names.is_empty() {
        if kind.names.contains(&name) {
            return Ok(());
        }
        return Err(Broken::Expected("oneOf", kind.names.join(", ")));
    }
    let actual = name.chars().count();
    if actual > longest {
        return Err(Broken::TooLong {
            limit: longest,
            actual,
        });
    }
    // Kakao lets no variable stand in a button's name.
    if name.trim().is_empty() || name.contains(char::is_control) || name.contains("#{") {
        let expected = format!("1 to {longest} characters on one line, no variables");
        return Err(Broken::Expected("format", expected));
    }
    Ok(())
}

fn check_url(link: Link, url: &str) -> Result<(), Broken> {
    let actual = url.chars().count();
    if actual > LONGEST_URL {
        return Err(Broken::TooLong {
            limit: LONGEST_URL,
            actual,
        });
    }
    let is_one_word = !url.contains(|c: char| c.is_whitespace() || c.is_control());
    let (leads, expected) = match link {
        Link::Web => (
            after_scheme(url, &["http://", "https://"]),
            "an address that starts with http:// or https://",
        ),
        Link::App => (
            url.split_once("://")
                .is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.is_empty()),
            "an address with a scheme, such as shop://orders",
        ),
        Link::Phone => (
            url.get(..4).is_some_and(|s| s.eq_ignore_ascii_case("tel:"))
                && url[4..].contains(|c: char| c.is_ascii_digit())
                && url[4..]
                    .chars()
                    .all(|c| c.is_ascii_digit() || matches!(c, '+' | '-')),
            "tel: and a telephone number",
        ),
        Link::None => (true, ""),
    };
    if leads && is_one_word {
        Ok(())
    } else {
        Err(Broken::Expected("format", expected.to_owned()))
    }
}

fn after_scheme(url: &str, schemes: &[&str]) -> bool {
    schemes.iter().any(|scheme| {
        url.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
            && url[scheme.len()..].starts_with(|c: char| !matches!(c, '/' | '?' | '#' | ':'))
    })
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

fn invalid(detail: Detail) -> ApiError {
    ApiError::new(ErrorReason::InvalidValue).detail(detail)
}
