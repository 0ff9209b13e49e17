//! Texts as the carriers take them: newlines, signs written another way, character set, length.
//!
//! SMS, LMS and MMS travel in EUC-KR. A text is first made as plain as it can be without changing
//! what it says (one kind of newline, composed characters, the signs of the character set for their
//! look-alikes), then every character must be carried, then the length is counted. Nothing is cut,
//! and a text that is too long never becomes another type of message.

mod euc_kr;
mod transliteration;

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use unicode_normalization::char::compose;
use utoipa::ToSchema;

pub use self::euc_kr::is_euc_kr;
pub use self::transliteration::transliterate;
use super::kind::MessageType;

/// What a length is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Unit {
    /// The bytes of the text in EUC-KR, not in UTF-8: ASCII 1, everything else 2. In RCS, which
    /// knows all of Unicode, characters beyond the Basic Multilingual Plane are 4.
    Byte,
    /// Unicode scalar values.
    Character,
}

impl Unit {
    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Byte => "BYTE",
            Self::Character => "CHARACTER",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The longest text something may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// The greatest length allowed, counted in `unit`.
    pub max: usize,
    /// What the length is counted in.
    pub unit: Unit,
}

impl Limit {
    const fn bytes(max: usize) -> Self {
        let unit = Unit::Byte;
        Self { max, unit }
    }

    const fn characters(max: usize) -> Self {
        let unit = Unit::Character;
        Self { max, unit }
    }
}

/// The longest text of a message of this type. A route may allow less.
pub const fn limit(kind: MessageType) -> Limit {
    match kind {
        MessageType::Sms => Limit::bytes(90),
        MessageType::Lms => Limit::bytes(4000),
        MessageType::Mms => Limit::bytes(2000),
        MessageType::Rcs => Limit::bytes(1300),
        MessageType::KakaoAlimtalk | MessageType::NaverTalk => Limit::characters(1000),
        MessageType::KakaoBrandMessage => Limit::characters(1400),
        MessageType::Email => Limit::characters(30_000),
    }
}

/// The longest subject of an LMS or MMS. Carriers have no common rule; 40 bytes is what most
/// Korean vendors take.
pub const SUBJECT_LIMIT: Limit = Limit::bytes(40);

/// What the partner wants for a character that EUC-KR cannot carry, in SMS, LMS and MMS.
///
/// Written `reject`, or `replace:` followed by the one character to put instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Unencodable {
    /// Refuse the message and name the character.
    #[default]
    Reject,
    /// Put this character instead. One that EUC-KR cannot carry either works like `Reject`.
    Replace(char),
}

/// The text does not say what to do with a character that cannot be carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write \"reject\", or \"replace:\" and one character that EUC-KR has, such as \"replace:?\""
)]
pub struct NotAPolicy;

impl FromStr for Unencodable {
    type Err = NotAPolicy;

    fn from_str(text: &str) -> Result<Self, NotAPolicy> {
        if text == "reject" {
            return Ok(Self::Reject);
        }
        let mut characters = text.strip_prefix("replace:").ok_or(NotAPolicy)?.chars();
        match (characters.next(), characters.next()) {
            (Some(with), None) if Alphabet::EucKr.width(with).is_some() && !with.is_control() => {
                Ok(Self::Replace(with))
            }
            _ => Err(NotAPolicy),
        }
    }
}

impl fmt::Display for Unencodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reject => f.write_str("reject"),
            Self::Replace(with) => write!(f, "replace:{with}"),
        }
    }
}

impl TryFrom<String> for Unencodable {
    type Error = NotAPolicy;

    fn try_from(text: String) -> Result<Self, NotAPolicy> {
        text.parse()
    }
}

impl From<Unencodable> for String {
    fn from(policy: Unencodable) -> Self {
        policy.to_string()
    }
}

/// A text that fits its type, as it goes to the vendor. Its `Debug` does not show the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The text.
    pub text: String,
    /// Its length in `unit`.
    pub length: usize,
    /// What `length` is counted in.
    pub unit: Unit,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("length", &self.length)
            .field("unit", &self.unit)
            .finish_non_exhaustive()
    }
}

/// The text cannot be sent as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The type cannot carry one of the characters.
    #[error("the character U+{:04X} at position {position} cannot be carried", u32::from(*.character))]
    Unencodable {
        /// The first such character, composed if it was sent in parts.
        character: char,
        /// Where it begins in the text as the partner sent it, in Unicode scalar values from 0.
        position: usize,
    },
    /// The text is longer than the type allows.
    #[error("the text is {actual} long where {limit} are allowed, counted in {unit}")]
    TooLong {
        /// The greatest length allowed.
        limit: usize,
        /// The length of the text, after everything that was rewritten.
        actual: usize,
        /// What both are counted in.
        unit: Unit,
    },
}

