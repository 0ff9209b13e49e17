//! A mail as it goes over the wire: lines that every server takes, dots doubled, and the end apart.

/// The longest line, its end not counted (RFC 5321 §4.5.3.1.6).
const LONGEST_LINE: usize = 998;

/// What ends a mail (RFC 5321 §4.1.1.4). It is no part of [`Data`], because nothing is taken before it
/// was written.
pub(super) const END: &[u8] = b".\r\n";

/// The octets between `DATA` and [`END`].
#[derive(Clone)]
pub(super) struct Data {
    octets: Vec<u8>,
    length: usize,
}

/// The octets are not what a server takes as one mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// A CR without its LF, or an LF without its CR: some servers end a line there, and some a mail.
    #[error("a bare CR or LF")]
    BareNewline,
    /// A line of more than 998 octets.
    #[error("a line of more than {LONGEST_LINE} octets")]
    LongLine,
    /// An octet over 127, or NUL.
    #[error("an octet that is not ASCII")]
    NotAscii,
}

impl Data {
    /// Takes a whole mail, every line ended by CRLF; the last one gets its end if it has none.
    pub(super) fn new(mail: &[u8]) -> Result<Self, Unfit> {
        let mut octets = Vec::with_capacity(mail.len() + mail.len() / 64 + 2);
        let mut rest = mail;
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let (line, behind) = match end {
                None => (rest, &[][..]),
                Some(at) => match rest[at..] {
                    [b'\r', b'\n', ..] => (&rest[..at], &rest[at + 2..]),
                    _ => return Err(Unfit::BareNewline),
                },
            };
            check(line)?;
            if line.starts_with(b".") {
                octets.push(b'.');
            }
            octets.extend_from_slice(line);
            octets.extend_from_slice(b"\r\n");
            rest = behind;
        }
        Ok(Self {
            octets,
            length: mail.len(),
        })
    }

    /// The octets to write.
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// The size of the mail itself, as `SIZE` counts it (RFC 1870 §5).
    pub(super) const fn size(&self) -> usize {
        self.length
    }
}

fn check(line: &[u8]) -> Result<(), Unfit> {
    if line.len() > LONGEST_LINE {
        return Err(Unfit::LongLine);
    }
    match line.iter().all(|byte| (1..128).contains(byte)) {
        true => Ok(()),
        false => Err(Unfit::NotAscii),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a server makes of it (RFC 5321 §4.5.2).
    fn received(octets: &[u8]) -> Vec<u8> {
        let mut mail = Vec::new();
        for line in octets.split_inclusive(|byte| *byte == b'\n') {
            mail.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        mail
    }

    #[test]
    fn dots_at_the_beginning_of_a_line_are_doubled() {
        let data = Data::new(b".a\r\nb.\r\n.\r\n..").unwrap();
        assert_eq!(data.octets(), b"..a\r\nb.\r\n..\r\n...\r\n");
    }

    #[test]
    fn bare_newlines_long_lines_and_other_octets_are_refused() {
        for mail in ["a\nb", "a\rb", "a\r\n.\n", "a\n\r\n", "\r\r\n", "a\r"] {
            assert_eq!(
                Data::new(mail.as_bytes()).err(),
                Some(Unfit::BareNewline),
                "{mail:?}"
            );
        }
        assert!(Data::new(&[b'a'; 998]).is_ok());
        assert_eq!(Data::new(&[b'a'; 999]).err(), Some(Unfit::LongLine));
        assert_eq!(Data::new("한".as_bytes()).err(), Some(Unfit::NotAscii));
        assert_eq!(Data::new(b"a\0b").err(), Some(Unfit::NotAscii));
    }

    proptest! {
        #[test]
        fn whatever_is_let_through_arrives_as_it_was_and_ends_nowhere_before_its_end(mail in "[a.\r\n]{0,60}") {
            if let Ok(data) = Data::new(mail.as_bytes()) {
                let mut whole = mail.into_bytes();
                if !whole.is_empty() && !whole.ends_with(b"\r\n") {
                    whole.extend_from_slice(b"\r\n");
                }
                prop_assert_eq!(received(data.octets()), whole);
                let mut sent = b"\r\n".to_vec();
                sent.extend_from_slice(data.octets());
                let end = b"\r\n.\r\n";
                prop_assert!(!sent.windows(end.len()).any(|part| part == end));
            }
        }
    }
}
