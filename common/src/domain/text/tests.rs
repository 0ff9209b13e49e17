use proptest::prelude::*;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::decompose_canonical;

use super::*;
use MessageType::{Email, KakaoAlimtalk, KakaoBrandMessage, Lms, Mms, NaverTalk, Rcs, Sms};

const EUC_KR_TYPES: [MessageType; 3] = [Sms, Lms, Mms];
const QUESTION: Unencodable = Unencodable::Replace('?');

/// Every character that the independent table says strict EUC-KR writes in two bytes.
fn two_byte_characters() -> Vec<char> {
    include_str!("../../../tests/data/euc_kr_members.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| {
            let (page, bits) = line.split_once(' ').unwrap();
            let page = u32::from_str_radix(page, 16).unwrap();
            let digits: Vec<u32> = bits
                .chars()
                .rev()
                .map(|digit| digit.to_digit(16).unwrap())
                .collect();
            (0..256_u32)
                .filter(move |low| digits[(low / 4) as usize] >> (low % 4) & 1 == 1)
                .map(move |low| char::from_u32(page << 8 | low).unwrap())
        })
        .collect()
}

fn prepared(kind: MessageType, text: &str) -> Prepared {
    prepare(kind, text, Unencodable::Reject).unwrap()
}

fn refused_at(position: usize, character: char) -> Result<Prepared, TextError> {
    Err(TextError::Unencodable {
        character,
        position,
    })
}

/// Texts of everything that matters here, and of anything at all.
fn texts() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        3 => prop::sample::select(vec![
            '가', '똠', '펲', '한', '漢', 'A', '7', ' ', '\t', '\n', '\r', '₩', '—', '•',
            '\u{00A0}', '\u{200B}', '\u{FE0F}', 'é', '😀', '€', '①',
            'ᄒ', 'ᄄ', 'ᅡ', 'ᅩ', 'ᆫ', 'ᆷ', 'が', 'か', '\u{3099}', '\u{0301}', 'Å', '豈',
        ]),
        1 => any::<char>(),
    ];
    prop::collection::vec(character, 0..60).prop_map(String::from_iter)
}

#[test]
fn membership_and_width_agree_with_an_independent_table_for_every_character() {
    let table = two_byte_characters();
    assert_eq!(table.len(), 8226);
    assert_eq!(
        table.iter().filter(|c| ('가'..='힣').contains(*c)).count(),
        2350
    );
    for character in '\0'..=char::MAX {
        let width = match table.binary_search(&character) {
            _ if character.is_ascii() => Some(1),
            Ok(_) => Some(2),
            Err(_) => None,
        };
        assert_eq!(is_euc_kr(character), width.is_some(), "{character:?}");
        assert_eq!(Alphabet::EucKr.width(character), width, "{character:?}");
    }
}

#[test]
fn every_type_takes_a_text_of_exactly_its_limit_and_refuses_one_more() {
    let cases = [
        (Sms, 90, Unit::Byte),
        (Lms, 4000, Unit::Byte),
        (Mms, 2000, Unit::Byte),
        (Rcs, 1300, Unit::Byte),
        (KakaoAlimtalk, 1000, Unit::Character),
        (KakaoBrandMessage, 1400, Unit::Character),
        (NaverTalk, 1000, Unit::Character),
        (Email, 30_000, Unit::Character),
    ];
    for (kind, max, unit) in cases {
        assert_eq!(limit(kind), Limit { max, unit });
        let hangul = match unit {
            Unit::Byte => "한".repeat(max / 2),
            Unit::Character => "한".repeat(max),
        };
        for full in ["a".repeat(max), hangul] {
            let fitted = prepared(kind, &full);
            assert_eq!(
                (fitted.text.as_str(), fitted.length, fitted.unit),
                (&*full, max, unit)
            );
            let over = prepare(kind, &(full + "b"), Unencodable::Reject);
            let actual = max + 1;
            let limit = max;
            assert_eq!(
                over,
                Err(TextError::TooLong {
                    limit,
                    actual,
                    unit
                }),
                "{kind}"
            );
        }
    }
}

#[test]
fn rcs_counts_characters_beyond_the_basic_plane_as_four() {
    assert_eq!(prepared(Rcs, "a한똠é😀").length, 1 + 2 + 2 + 2 + 4);
    assert!(prepare(Rcs, &"😀".repeat(325), Unencodable::Reject).is_ok());
    let over = prepare(Rcs, &"😀".repeat(326), Unencodable::Reject);
    assert_eq!(
        over,
        Err(TextError::TooLong {
            limit: 1300,
            actual: 1304,
            unit: Unit::Byte
        })
    );
}

#[test]
fn the_length_is_that_of_the_text_as_it_is_sent() {
    for kind in MessageType::ALL {
        let fitted = prepared(kind, "a\r\nb\rc\nd");
        assert_eq!(
            (fitted.text.as_str(), fitted.length),
            ("a\nb\nc\nd", 7),
            "{kind}"
        );
    }
    let fitted = prepared(Sms, "₩1,000—\u{200B}•\u{00A0}©\u{FE0F}");
    assert_eq!(fitted.text, "￦1,000―· ⓒ");
    assert_eq!(fitted.length, 2 + 5 + 2 + 2 + 1 + 2);
}

