//! Who a message goes to and which number it comes from.
//!
//! All three types are parsed once, at the edge. Whom a message goes to is never logged whole:
//! `Debug` and `Display` are masked, and the accessors that give the real value are named for it.

use std::fmt;
use std::str::FromStr;

/// E.164 numbers have at most 15 digits, and `00` may stand before them.
const MOST_DIGITS: usize = 17;

/// A Korean number that can receive messages: a mobile, or a safe number (050x) that stands for
/// one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Recipient(Box<str>);

/// The text is not a number that a message can go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// Letters, too few or too many digits, or a range that nobody has.
    #[error("this is not a Korean mobile number such as 010-1234-5678")]
    Malformed,
    /// A number of another country.
    #[error("this number belongs to another country; messages go to Korean numbers only")]
    International,
    /// A landline, an internet telephone, a toll-free or a representative number.
    #[error("this is a Korean number that cannot receive messages; a mobile number is needed")]
    CannotReceive,
}

impl Recipient {
    /// The real number in national digits, such as `01012345678`. Not for logs.
    pub fn national(&self) -> &str {
        &self.0
    }

    /// The real number as E.164 writes it, such as `+821012345678`. Not for logs.
    pub fn e164(&self) -> String {
        format!("+82{}", self.0.strip_prefix('0').unwrap_or(&self.0))
    }

    /// The last `n` digits, or all of them if there are fewer.
    pub fn last_digits(&self, n: usize) -> &str {
        &self.0[self.0.len().saturating_sub(n)..]
    }
}

impl FromStr for Recipient {
    type Err = RecipientError;

    /// Takes the usual notations: national, with country code after `+`, `00` or nothing, with or
    /// without the leading zero behind it; spaces, hyphens, dots and parentheses between digits.
    fn from_str(text: &str) -> Result<Self, RecipientError> {
        let national = match Written::read(text).ok_or(RecipientError::Malformed)? {
            Written::National(digits) => digits,
            Written::Abroad => return Err(RecipientError::International),
        };
        if is_mobile(&national) || is_safe_number(&national) {
            Ok(Self(national.into()))
        } else if is_in_service(&national) {
            Err(RecipientError::CannotReceive)
        } else {
            Err(RecipientError::Malformed)
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-****-{}", &self.0[..3], self.last_digits(4))
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({self})")
    }
}

/// A Korean number that a message may come from. That the partner may use it is another question.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SenderNumber(Box<str>);

/// The text is not a number that a message may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SenderNumberError {
    /// Letters, too few or too many digits, or an unknown area code.
    #[error("this is not a Korean telephone number in national digits such as 02-123-4567")]
    Malformed,
    /// A number in a range that is given to nobody.
    #[error("numbers that begin with 010-0, 010-1, 070-0 or 070-1 do not exist")]
    NoSuchRange,
}

impl SenderNumber {
    /// The number in national digits, such as `021234567` or `15881234`.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// Whether it is a mobile number (010). RCS takes none of these as sender.
    pub fn is_mobile(&self) -> bool {
        self.0.starts_with("010")
    }
}

impl FromStr for SenderNumber {
    type Err = SenderNumberError;

    /// Takes national digits with spaces, hyphens, dots and parentheses between them; the rule is
    /// the one for registering sender numbers. A country code is not part of a sender number.
    fn from_str(text: &str) -> Result<Self, SenderNumberError> {
        let (digits, has_plus) = digits(text).ok_or(SenderNumberError::Malformed)?;
        if has_plus {
            Err(SenderNumberError::Malformed)
        } else if is_in_service(&digits) {
            Ok(Self(digits.into()))
        } else if digits.len() == 11
            && matches!(
                digits.as_bytes(),
                [b'0', b'1' | b'7', b'0', b'0' | b'1', ..]
            )
        {
            Err(SenderNumberError::NoSuchRange)
        } else {
            Err(SenderNumberError::Malformed)
        }
    }
}