/// Makes a message text ready for its type.
///
/// Newlines become LF in every type. SMS, LMS and MMS texts are composed: EUC-KR has no parts of
/// characters. These and RCS texts are transliterated; SMS, LMS and MMS texts must then be EUC-KR,
/// or have what is not replaced as `policy` says. A control
/// character other than LF and TAB is refused in every type whatever the policy: nobody writes
/// one on purpose, and replacing it would hide the fault that made it.
///
/// # Errors
/// [`TextError::Unencodable`] for the first character that the type cannot carry, else
/// [`TextError::TooLong`].
pub fn prepare(kind: MessageType, text: &str, policy: Unencodable) -> Result<Prepared, TextError> {
    let is_refused = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    fit(text, Alphabet::of(kind), limit(kind), policy, is_refused)
}

/// Makes the subject of an LMS or MMS ready, as [`prepare`] does for their texts. A subject is
/// one line, so newlines and tabs are refused too.
///
/// # Errors
/// As [`prepare`], against [`SUBJECT_LIMIT`].
pub fn prepare_subject(text: &str, policy: Unencodable) -> Result<Prepared, TextError> {
    fit(
        text,
        Alphabet::EucKr,
        SUBJECT_LIMIT,
        policy,
        char::is_control,
    )
}

/// The length of a text that [`prepare`] has made ready for this type, in the type's unit.
pub fn length(kind: MessageType, prepared: &str) -> usize {
    let alphabet = Alphabet::of(kind);
    let widths = prepared.chars().map(|c| alphabet.width(c));
    // Every character was found to be carried.
    widths.map(|width| width.unwrap_or(1)).sum()
}

/// The text with every CRLF and CR written as LF, so that the length does not depend on the
/// system it was written on.
pub fn normalise_newlines(text: &str) -> String {
    with_plain_newlines(text).map(|(_, c)| c).collect()
}

/// What a type can write, and how wide.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alphabet {
    EucKr,
    Rcs,
    Unicode,
}

impl Alphabet {
    const fn of(kind: MessageType) -> Self {
        match kind {
            MessageType::Sms | MessageType::Lms | MessageType::Mms => Self::EucKr,
            MessageType::Rcs => Self::Rcs,
            MessageType::KakaoAlimtalk
            | MessageType::KakaoBrandMessage
            | MessageType::NaverTalk
            | MessageType::Email => Self::Unicode,
        }
    }

    /// The characters with those that were sent in parts put together, each with the place where
    /// it begins.
    ///
    /// Neighbours are put together as in canonical composition (Unicode Standard Annex #15), and no
    /// character is exchanged for another: KS X 1001 has several that normalisation would replace
    /// by one it does not have, such as the sign for ångström.
    fn composed(
        self,
        characters: impl Iterator<Item = (usize, char)>,
    ) -> impl Iterator<Item = (usize, char)> {
        let mut characters = characters.peekable();
        std::iter::from_fn(move || {
            let (position, mut character) = characters.next()?;
            while self == Self::EucKr
                && let Some((_, next)) = characters.peek()
                && let Some(whole) = compose(character, *next)
            {
                character = whole;
                characters.next();
            }
            Some((position, character))
        })
    }

    /// The character as this alphabet would rather have it; `None` if it is left out.
    fn rewritten(self, character: char) -> Option<char> {
        match self {
            Self::EucKr | Self::Rcs => transliterate(character),
            Self::Unicode => Some(character),
        }
    }

    /// How much the character adds to the length; `None` if it is not carried.
    fn width(self, character: char) -> Option<usize> {
        match self {
            Self::Unicode => Some(1),
            Self::EucKr | Self::Rcs if character.is_ascii() => Some(1),
            Self::EucKr => is_euc_kr(character).then_some(2),
            Self::Rcs if u32::from(character) > 0xFFFF => Some(4),
            Self::Rcs => Some(2),
        }
    }
}

fn fit(
    text: &str,
    alphabet: Alphabet,
    limit: Limit,
    policy: Unencodable,
    is_refused: impl Fn(char) -> bool,
) -> Result<Prepared, TextError> {
    let mut fitted = String::with_capacity(text.len());
    let mut length = 0;
    for (position, character) in alphabet.composed(with_plain_newlines(text)) {
        let Some(rewritten) = alphabet.rewritten(character) else {
            continue;
        };
        let unencodable = TextError::Unencodable {
            character,
            position,
        };
        if is_refused(rewritten) {
            return Err(unencodable);
        }
        let (written, width) = match (alphabet.width(rewritten), policy) {
            (Some(width), _) => (rewritten, width),
            (None, Unencodable::Replace(with)) if !is_refused(with) => {
                (with, alphabet.width(with).ok_or(unencodable)?)
            }
            (None, _) => return Err(unencodable),
        };
        fitted.push(written);
        length += width;
    }
    if length > limit.max {
        return Err(TextError::TooLong {
            limit: limit.max,
            actual: length,
            unit: limit.unit,
        });
    }
    Ok(Prepared {
        text: fitted,
        length,
        unit: limit.unit,
    })
}

/// The characters with CRLF and CR as LF, each with its place in the text as it was.
fn with_plain_newlines(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut characters = text.chars().enumerate().peekable();
    std::iter::from_fn(move || {
        let (position, character) = characters.next()?;
        if character != '\r' {
            return Some((position, character));
        }
        characters.next_if(|(_, next)| *next == '\n');
        Some((position, '\n'))
    })
}
