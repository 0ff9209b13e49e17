//! The GSM default alphabet (3GPP TS 23.038 §6.2.1), one septet in an octet, as message centres
//! take it under `data_coding` 0.

/// What goes before a character of the extension table.
pub(super) const ESCAPE: u8 = 0x1B;

/// In the order of their septets; the escape's place holds what no text has.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\u{FFFF}ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";

const EXTENSION: [(char, u8); 10] = [
    ('\u{0C}', 0x0A),
    ('^', 0x14),
    ('{', 0x28),
    ('}', 0x29),
    ('\\', 0x2F),
    ('[', 0x3C),
    ('~', 0x3D),
    (']', 0x3E),
    ('|', 0x40),
    ('€', 0x65),
];

/// A character's octets; `None` if the alphabet lacks it.
pub(super) fn octets(character: char, out: &mut Vec<u8>) -> Option<()> {
    if let Some((_, septet)) = EXTENSION.iter().find(|(listed, _)| *listed == character) {
        out.extend([ESCAPE, *septet]);
        return Some(());
    }
    let septet = BASIC.chars().position(|listed| listed == character)?;
    out.push(
        u8::try_from(septet)
            .ok()
            .filter(|septet| *septet != ESCAPE)?,
    );
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        text.chars().try_for_each(|one| octets(one, &mut out))?;
        Some(out)
    }

    #[test]
    fn the_alphabet_has_a_place_for_every_septet() {
        assert_eq!(BASIC.chars().count(), 128);
        // TS 23.038: @ is 0, Δ 10 hex, space 20 hex, ¡ 40 hex, ¿ 60 hex, à 7F hex.
        let known = encoded("@Δ_Ω !0A¡¿azà\n\r").unwrap();
        assert_eq!(
            known,
            [
                0x00, 0x10, 0x11, 0x15, 0x20, 0x21, 0x30, 0x41, 0x40, 0x60, 0x61, 0x7A, 0x7F, 0x0A,
                0x0D
            ]
        );
    }

    #[test]
    fn characters_of_the_extension_take_two_octets_and_others_are_refused() {
        assert_eq!(encoded("€["), Some(vec![0x1B, 0x65, 0x1B, 0x3C]));
        for unknown in ["한", "\u{1B}", "\u{FFFF}", "`", "ç"] {
            assert_eq!(encoded(unknown), None, "{unknown:?}");
        }
    }
}