impl fmt::Debug for SenderNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SenderNumber(****{})", &self.0[self.0.len() - 4..])
    }
}

/// The recipient of a Naver TalkTalk message: the id that the channel has for its user. Its
/// meaning is Naver's; to us it is 1–64 visible ASCII characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TalkUserId(Box<str>);

/// The text cannot be the id of a TalkTalk user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a TalkTalk user id is 1 to 64 visible ASCII characters")]
pub struct NotATalkUserId;

impl TalkUserId {
    /// The longest one, in bytes.
    pub const MAX: usize = 64;

    /// The real id. Not for logs.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for TalkUserId {
    type Err = NotATalkUserId;

    fn from_str(text: &str) -> Result<Self, NotATalkUserId> {
        let fits =
            (1..=Self::MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(NotATalkUserId)
        }
    }
}

impl fmt::Debug for TalkUserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TalkUserId(****)")
    }
}

/// A number as somebody wrote it, read as far as the country.
enum Written {
    /// Korean, in national digits; whether it exists is not known yet.
    National(String),
    Abroad,
}

impl Written {
    /// `None` if it is no telephone number at all.
    fn read(text: &str) -> Option<Self> {
        let (digits, has_plus) = digits(text)?;
        let international = if has_plus {
            digits.as_str()
        } else if let Some(international) = digits.strip_prefix("00") {
            international
        } else if digits.starts_with('0') || digits.len() < 11 {
            return Some(Self::National(digits));
        } else {
            // Too long for a Korean number that lost its leading zero.
            digits.as_str()
        };
        match international.strip_prefix("82") {
            // Many write the zero behind the country code; representative numbers have none.
            Some(rest) if rest.starts_with('0') || is_representative(rest) => {
                Some(Self::National(rest.into()))
            }
            Some(rest) => Some(Self::National(format!("0{rest}"))),
            // E.164: country codes do not begin with 0, and a whole number has 7 to 15 digits.
            None => ((7..=15).contains(&international.len()) && !international.starts_with('0'))
                .then_some(Self::Abroad),
        }
    }
}

/// The digits without separators, and whether a plus stands before them. `None` for anything
/// that is not written so.
fn digits(text: &str) -> Option<(String, bool)> {
    let mut digits = String::with_capacity(MOST_DIGITS);
    let mut has_plus = false;
    for character in text.chars() {
        match character {
            '0'..='9' if digits.len() < MOST_DIGITS => digits.push(character),
            '+' if digits.is_empty() && !has_plus => has_plus = true,
            ' ' | '-' | '.' | '(' | ')' => {}
            _ => return None,
        }
    }
    Some((digits, has_plus))
}

/// 010 with eight digits, or one of the prefixes from before 2004 with seven or eight. Ranges of
/// 010 that nobody has yet are left to the carriers, who know best when one is opened.
fn is_mobile(national: &str) -> bool {
    match national.as_bytes() {
        [b'0', b'1', b'0', ..] => national.len() == 11,
        [b'0', b'1', b'1' | b'6'..=b'9', ..] => (10..=11).contains(&national.len()),
        _ => false,
    }
}

/// 050x: forwarded to a number that stays hidden.
fn is_safe_number(national: &str) -> bool {
    national.starts_with("050") && (11..=12).contains(&national.len())
}

/// 15xx, 16xx and 18xx: eight digits for the whole country, without area code.
fn is_representative(national: &str) -> bool {
    national.len() == 8 && matches!(national.as_bytes(), [b'1', b'5' | b'6' | b'8', ..])
}

