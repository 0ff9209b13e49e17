//! Signs that EUC-KR lacks but has a look-alike for.
//!
//! Word processors and phones write these without being asked to, and they are most of what
//! would otherwise be refused. Each becomes one sign that a reader takes for the same; nothing
//! here changes a word, so letters with accents and pictures are left as they are.

/// The sign that EUC-KR has for `character`, `None` if it is invisible and left out, else
/// `character` itself.
pub const fn transliterate(character: char) -> Option<char> {
    let sign = match character {
        // Money. EUC-KR has only the full-width forms.
        '₩' => '￦',
        '¢' => '￠',
        '£' => '￡',
        '¥' => '￥',
        // Dashes: the long ones become the one long dash there is, the short ones a hyphen.
        '\u{2013}' | '\u{2014}' => '\u{2015}',
        '\u{2010}' | '\u{2011}' | '\u{2012}' | '\u{2043}' | '\u{2212}' => '-',
        '\u{301C}' => '\u{FF5E}',
        // Bullets and middle dots.
        '\u{2022}' | '\u{2027}' | '\u{2219}' | '\u{22C5}' | '\u{30FB}' | '\u{FF65}' => '\u{00B7}',
        // Letters that are signs.
        '©' => 'ⓒ',
        '\u{00B5}' => '\u{03BC}',
        '\u{2206}' => '\u{0394}',
        '\u{00AC}' => '\u{FFE2}',
        '\u{2016}' => '\u{2225}',
        // Spaces of other widths, and those that do not break.
        '\u{00A0}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' => ' ',
        // Invisible: zero-width space, direction marks, word joiner, variation selectors of
        // text and picture, byte order mark.
        '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2060}' | '\u{FE0E}' | '\u{FE0F}'
        | '\u{FEFF}' => return None,
        other => other,
    };
    Some(sign)
}
