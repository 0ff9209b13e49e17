//! Which characters strict EUC-KR carries.

use std::sync::LazyLock;

use encoding_rs::EUC_KR;

/// KS X 1001 has 94 rows of 94, written with both bytes in this range. `encoding_rs` knows
/// "euc-kr" as browsers do, which is really CP949: its further 8,822 syllables (such as 똠 and 펲)
/// have a lead or a trail byte below the range, and carriers do not take them.
const STRICT: std::ops::RangeInclusive<u8> = 0xA1..=0xFE;

/// One bit for each character of the Basic Multilingual Plane.
static MEMBERS: LazyLock<Box<[u64; 1024]>> = LazyLock::new(|| {
    let mut members = Box::new([0; 1024]);
    for lead in STRICT {
        for trail in STRICT {
            let bytes = [lead, trail];
            let decoded = EUC_KR.decode_without_bom_handling_and_without_replacement(&bytes);
            for character in decoded.iter().flat_map(|decoded| decoded.chars()) {
                let (word, bit) = place(character);
                members[word] |= bit;
            }
        }
    }
    members
});

/// Whether strict EUC-KR (KS X 1001 and ASCII) has the character. ASCII takes one byte,
/// everything else two.
pub fn is_euc_kr(character: char) -> bool {
    if character.is_ascii() {
        return true;
    }
    let (word, bit) = place(character);
    MEMBERS.get(word).is_some_and(|word| word & bit != 0)
}

fn place(character: char) -> (usize, u64) {
    let code = character as usize;
    (code / 64, 1 << (code % 64))
}
