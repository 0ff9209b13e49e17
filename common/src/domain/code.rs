//! What the partner API answers: the requirement's codes, and the finer reason behind each refusal.
//!
//! One table holds everything there is to say about a reason: its word, its code, its HTTP status
//! and a sentence in English and Korean. The sentences say what to do and nothing of our insides.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A result code (requirement 5.3).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
pub enum Code {
    /// Success.
    #[serde(rename = "0000")]
    Success,
    /// A parameter is wrong.
    #[serde(rename = "E001")]
    InvalidParameter,
    /// Who is calling could not be established.
    #[serde(rename = "E002")]
    Unauthenticated,
    /// Too many requests.
    #[serde(rename = "E003")]
    RateLimited,
    /// This clientMsgId was used before.
    #[serde(rename = "E004")]
    Duplicate,
    /// No such message type.
    #[serde(rename = "E005")]
    InvalidMessageType,
    /// The message is too long for its type.
    #[serde(rename = "E006")]
    TooLong,
    /// There is no such partner.
    #[serde(rename = "E007")]
    PartnerNotFound,
    /// The partner is disabled.
    #[serde(rename = "E008")]
    PartnerDisabled,
    /// We failed.
    #[serde(rename = "E100")]
    SystemError,
    /// The message queue is not available.
    #[serde(rename = "E101")]
    QueueError,
    /// The database is not available.
    #[serde(rename = "E102")]
    DatabaseError,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 12] = [
        Self::Success,
        Self::InvalidParameter,
        Self::Unauthenticated,
        Self::RateLimited,
        Self::Duplicate,
        Self::InvalidMessageType,
        Self::TooLong,
        Self::PartnerNotFound,
        Self::PartnerDisabled,
        Self::SystemError,
        Self::QueueError,
        Self::DatabaseError,
    ];

    /// The code as the API writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "0000",
            Self::InvalidParameter => "E001",
            Self::Unauthenticated => "E002",
            Self::RateLimited => "E003",
            Self::Duplicate => "E004",
            Self::InvalidMessageType => "E005",
            Self::TooLong => "E006",
            Self::PartnerNotFound => "E007",
            Self::PartnerDisabled => "E008",
            Self::SystemError => "E100",
            Self::QueueError => "E101",
            Self::DatabaseError => "E102",
        }
    }

    /// The code written so.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == name)
    }

    /// The HTTP status that goes with the code; a reason may have a finer one
    /// ([`ErrorReason::http_status`]), and an accepted message is 202.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Success => 200,
            Self::InvalidParameter | Self::InvalidMessageType | Self::TooLong => 400,
            Self::Unauthenticated => 401,
            Self::RateLimited => 429,
            Self::Duplicate => 409,
            Self::PartnerNotFound => 404,
            Self::PartnerDisabled => 403,
            Self::SystemError => 500,
            Self::QueueError | Self::DatabaseError => 503,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A language the API speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Language {
    /// English; also what a caller hears who asks for neither.
    #[default]
    English,
    /// Korean.
    Korean,
}

impl Language {
    /// The language tag.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
        }
    }
}

macro_rules! reasons {
    ($(
        $(#[$meta:meta])*
        $name:ident $word:literal $code:ident $($status:literal)?
        en $english:literal
        ko $korean:literal
    )*) => {
        /// Why the API refuses a request. The words are stable; partners may switch on them.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            ToSchema,
        )]
        #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
        pub enum ErrorReason {
            $(
                #[doc = $english]
                $(#[$meta])*
                $name,
            )*
        }

        impl ErrorReason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            const fn row(self) -> Row {
                match self {
                    $(Self::$name => Row {
                        word: $word,
                        code: Code::$code,
                        status: reasons!(@status $code $($status)?),
                        english: $english,
                        korean: $korean,
                    },)*
                }
            }
        }
    };
    (@status $code:ident) => { Code::$code.http_status() };
    (@status $code:ident $status:literal) => { $status };
}