#[test]
fn kakao_naver_and_mail_texts_keep_their_signs() {
    for kind in [KakaoAlimtalk, KakaoBrandMessage, NaverTalk, Email] {
        let fitted = prepared(kind, "₩1,000—\u{00A0}❤\u{FE0F}");
        assert_eq!(
            (fitted.text.as_str(), fitted.length),
            ("₩1,000—\u{00A0}❤\u{FE0F}", 10)
        );
    }
}

#[test]
fn a_character_that_is_not_carried_is_named_with_its_place_in_the_text_as_sent() {
    for kind in EUC_KR_TYPES {
        for (text, position, character) in [
            ("똠양꿍", 0, '똠'),
            ("한글 펲시", 3, '펲'),
            ("a\r\n\u{200B}😀", 4, '😀'),
            ("café 😀", 3, 'é'),
        ] {
            let answer = prepare(kind, text, Unencodable::Reject);
            assert_eq!(answer, refused_at(position, character));
        }
    }
}

#[test]
fn what_was_sent_in_parts_is_sent_and_counted_whole() {
    for kind in EUC_KR_TYPES {
        for whole in ["한글 각 값", "がぎぱ", "ё", "가나다\r\n라"] {
            let parts: String = whole.nfd().collect();
            assert!(parts.chars().count() > whole.chars().count());
            assert_eq!(prepared(kind, &parts), prepared(kind, whole));
        }
    }
    let full: String = "한".repeat(45).nfd().collect();
    assert_eq!(prepared(Sms, &full).length, 90);
    let subject: String = "제목".nfd().collect();
    let subject = prepare_subject(&subject, Unencodable::Reject).unwrap();
    assert_eq!((subject.text.as_str(), subject.length), ("제목", 4));
}

#[test]
fn what_is_not_carried_even_whole_is_named_whole_where_it_begins() {
    let parts: String = "한글 똠".nfd().collect();
    assert_eq!(
        prepare(Sms, &parts, Unencodable::Reject),
        refused_at(7, '똠')
    );
    assert_eq!(prepare(Sms, &parts, QUESTION).unwrap().text, "한글 ?");
    // A part with nothing to belong to is a character like others.
    let lone = prepare(Sms, "가\u{1161}", Unencodable::Reject);
    assert_eq!(lone, refused_at(1, '\u{1161}'));
}

#[test]
fn composing_changes_no_text_that_euc_kr_carried_as_it_came() {
    // Whatever composes ends in a character that EUC-KR does not have.
    for character in '\0'..=char::MAX {
        let mut parts = Vec::new();
        decompose_canonical(character, |part| parts.push(part));
        if let [.., _, last] = parts[..] {
            assert!(!is_euc_kr(last), "{character:?}");
        }
    }
    // Normalising would: it knows one character where KS X 1001 has another or two.
    for kept in ["\u{212B}", "\u{2126}", "\u{F900}"] {
        assert_ne!(kept.nfc().collect::<String>(), kept);
        assert_eq!(prepared(Sms, kept).text, kept);
    }
}

#[test]
fn types_that_know_unicode_keep_parts_as_they_came() {
    let parts: String = "한글".nfd().collect();
    for kind in [KakaoAlimtalk, KakaoBrandMessage, NaverTalk, Rcs, Email] {
        assert_eq!(prepared(kind, &parts).text, parts, "{kind}");
    }
}

#[test]
fn a_partner_may_have_such_characters_replaced() {
    let answer = prepare(Sms, "펲시 😀", QUESTION).unwrap();
    assert_eq!((answer.text.as_str(), answer.length), ("?시 ?", 5));
    let wide = prepare(Sms, "펲시", Unencodable::Replace('□')).unwrap();
    assert_eq!((wide.text.as_str(), wide.length), ("□시", 4));
}

#[test]
fn a_replacement_that_cannot_be_carried_either_refuses_the_text() {
    for with in ['😀', '펲', '\0'] {
        let answer = prepare(Sms, "a펲", Unencodable::Replace(with));
        assert_eq!(answer, refused_at(1, '펲'));
    }
}

#[test]
fn control_characters_are_refused_in_every_type_and_under_every_policy() {
    let controls = ('\0'..='\u{9F}').filter(|c| c.is_control() && !"\n\r\t".contains(*c));
    for character in controls {
        let text = format!("a\r\n\tb{character}");
        for kind in MessageType::ALL {
            for policy in [Unencodable::Reject, QUESTION] {
                assert_eq!(prepare(kind, &text, policy), refused_at(5, character));
            }
        }
    }
}

