//! The message centre's ids: one notation for an id in an answer and in a receipt.

use pabal_common::domain::report::VendorMessageId;
use serde::Deserialize;

/// How a receipt writes the id that the answer gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ReceiptId {
    /// As the answer did.
    #[default]
    Same,
    /// In hexadecimal, where the answer was decimal.
    HexToDec,
    /// In decimal, where the answer was hexadecimal.
    DecToHex,
}

/// An answer's id: lower case, without blanks and leading zeros; `None` if there is none that can be
/// kept.
pub(super) fn answered(id: &str) -> Option<VendorMessageId> {
    let id = id.trim();
    let digits = id.trim_start_matches('0');
    let shown = if digits.is_empty() {
        id.get(..1)?
    } else {
        digits
    };
    VendorMessageId::new(&shown.to_ascii_lowercase())
}

/// A receipt's id, in the answer's notation. One that is no number of the receipt's base stays as it
/// is, so that it is seen rather than lost.
pub(super) fn receipted(id: &str, notation: ReceiptId) -> Option<VendorMessageId> {
    let id = id.trim();
    let rewritten = match notation {
        ReceiptId::Same => None,
        ReceiptId::HexToDec => number(id, 16).map(|number| number.to_string()),
        ReceiptId::DecToHex => number(id, 10).map(|number| format!("{number:x}")),
    };
    answered(rewritten.as_deref().unwrap_or(id))
}

fn number(text: &str, base: u32) -> Option<u128> {
    // `from_str_radix` alone would take a sign.
    let digits = text.chars().all(|one| one.is_digit(base));
    digits
        .then(|| u128::from_str_radix(text, base).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn zero_is_an_id_and_nothing_is_none() {
        assert_eq!(answered("000"), VendorMessageId::new("0"));
        assert_eq!(answered("  "), None);
        assert_eq!(answered(&"7".repeat(129)), None);
        assert_eq!(
            receipted("한", ReceiptId::HexToDec),
            VendorMessageId::new("한")
        );
    }

    proptest! {
        #[test]
        fn every_notation_of_an_id_is_the_same_id(number: u64) {
            let hexadecimal = answered(&format!("{number:x}"));
            for text in [format!("{number:X}"), format!("{number:016x}"), format!(" {number:020X} ")] {
                prop_assert_eq!(receipted(&text, ReceiptId::Same), hexadecimal.clone());
            }
            let decimal = answered(&format!("{number:010}"));
            for text in [format!("{number:X}"), format!("{number:016x}")] {
                prop_assert_eq!(receipted(&text, ReceiptId::HexToDec), decimal.clone());
            }
            prop_assert_eq!(receipted(&format!("{number:020}"), ReceiptId::DecToHex), hexadecimal);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            for notation in [ReceiptId::Same, ReceiptId::HexToDec, ReceiptId::DecToHex] {
                let _ = receipted(&text, notation);
            }
        }
    }
}