/// Whether the number lies in a range that may be registered as sender: mobile, landline with
/// its area code, internet telephone, toll-free, safe and unified numbers, representative.
fn is_in_service(national: &str) -> bool {
    let lengths = match national.as_bytes() {
        [b'0', b'1', b'0', b'2'..=b'9', ..] | [b'0', b'7', b'0', b'2'..=b'9', ..] => 11..=11,
        [b'0', b'2', ..] => 9..=10,
        [b'0', b'3', b'1'..=b'3', ..]
        | [b'0', b'4' | b'6', b'1'..=b'4', ..]
        | [b'0', b'5', b'1'..=b'5', ..]
        | [b'0', b'8', b'0', ..] => 10..=11,
        [b'0', b'3' | b'5', b'0', ..] => 11..=12,
        _ => return is_representative(national),
    };
    lengths.contains(&national.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_usual_notations_all_name_the_same_recipient() {
        for text in [
            "01012345678",
            "010-1234-5678",
            "010 1234 5678",
            "010.1234.5678",
            "(010) 1234-5678",
            " 010-1234-5678 ",
            "+82 10-1234-5678",
            "+821012345678",
            "+82-010-1234-5678",
            "(+82) 10 1234 5678",
            "+82 (0)10 1234 5678",
            "821012345678",
            "8201012345678",
            "00821012345678",
            "0082 010 1234 5678",
        ] {
            let recipient: Recipient = text.parse().expect(text);
            assert_eq!(recipient.national(), "01012345678", "{text}");
            assert_eq!(recipient.e164(), "+821012345678", "{text}");
        }
    }

    #[test]
    fn mobiles_of_today_and_before_and_safe_numbers_can_receive() {
        for (text, national) in [
            ("010-0000-0000", "01000000000"),
            ("010-1234-5678", "01012345678"),
            ("010-9999-9999", "01099999999"),
            ("011-234-5678", "0112345678"),
            ("+82 16-234-5678", "0162345678"),
            ("017-1234-5678", "01712345678"),
            ("018-234-5678", "0182345678"),
            ("019-234-5678", "0192345678"),
            ("0504-123-4567", "05041234567"),
            ("0507-1234-5678", "050712345678"),
            ("+82 507-1234-5678", "050712345678"),
        ] {
            let recipient: Recipient = text.parse().expect(text);
            assert_eq!(recipient.national(), national);
        }
    }

    #[test]
    fn other_numbers_are_refused_for_what_they_are() {
        use RecipientError::{CannotReceive, International, Malformed};
        for (text, error) in [
            ("02-123-4567", CannotReceive),
            ("02-1234-5678", CannotReceive),
            ("+82 2-1234-5678", CannotReceive),
            ("031-123-4567", CannotReceive),
            ("064-1234-5678", CannotReceive),
            ("070-2345-6789", CannotReceive),
            ("080-123-4567", CannotReceive),
            ("030-1234-5678", CannotReceive),
            ("1588-1234", CannotReceive),
            ("+82 1588-1234", CannotReceive),
            ("+1 415-555-2671", International),
            ("+81 90-1234-5678", International),
            ("001 415 555 2671", International),
            ("0081 90 1234 5678", International),
            ("14155552671", International),
            ("819012345678", International),
            ("", Malformed),
            ("+", Malformed),
            ("-", Malformed),
            ("112", Malformed),
            ("1012345678", Malformed),
            ("070-1234-5678", Malformed),
            ("010-2345-678", Malformed),
            ("010-2345-67890", Malformed),
            ("011-234-567", Malformed),
            ("012-2345-6789", Malformed),
            ("034-123-4567", Malformed),
            ("050-1234-567", Malformed),
            ("0507-1234-56789", Malformed),
            ("+82 10-2345-67890", Malformed),
            ("+0821023456789", Malformed),
            ("+1415", Malformed),
            ("00 1234", Malformed),
            ("000010234567", Malformed),
            ("1234567890123456", Malformed),
            ("99999999999999999999999999", Malformed),
            ("010-2345-67a8", Malformed),
            ("공일공2345", Malformed),
            ("０１０２３４５６７８９", Malformed),
            ("++82 10-2345-6789", Malformed),
            ("010+2345+6789", Malformed),
            ("010/2345/6789", Malformed),
        ] {
            assert_eq!(text.parse::<Recipient>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_recipient_gives_as_many_last_digits_as_asked_for() {
        let recipient: Recipient = "010-2345-6789".parse().unwrap();
        assert_eq!(recipient.last_digits(0), "");
        assert_eq!(recipient.last_digits(4), "6789");
        assert_eq!(recipient.last_digits(99), "01023456789");
    }

    #[test]
    fn sender_numbers_follow_the_rule_of_registration() {
        for (text, digits) in [
            ("010-2345-6789", "01023456789"),
            ("02-123-4567", "021234567"),
            ("(02) 1234 5678", "0212345678"),
            ("031.123.4567", "0311234567"),
            ("033-1234-5678", "03312345678"),
            ("041-123-4567", "0411234567"),
            ("044-123-4567", "0441234567"),
            ("055-123-4567", "0551234567"),
            ("064-123-4567", "0641234567"),
            ("070-2345-6789", "07023456789"),
            ("080-123-4567", "0801234567"),
            ("080-1234-5678", "08012345678"),
            ("050-1234-5678", "05012345678"),
            ("0507-1234-5678", "050712345678"),
            ("030-1234-5678", "03012345678"),
            ("0303-1234-5678", "030312345678"),
            ("1588-1234", "15881234"),
            ("1600-1234", "16001234"),
            ("1899-1234", "18991234"),
        ] {
            let sender: SenderNumber = text.parse().expect(text);
            assert_eq!(sender.digits(), digits);
            assert_eq!(sender.is_mobile(), digits.starts_with("010"), "{text}");
        }
    }

    #[test]
    fn other_sender_numbers_are_refused() {
        use SenderNumberError::{Malformed, NoSuchRange};
        for (text, error) in [
            ("010-0123-4567", NoSuchRange),
            ("010-1123-4567", NoSuchRange),
            ("070-0123-4567", NoSuchRange),
            ("070-1123-4567", NoSuchRange),
            ("010-1123-456", Malformed),
            ("010-2345-678", Malformed),
            ("010-2345-67890", Malformed),
            ("011-234-5678", Malformed),
            ("02-123-456", Malformed),
            ("02-1234-56789", Malformed),
            ("034-123-4567", Malformed),
            ("045-123-4567", Malformed),
            ("056-123-4567", Malformed),
            ("065-123-4567", Malformed),
            ("060-123-4567", Malformed),
            ("070-2345-678", Malformed),
            ("080-123-456", Malformed),
            ("080-1234-56789", Malformed),
            ("050-123-4567", Malformed),
            ("0507-1234-56789", Malformed),
            ("1588-123", Malformed),
            ("1588-12345", Malformed),
            ("1788-1234", Malformed),
            ("112", Malformed),
            ("", Malformed),
            ("+82 2-1234-5678", Malformed),
            ("+15881234", Malformed),
            ("02-CALL-NOW", Malformed),
        ] {
            assert_eq!(text.parse::<SenderNumber>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_talk_user_id_is_up_to_64_visible_ascii_characters() {
        let longest = "x".repeat(64);
        for text in ["a", "al-2eGuGr5WQOnco1_V-FQ", &longest] {
            let id: TalkUserId = text.parse().unwrap();
            assert_eq!(id.expose(), text);
            assert_eq!(format!("{id:?}"), "TalkUserId(****)");
        }
        for text in ["", "a b", "사용자", "a\n", &"x".repeat(65)] {
            assert_eq!(text.parse::<TalkUserId>(), Err(NotATalkUserId), "{text:?}");
        }
    }

    #[test]
    fn numbers_are_masked_where_they_might_be_logged() {
        let recipient: Recipient = "01023456789".parse().unwrap();
        assert_eq!(recipient.to_string(), "010-****-6789");
        assert_eq!(format!("{recipient:?}"), "Recipient(010-****-6789)");
        let sender: SenderNumber = "01023456789".parse().unwrap();
        assert_eq!(format!("{sender:?}"), "SenderNumber(****6789)");
    }

    fn receiving_numbers() -> impl Strategy<Value = String> {
        prop_oneof!["010[0-9]{8}", "01[16-9][0-9]{7,8}", "050[0-9]{8,9}"]
    }

    /// The number as somebody might write it: country code or none, zero or none behind it, and
    /// separators wherever they like.
    fn notations(national: &str) -> impl Strategy<Value = String> + use<> {
        let significant = national[1..].to_owned();
        let prefixes = ["0", "+82", "+820", "82", "820", "0082", "00820"];
        let separators = prop::collection::vec("[-. ()]{0,2}", 20);
        (prop::sample::select(prefixes.to_vec()), separators).prop_map(
            move |(prefix, separators)| {
                let digits = prefix.chars().chain(significant.chars());
                digits
                    .zip(separators)
                    .map(|(digit, separator)| format!("{digit}{separator}"))
                    .collect()
            },
        )
    }

    proptest! {
        #[test]
        fn a_number_is_the_same_in_every_notation((national, text) in receiving_numbers().prop_flat_map(|n| (Just(n.clone()), notations(&n)))) {
            let recipient: Recipient = text.parse().unwrap();
            prop_assert_eq!(recipient.national(), &national);
            prop_assert_eq!(recipient.e164().parse(), Ok(recipient.clone()));
            prop_assert_eq!(recipient.e164(), format!("+82{}", &national[1..]));
        }

        #[test]
        fn the_middle_of_a_number_is_never_shown(national in receiving_numbers()) {
            let recipient: Recipient = national.parse().unwrap();
            for shown in [format!("{recipient}"), format!("{recipient:?}")] {
                let digits: String = shown.chars().filter(char::is_ascii_digit).collect();
                prop_assert_eq!(digits, format!("{}{}", &national[..3], &national[national.len() - 4..]));
            }
        }

        #[test]
        fn whatever_is_read_is_a_number(text in prop_oneof![any::<String>(), "[+0-9 ().-]{0,24}"]) {
            if let Ok(recipient) = text.parse::<Recipient>() {
                prop_assert!(recipient.national().starts_with('0'));
                prop_assert!((10..=12).contains(&recipient.national().len()));
                prop_assert_eq!(recipient.national().parse(), Ok(recipient.clone()));
            }
            if let Ok(sender) = text.parse::<SenderNumber>() {
                prop_assert!((8..=12).contains(&sender.digits().len()));
                prop_assert_eq!(sender.digits().parse(), Ok(sender.clone()));
            }
        }

        #[test]
        fn the_rule_for_sender_numbers_is_the_documented_one(digits in "(0[1-8][0-5]|1[4-9]|[0-9]{2})[0-9]{5,10}") {
            // The rule again in another form: prefix, then how many digits may follow.
            let rule: &[(&[&str], &[usize])] = &[
                (&["0102", "0103", "0104", "0105", "0106", "0107", "0108", "0109"], &[7]),
                (&["0702", "0703", "0704", "0705", "0706", "0707", "0708", "0709"], &[7]),
                (&["02", "031", "032", "033", "041", "042", "043", "044", "051", "052", "053", "054",
                   "055", "061", "062", "063", "064", "080"], &[7, 8]),
                (&["050", "030"], &[8, 9]),
                (&["15", "16", "18"], &[6]),
            ];
            let fits = rule.iter().any(|(prefixes, lengths)| {
                prefixes.iter().any(|prefix| {
                    digits.strip_prefix(prefix).is_some_and(|rest| lengths.contains(&rest.len()))
                })
            });
            prop_assert_eq!(digits.parse::<SenderNumber>().is_ok(), fits);
        }
    }
}