#[test]
fn a_subject_has_forty_bytes_on_one_line() {
    let full = "제목".repeat(10);
    let fitted = prepare_subject(&full, Unencodable::Reject).unwrap();
    assert_eq!((fitted.text.as_str(), fitted.length), (&*full, 40));
    assert_eq!(
        prepare_subject(&(full + "!"), Unencodable::Reject),
        Err(TextError::TooLong {
            limit: 40,
            actual: 41,
            unit: Unit::Byte
        })
    );
    for (text, position, seen) in [("a\nb", 1, '\n'), ("a\r\nb", 1, '\n'), ("ab\t", 2, '\t')] {
        assert_eq!(prepare_subject(text, QUESTION), refused_at(position, seen));
    }
    assert_eq!(
        prepare_subject("펲", Unencodable::Reject),
        refused_at(0, '펲')
    );
    assert_eq!(prepare_subject("₩펲", QUESTION).unwrap().text, "￦?");
}

#[test]
fn a_policy_reads_back_from_its_text_and_anything_else_is_refused() {
    for (policy, text) in [
        (Unencodable::Reject, "reject"),
        (QUESTION, "replace:?"),
        (Unencodable::Replace(' '), "replace: "),
        (Unencodable::Replace('□'), "replace:□"),
    ] {
        assert_eq!(policy.to_string(), text);
        assert_eq!(text.parse(), Ok(policy));
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(json, format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<Unencodable>(&json).unwrap(), policy);
    }
    for text in [
        "",
        "Reject",
        "replace",
        "replace:",
        "replace:??",
        "replace:😀",
        "replace:\n",
    ] {
        assert_eq!(text.parse::<Unencodable>(), Err(NotAPolicy), "{text:?}");
    }
}

#[test]
fn units_are_named_as_in_the_api() {
    for (unit, name) in [(Unit::Byte, "BYTE"), (Unit::Character, "CHARACTER")] {
        assert_eq!(unit.name(), name);
        assert_eq!(serde_json::to_string(&unit).unwrap(), format!("\"{name}\""));
    }
}

#[test]
fn transliteration_touches_only_what_is_missing_and_only_with_what_is_there() {
    let mut touched = 0;
    for character in '\0'..=char::MAX {
        let sign = transliterate(character);
        if sign != Some(character) {
            touched += 1;
            assert!(!is_euc_kr(character), "{character:?}");
            assert!(sign.is_none_or(is_euc_kr), "{character:?}");
        }
        if let Some(sign) = sign {
            assert_eq!(transliterate(sign), Some(sign), "{character:?}");
        }
    }
    assert!(touched > 30);
}

#[test]
fn neither_a_prepared_text_nor_an_error_shows_the_text_in_logs() {
    let fitted = prepared(Sms, "인증번호 123456");
    assert_eq!(
        format!("{fitted:?}"),
        "Prepared { length: 15, unit: Byte, .. }"
    );
    let error = prepare(Sms, "secret펲", Unencodable::Reject).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the character U+D3B2 at position 6 cannot be carried"
    );
}

proptest! {
    #[test]
    fn normalising_newlines_twice_is_normalising_once(text in texts()) {
        let once = normalise_newlines(&text);
        prop_assert!(!once.contains('\r'));
        prop_assert_eq!(normalise_newlines(&once), once.clone());
        prop_assert_eq!(once, text.replace("\r\n", "\n").replace('\r', "\n"));
    }

    #[test]
    fn preparing_a_prepared_text_changes_nothing(text in texts(), kind in prop::sample::select(MessageType::ALL.to_vec())) {
        if let Ok(fitted) = prepare(kind, &text, QUESTION) {
            prop_assert_eq!(prepare(kind, &fitted.text, Unencodable::Reject), Ok(fitted));
        }
    }

    #[test]
    fn a_replaced_text_always_encodes_and_is_as_long_as_its_bytes(text in texts(), with in prop::sample::select(vec!['?', ' ', '□'])) {
        let text: String = text.chars().filter(|c| !c.is_control() || "\r\n\t".contains(*c)).collect();
        let fitted = prepare(Lms, &text, Unencodable::Replace(with)).unwrap();
        let (bytes, _, missing) = encoding_rs::EUC_KR.encode(&fitted.text);
        prop_assert!(!missing);
        prop_assert_eq!(bytes.len(), fitted.length);
        let mut rest = bytes.as_ref();
        while let [first, others @ ..] = rest {
            rest = match (first, others) {
                (0x00..=0x7F, _) => others,
                (0xA1..=0xFE, [0xA1..=0xFE, after @ ..]) => after,
                _ => return Err(TestCaseError::fail("a byte outside strict EUC-KR")),
            };
        }
    }

    #[test]
    fn the_position_given_is_that_of_the_first_character_not_carried(text in texts()) {
        if let Err(TextError::Unencodable { character, position }) = prepare(Lms, &text, Unencodable::Reject) {
            let begins = text.chars().nth(position).unwrap();
            let first = |c: char| c.nfd().next();
            prop_assert_eq!(first(begins), first(character));
            let before: String = text.chars().take(position).collect();
            prop_assert!(prepare(Lms, &before, Unencodable::Reject).is_ok());
        }
    }
}
