//! Texts as a message centre takes them.

use encoding_rs::EUC_KR;
use pabal_common::domain::text::is_euc_kr;
use serde::Deserialize;

use super::gsm7;

/// In which character set an account's texts travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Encoding {
    /// The GSM default alphabet, unpacked.
    Gsm7,
    /// UTF-16, big end first; characters beyond the Basic Multilingual Plane are surrogate pairs,
    /// which handsets understand though UCS-2 proper has none.
    Ucs2,
    /// KS C 5601, that is strict EUC-KR: what Korean handsets read.
    #[default]
    Ksc5601,
    /// ISO 8859-1.
    Latin1,
    /// IA5.
    Ascii,
}

/// A text's octets, with the places between its characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Encoded {
    pub(super) octets: Vec<u8>,
    /// Where each character ends.
    ends: Vec<usize>,
}

impl Encoding {
    /// The protocol's `data_coding` for it (SMPP 3.4 §5.2.19).
    pub(super) const fn data_coding(self) -> u8 {
        match self {
            Self::Gsm7 => 0x00,
            Self::Ascii => 0x01,
            Self::Latin1 => 0x03,
            Self::Ucs2 => 0x08,
            Self::Ksc5601 => 0x0E,
        }
    }

    /// The most octets of a message that travels alone: 140 in the network, in which 160 septets
    /// fit (3GPP TS 23.040 §9.2.3.24).
    pub(super) const fn whole(self) -> usize {
        match self {
            Self::Gsm7 => 160,
            _ => 140,
        }
    }

    /// The most octets of a part beside the six of its header.
    pub(super) const fn part(self) -> usize {
        match self {
            Self::Gsm7 => 153,
            _ => 134,
        }
    }

    /// The text in this encoding; `None` if it has a character that cannot be written.
    pub(super) fn encode(self, text: &str) -> Option<Encoded> {
        let mut encoded = Encoded::default();
        for character in text.chars() {
            self.put(character, &mut encoded.octets)?;
            encoded.ends.push(encoded.octets.len());
        }
        Some(encoded)
    }

    fn put(self, character: char, out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Gsm7 => return gsm7::octets(character, out),
            Self::Ucs2 => {
                let mut units = [0; 2];
                let units = character.encode_utf16(&mut units).iter();
                out.extend(units.flat_map(|unit| unit.to_be_bytes()));
            }
            Self::Ksc5601 => {
                if !is_euc_kr(character) {
                    return None;
                }
                let mut utf8 = [0; 4];
                let (octets, _, unmappable) = EUC_KR.encode(character.encode_utf8(&mut utf8));
                if unmappable {
                    return None;
                }
                out.extend_from_slice(&octets);
            }
            Self::Latin1 => out.push(u8::try_from(u32::from(character)).ok()?),
            Self::Ascii => out.push(u8::try_from(character).ok().filter(u8::is_ascii)?),
        }
        Some(())
    }
}

impl Encoded {
    /// The octets in pieces of at most `most`, none of which ends within a character.
    pub(super) fn pieces(&self, most: usize) -> Vec<&[u8]> {
        let (mut pieces, mut begin, mut last) = (Vec::new(), 0, 0);
        for end in &self.ends {
            if end - begin > most {
                pieces.push(&self.octets[begin..last]);
                begin = last;
            }
            last = *end;
        }
        pieces.push(&self.octets[begin..]);
        pieces
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn octets(encoding: Encoding, text: &str) -> Option<Vec<u8>> {
        encoding.encode(text).map(|encoded| encoded.octets)
    }

    #[test]
    fn each_encoding_writes_what_it_can_and_refuses_the_rest() {
        assert_eq!(
            octets(Encoding::Ksc5601, "가A"),
            Some(vec![0xB0, 0xA1, 0x41])
        );
        assert_eq!(octets(Encoding::Ucs2, "가A"), Some(vec![0xAC, 0, 0, 0x41]));
        assert_eq!(
            octets(Encoding::Ucs2, "😀"),
            Some(vec![0xD8, 0x3D, 0xDE, 0x00])
        );
        assert_eq!(octets(Encoding::Latin1, "é"), Some(vec![0xE9]));
        assert_eq!(octets(Encoding::Ascii, "A"), Some(vec![0x41]));
        for (encoding, text) in [
            // In CP949, not in KS C 5601.
            (Encoding::Ksc5601, "똠"),
            (Encoding::Ksc5601, "é"),
            (Encoding::Ksc5601, "😀"),
            (Encoding::Latin1, "€"),
            (Encoding::Ascii, "é"),
            (Encoding::Gsm7, "가"),
        ] {
            assert_eq!(octets(encoding, text), None, "{encoding:?} {text}");
        }
    }

    proptest! {
        #[test]
        fn pieces_are_whole_characters_and_together_the_text(text in "\\PC{0,300}", most in 4_usize..200) {
            let encoded = Encoding::Ucs2.encode(&text).unwrap();
            let pieces = encoded.pieces(most);
            prop_assert_eq!(pieces.concat(), encoded.octets.clone());
            for piece in &pieces {
                prop_assert!(piece.len() <= most);
                let units: Vec<_> = piece
                    .chunks(2)
                    .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                    .collect();
                prop_assert!(String::from_utf16(&units).is_ok());
            }
        }

        #[test]
        fn what_strict_euc_kr_carries_is_read_back(text in "[가-힣 -~]{0,100}") {
            match Encoding::Ksc5601.encode(&text) {
                Some(encoded) => {
                    let (read, _, malformed) = EUC_KR.decode(&encoded.octets);
                    prop_assert!(!malformed);
                    prop_assert_eq!(read, text);
                }
                None => prop_assert!(!text.chars().all(is_euc_kr)),
            }
        }
    }
}