struct Row {
    word: &'static str,
    code: Code,
    status: u16,
    english: &'static str,
    korean: &'static str,
}

impl ErrorReason {
    /// The word partners see.
    pub const fn name(self) -> &'static str {
        self.row().word
    }

    /// The reason with this word.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.name() == name)
    }

    /// The code it belongs to.
    pub const fn code(self) -> Code {
        self.row().code
    }

    /// The HTTP status of the answer.
    pub const fn http_status(self) -> u16 {
        self.row().status
    }

    /// One sentence or two for the person who reads the answer.
    pub const fn message(self, language: Language) -> &'static str {
        match language {
            Language::English => self.row().english,
            Language::Korean => self.row().korean,
        }
    }
}

impl fmt::Display for ErrorReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

reasons! {
    // E001: the request as such
    InvalidJson "INVALID_JSON" InvalidParameter
        en "The body is not valid JSON. Correct it at the byte position given in details."
        ko "본문이 올바른 JSON이 아닙니다. details에 표시된 바이트 위치를 고쳐 주세요."
    UnknownField "UNKNOWN_FIELD" InvalidParameter
        en "The request has a field that this API does not know. Remove it or correct its name."
        ko "알 수 없는 필드가 있습니다. 필드를 삭제하거나 이름을 고쳐 주세요."
    MissingField "MISSING_FIELD" InvalidParameter
        en "A required field is missing. Add the field named in details."
        ko "필수 필드가 없습니다. details에 표시된 필드를 추가해 주세요."
    FieldNotAllowed "FIELD_NOT_ALLOWED" InvalidParameter
        en "A field does not go with this message type or with the other fields. Remove the field named in details."
        ko "이 메시지 타입이나 다른 필드와 함께 사용할 수 없는 필드가 있습니다. details에 표시된 필드를 삭제해 주세요."
    InvalidValue "INVALID_VALUE" InvalidParameter
        en "A value is not allowed. Correct the field named in details."
        ko "허용되지 않는 값이 있습니다. details에 표시된 필드를 고쳐 주세요."
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" InvalidParameter 415
        en "The body's Content-Type is not one this address reads. Send the type named in details."
        ko "지원하지 않는 Content-Type입니다. details에 표시된 형식으로 보내 주세요."
    BodyTooLarge "BODY_TOO_LARGE" InvalidParameter 413
        en "The body is too large. Send less at once, within the limit in details."
        ko "본문이 너무 큽니다. details에 표시된 한도 이내로 나누어 보내 주세요."
    BodyTooSlow "BODY_TOO_SLOW" InvalidParameter 408
        en "The body did not arrive in time. Send the request again, faster."
        ko "본문이 제한 시간 안에 도착하지 않았습니다. 더 빠르게 다시 보내 주세요."
    BodyIncomplete "BODY_INCOMPLETE" InvalidParameter
        en "The body ended before it was complete. Send the whole request again."
        ko "본문이 끝까지 도착하지 않았습니다. 요청 전체를 다시 보내 주세요."
    BatchEmpty "BATCH_EMPTY" InvalidParameter
        en "The batch holds no message. Send at least one."
        ko "배치에 메시지가 없습니다. 한 건 이상 보내 주세요."
    BatchTooLarge "BATCH_TOO_LARGE" InvalidParameter
        en "The batch holds too many messages. Split it within the limit in details."
        ko "배치의 메시지가 너무 많습니다. details에 표시된 한도 이내로 나누어 보내 주세요."
    RouteNotFound "ROUTE_NOT_FOUND" InvalidParameter 404
        en "There is nothing at this address. Check the path against the API documentation."
        ko "존재하지 않는 주소입니다. API 문서에서 경로를 확인해 주세요."
    MethodNotAllowed "METHOD_NOT_ALLOWED" InvalidParameter 405
        en "This address does not take this method. Use one from the Allow header."
        ko "이 주소에서 지원하지 않는 메서드입니다. Allow 헤더의 메서드를 사용해 주세요."

    // E001: the message
    InvalidRecipient "INVALID_RECIPIENT" InvalidParameter
        en "The recipient is not a valid address for this message type. Correct the field to."
        ko "수신자가 이 메시지 타입에 맞지 않습니다. to 필드를 고쳐 주세요."
    InternationalNotSupported "INTERNATIONAL_NOT_SUPPORTED" InvalidParameter
        en "Recipients outside Korea are not supported. Use a Korean number."
        ko "해외 수신 번호는 지원하지 않습니다. 국내 번호를 사용해 주세요."
    SenderNotAllowed "SENDER_NOT_ALLOWED" InvalidParameter
        en "The sender is not registered for you. Use a registered sender, or have this one registered."
        ko "등록되지 않은 발신 번호입니다. 등록된 번호를 사용하거나 번호를 먼저 등록해 주세요."
    UnencodableCharacter "UNENCODABLE_CHARACTER" InvalidParameter
        en "The text has a character that this message type cannot carry. Remove or replace it."
        ko "이 메시지 타입으로 보낼 수 없는 문자가 있습니다. 문자를 삭제하거나 바꿔 주세요."
    FileNotFound "FILE_NOT_FOUND" InvalidParameter
        en "An attached file does not exist or has expired. Upload it again and use its new id."
        ko "첨부 파일이 없거나 만료되었습니다. 다시 업로드한 뒤 새 ID를 사용해 주세요."

    TemplateNotFound "TEMPLATE_NOT_FOUND" InvalidParameter
        en "This template is not registered for you under this sender profile. Check template.code and channel.senderKey."
        ko "해당 발신 프로필에 등록되지 않은 템플릿입니다. template.code와 channel.senderKey를 확인해 주세요."
    TemplateSuspended "TEMPLATE_SUSPENDED" InvalidParameter
        en "This template is suspended. Use another, or ask for it to be resumed."
        ko "사용이 중지된 템플릿입니다. 다른 템플릿을 사용하거나 중지 해제를 요청해 주세요."
    TemplateMismatch "TEMPLATE_MISMATCH" InvalidParameter
        en "The message does not say what its template says. Correct it at the position given in details, or leave the field out to have it filled in."
        ko "메시지가 템플릿과 다릅니다. details에 표시된 위치를 고치거나 필드를 생략해 템플릿 내용으로 채우게 해 주세요."

    // E001: a file
    InvalidImage "INVALID_IMAGE" InvalidParameter
        en "The file is not a picture that can be sent by MMS. Send a JPEG within the limits in details."
        ko "MMS로 보낼 수 없는 이미지입니다. details의 한도를 지킨 JPEG 파일을 보내 주세요."

    // E001: what is asked for
    MessageNotFound "MESSAGE_NOT_FOUND" InvalidParameter 404
        en "You have no message with this id. Check the id."
        ko "해당 ID의 메시지가 없습니다. ID를 확인해 주세요."
    QueryWindowPassed "QUERY_WINDOW_PASSED" InvalidParameter 410
        en "A message can be queried until 24 hours after its final status. Use the webhook's result."
        ko "메시지는 최종 상태 후 24시간까지만 조회할 수 있습니다. 웹훅으로 받은 결과를 사용해 주세요."
    DeadLetterNotFound "DEAD_LETTER_NOT_FOUND" InvalidParameter 404
        en "You have no dead letter with this id. Take the id from the list of dead letters."
        ko "해당 ID의 실패 웹훅이 없습니다. 목록에서 ID를 확인해 주세요."
    InvalidCursor "INVALID_CURSOR" InvalidParameter
        en "The cursor is not one we gave. Use nextCursor as it came, or start without a cursor."
        ko "올바르지 않은 커서입니다. 받은 nextCursor를 그대로 쓰거나 커서 없이 다시 시작해 주세요."
    InvalidPeriod "INVALID_PERIOD" InvalidParameter
        en "The period is not valid. Ask for days in order and within the limit in details."
        ko "조회 기간이 올바르지 않습니다. 시작일과 종료일의 순서와 details의 한도를 확인해 주세요."
    UnsupportedGrantType "UNSUPPORTED_GRANT_TYPE" InvalidParameter
        en "This grant type is not supported. Use client_credentials or refresh_token."
        ko "지원하지 않는 grant_type입니다. client_credentials 또는 refresh_token을 사용해 주세요."

    // E002
    TokenMissing "TOKEN_MISSING" Unauthenticated
        en "The request has no access token. Send it as Authorization: Bearer followed by the token."
        ko "액세스 토큰이 없습니다. Authorization: Bearer 헤더로 토큰을 보내 주세요."
    TokenInvalid "TOKEN_INVALID" Unauthenticated
        en "The access token is not valid. Get a new one."
        ko "액세스 토큰이 유효하지 않습니다. 새 토큰을 발급받아 주세요."
    TokenExpired "TOKEN_EXPIRED" Unauthenticated
        en "The access token has expired. Get a new one."
        ko "액세스 토큰이 만료되었습니다. 새 토큰을 발급받아 주세요."
    AuthorizationRepeated "AUTHORIZATION_REPEATED" Unauthenticated
        en "The request has more than one Authorization header. Send exactly one."
        ko "Authorization 헤더가 두 개 이상입니다. 하나만 보내 주세요."
    BadCredentials "BAD_CREDENTIALS" Unauthenticated
        en "The client id or the client secret is wrong. Check both."
        ko "clientId 또는 clientSecret이 올바르지 않습니다. 두 값을 확인해 주세요."
    RefreshTokenInvalid "REFRESH_TOKEN_INVALID" Unauthenticated
        en "The refresh token is not valid or has expired. Log in with the client secret."
        ko "리프레시 토큰이 유효하지 않거나 만료되었습니다. clientSecret으로 다시 로그인해 주세요."
    RefreshTokenReused "REFRESH_TOKEN_REUSED" Unauthenticated
        en "The refresh token was used before, so its whole family is revoked. Log in with the client secret."
        ko "이미 사용된 리프레시 토큰이라 관련 토큰이 모두 폐기되었습니다. clientSecret으로 다시 로그인해 주세요."
    SignatureInvalid "SIGNATURE_INVALID" Unauthenticated
        en "The request's signature is missing or wrong. Sign the exact body with the shared secret."
        ko "서명이 없거나 올바르지 않습니다. 본문 그대로를 공유 비밀키로 서명해 주세요."
    SignatureExpired "SIGNATURE_EXPIRED" Unauthenticated
        en "The request's timestamp is too far from now. Check your clock and sign again."
        ko "요청 시각이 현재와 너무 다릅니다. 서버 시계를 확인하고 다시 서명해 주세요."

    // E003
    RateLimited "RATE_LIMITED" RateLimited
        en "You are over your rate. Wait as long as Retry-After says and send again."
        ko "요청 한도를 초과했습니다. Retry-After만큼 기다린 뒤 다시 보내 주세요."
    TokenRateLimited "TOKEN_RATE_LIMITED" RateLimited
        en "Too many logins. Keep the token you have, and wait as long as Retry-After says."
        ko "토큰 발급 요청이 너무 많습니다. 받은 토큰을 재사용하고 Retry-After만큼 기다려 주세요."
    FileSpaceFull "FILE_SPACE_FULL" RateLimited
        en "The space for your files is used up. Wait until earlier files expire, or ask for more."
        ko "파일 저장 공간을 모두 사용했습니다. 이전 파일이 만료되기를 기다리거나 증설을 요청해 주세요."

    // E004
    #[serde(rename = "SAME")]
    DuplicateSame "SAME" Duplicate
        en "This clientMsgId was accepted before with the same content. Nothing more is to be done; its message id is in messageId."
        ko "같은 내용으로 이미 접수된 clientMsgId입니다. 추가 조치는 필요 없으며 messageId로 조회할 수 있습니다."
    #[serde(rename = "CONFLICT")]
    DuplicateConflict "CONFLICT" Duplicate
        en "This clientMsgId was accepted before with other content. Use a new clientMsgId for a new message."
        ko "다른 내용으로 이미 접수된 clientMsgId입니다. 새 메시지에는 새 clientMsgId를 사용해 주세요."

    // E005
    UnknownMessageType "UNKNOWN_MESSAGE_TYPE" InvalidMessageType
        en "There is no such message type. Use one of those in details."
        ko "유효하지 않은 메시지 타입입니다. details에 표시된 타입 중 하나를 사용해 주세요."
    MessageTypeNotOffered "MESSAGE_TYPE_NOT_OFFERED" InvalidMessageType
        en "This message type is not offered here. Use another, or ask for it to be set up."
        ko "제공되지 않는 메시지 타입입니다. 다른 타입을 사용하거나 개통을 요청해 주세요."

    // E006
    TextTooLong "TEXT_TOO_LONG" TooLong
        en "The text is too long for this message type. Shorten it to the limit in details, or use a longer type."
        ko "본문이 이 메시지 타입의 최대 길이를 넘었습니다. details의 한도 이내로 줄이거나 더 긴 타입을 사용해 주세요."
    SubjectTooLong "SUBJECT_TOO_LONG" TooLong
        en "The subject is too long. Shorten it to the limit in details."
        ko "제목이 너무 깁니다. details의 한도 이내로 줄여 주세요."
    AttachmentsTooLarge "ATTACHMENTS_TOO_LARGE" TooLong
        en "The attached files are too large together. Attach fewer or smaller ones, within the limit in details."
        ko "첨부 파일의 전체 크기가 너무 큽니다. details의 한도 이내로 줄여 주세요."

    // E007, E008
    PartnerNotFound "PARTNER_NOT_FOUND" PartnerNotFound
        en "Your account does not exist any more. Contact the operator."
        ko "파트너 정보를 찾을 수 없습니다. 운영자에게 문의해 주세요."
    PartnerDisabled "PARTNER_DISABLED" PartnerDisabled
        en "Your account is disabled. Contact the operator."
        ko "비활성화된 파트너입니다. 운영자에게 문의해 주세요."

    // E100, E101, E102
    Internal "INTERNAL" SystemError
        en "Something failed on our side. Send the request again with the same clientMsgId; if it stays, tell us the requestId."
        ko "시스템 오류가 발생했습니다. 같은 clientMsgId로 다시 시도하고, 계속되면 requestId를 알려 주세요."
    Overloaded "OVERLOADED" SystemError 503
        en "We have too much to do just now. Send the request again after Retry-After, with the same clientMsgId."
        ko "현재 처리량이 많습니다. Retry-After 이후 같은 clientMsgId로 다시 시도해 주세요."
    FilesNotOffered "FILES_NOT_OFFERED" SystemError 501
        en "No files are taken here. Ask for it to be set up."
        ko "파일 업로드를 제공하지 않습니다. 개통을 요청해 주세요."
    FileStoreUnavailable "FILE_STORE_UNAVAILABLE" SystemError 503
        en "The file could not be kept just now. Upload it again after Retry-After."
        ko "지금은 파일을 저장할 수 없습니다. Retry-After 이후 다시 업로드해 주세요."
    QueueUnavailable "QUEUE_UNAVAILABLE" QueueError
        en "Messages cannot be taken just now. Send the request again after Retry-After, with the same clientMsgId."
        ko "지금은 메시지를 접수할 수 없습니다. Retry-After 이후 같은 clientMsgId로 다시 시도해 주세요."
    LedgerUnavailable "LEDGER_UNAVAILABLE" DatabaseError
        en "The request could not be completed just now. Send it again after Retry-After, with the same clientMsgId; it is never sent twice."
        ko "지금은 요청을 처리할 수 없습니다. Retry-After 이후 같은 clientMsgId로 다시 시도해 주세요. 중복 발송되지 않습니다."
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_is_written_as_the_requirement_writes_it() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.name()), Some(code));
            let json = serde_json::to_string(&code).unwrap();
            assert_eq!(json, format!("\"{}\"", code.name()));
        }
    }

    #[test]
    fn codes_have_the_http_status_the_api_promises() {
        let promised = [
            (400, "E001 E005 E006"),
            (401, "E002"),
            (403, "E008"),
            (404, "E007"),
            (409, "E004"),
            (429, "E003"),
            (500, "E100"),
            (503, "E101 E102"),
        ];
        for (status, names) in promised {
            for name in names.split(' ') {
                assert_eq!(Code::parse(name).unwrap().http_status(), status, "{name}");
            }
        }
    }

    #[test]
    fn every_reason_is_serialised_as_its_word_and_no_word_is_used_twice() {
        let mut seen = HashSet::new();
        for reason in ErrorReason::ALL.iter().copied() {
            let json = serde_json::to_string(&reason).unwrap();
            assert_eq!(json, format!("\"{}\"", reason.name()));
            assert_eq!(ErrorReason::parse(reason.name()), Some(reason));
            assert!(seen.insert(reason.name()));
        }
    }

    #[test]
    fn a_reason_departs_from_the_status_of_its_code_only_where_the_api_says_so() {
        let departing: Vec<_> = ErrorReason::ALL
            .iter()
            .filter(|reason| reason.http_status() != reason.code().http_status())
            .map(|reason| (reason.name(), reason.http_status()))
            .collect();
        assert_eq!(
            departing,
            [
                ("UNSUPPORTED_MEDIA_TYPE", 415),
                ("BODY_TOO_LARGE", 413),
                ("BODY_TOO_SLOW", 408),
                ("ROUTE_NOT_FOUND", 404),
                ("METHOD_NOT_ALLOWED", 405),
                ("MESSAGE_NOT_FOUND", 404),
                ("QUERY_WINDOW_PASSED", 410),
                ("DEAD_LETTER_NOT_FOUND", 404),
                ("OVERLOADED", 503),
                ("FILES_NOT_OFFERED", 501),
                ("FILE_STORE_UNAVAILABLE", 503),
            ]
        );
    }

    #[test]
    fn every_code_but_success_has_a_reason_and_every_sentence_is_in_its_language() {
        for code in Code::ALL.into_iter().skip(1) {
            assert!(ErrorReason::ALL.iter().any(|reason| reason.code() == code));
        }
        for reason in ErrorReason::ALL {
            let hangul = |text: &str| text.chars().any(|c| ('가'..='힣').contains(&c));
            assert!(!hangul(reason.message(Language::English)), "{reason}");
            assert!(hangul(reason.message(Language::Korean)), "{reason}");
        }
    }

    #[test]
    fn the_schema_lists_the_words_that_are_really_sent() {
        use utoipa::PartialSchema as _;
        let schema = serde_json::to_value(ErrorReason::schema()).unwrap();
        let words: Vec<_> = ErrorReason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(schema["enum"], serde_json::json!(words));
        let schema = serde_json::to_value(Code::schema()).unwrap();
        assert_eq!(schema["enum"], serde_json::json!(Code::ALL.map(Code::name)));
    }

    #[test]
    fn an_english_sentence_is_as_oauth_allows_a_description() {
        // RFC 6749, 5.2.
        let allowed = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        for reason in ErrorReason::ALL {
            let sentence = reason.message(Language::English);
            assert!(sentence.chars().all(allowed), "{reason}");
        }
    }

    #[test]
    fn no_sentence_shows_what_we_are_built_of() {
        for reason in ErrorReason::ALL {
            let sentence = reason.message(Language::English).to_lowercase();
            for inside in [
                "sql", "rabbit", "redis", "broker", "ledger", "panic", "rust",
            ] {
                assert!(!sentence.contains(inside), "{reason}: {inside}");
            }
        }
    }
}
