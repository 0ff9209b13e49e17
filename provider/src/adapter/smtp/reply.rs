//! A reply of a mail server: RFC 5321 §4.2, with the enhanced status code of RFC 2034 §4.

use std::fmt;

/// The longest line taken, its end included. RFC 5321 §4.5.3.1.5 allows 512 octets; some say more.
pub(super) const LONGEST_LINE: usize = 2048;
/// The most lines taken.
const MOST_LINES: usize = 128;

/// A whole reply. Its text may name the recipient, so `Debug` shows the codes alone.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// The three digits.
    pub(super) code: u16,
    lines: Vec<String>,
}

/// The lines are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoReply;

/// Puts the lines of a reply together.
#[derive(Debug, Default)]
pub(super) struct Assembling(Option<Reply>);

impl Assembling {
    /// The next line, without its end; the reply, if that was its last.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<Option<Reply>, NoReply> {
        let (code, more, text) = split(line).ok_or(NoReply)?;
        let reply = self.0.get_or_insert_with(|| Reply {
            code,
            lines: Vec::new(),
        });
        if reply.code != code || reply.lines.len() == MOST_LINES {
            return Err(NoReply);
        }
        reply.lines.push(String::from_utf8_lossy(text).into_owned());
        match more {
            true => Ok(None),
            false => Ok(self.0.take()),
        }
    }
}

/// `250-text`, `250 text` or `250`.
fn split(line: &[u8]) -> Option<(u16, bool, &[u8])> {
    let [
        first @ b'2'..=b'5',
        second @ b'0'..=b'5',
        third @ b'0'..=b'9',
        rest @ ..,
    ] = line
    else {
        return None;
    };
    let digit = |byte: &u8| u16::from(byte - b'0');
    let code = digit(first) * 100 + digit(second) * 10 + digit(third);
    match rest {
        [] => Some((code, false, rest)),
        [b' ', text @ ..] => Some((code, false, text)),
        [b'-', text @ ..] => Some((code, true, text)),
        _ => None,
    }
}

impl Reply {
    /// Whether the command was carried out.
    pub(super) const fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether the same may succeed later.
    pub(super) const fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// The enhanced status code, such as `5.1.1`, if there is one of the reply's own class.
    pub(super) fn enhanced(&self) -> Option<&str> {
        let (status, _) = self.lines.first()?.split_once(' ')?;
        let parts: Vec<_> = status.split('.').collect();
        let is_number = |part: &&str| {
            (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        let own_class = char::from_digit(u32::from(self.code / 100), 10)?;
        let is_status = parts.len() == 3
            && parts.iter().all(is_number)
            && parts[0].len() == 1
            && parts[0].starts_with(own_class);
        is_status.then_some(status)
    }

    /// What stands on each line behind its code.
    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({} {})", self.code, self.enhanced().unwrap_or("-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(lines: &[&str]) -> Result<Option<Reply>, NoReply> {
        let mut assembling = Assembling::default();
        let mut last = Ok(None);
        for line in lines {
            last = assembling.line(line.as_bytes());
            last.clone()?;
        }
        last
    }

    #[test]
    fn a_reply_ends_with_the_line_that_has_no_hyphen() {
        let whole = reply(&["250-mail.example", "250-SIZE 1000", "250 HELP"])
            .unwrap()
            .unwrap();
        assert_eq!(whole.code, 250);
        assert_eq!(whole.lines(), ["mail.example", "SIZE 1000", "HELP"]);
        assert_eq!(reply(&["250-mail.example"]), Ok(None));
        assert_eq!(reply(&["220"]).unwrap().unwrap().code, 220);
    }

    #[test]
    fn what_is_not_a_reply_is_refused() {
        for lines in [
            vec![""],
            vec!["25"],
            vec!["2500 ok"],
            vec!["HTTP/1.1 400"],
            vec!["150 go on"],
            vec!["260 ok"],
            vec!["250-a", "251 b"],
        ] {
            assert_eq!(reply(&lines), Err(NoReply), "{lines:?}");
        }
        let endless = vec!["250-a"; MOST_LINES + 1];
        assert_eq!(reply(&endless), Err(NoReply));
    }

    #[test]
    fn an_enhanced_status_code_is_of_the_replys_own_class() {
        let enhanced = |line: &str| {
            let reply = reply(&[line]).unwrap().unwrap();
            reply.enhanced().map(str::to_owned)
        };
        assert_eq!(enhanced("550 5.1.1 no such user").as_deref(), Some("5.1.1"));
        assert_eq!(enhanced("451 4.7.650 later").as_deref(), Some("4.7.650"));
        for line in [
            "550 no such user",
            "550 4.1.1 x",
            "550 5.1 x",
            "550 5.1.1000 x",
            "550 5.1.1",
            "550 5.a.1 x",
        ] {
            assert_eq!(enhanced(line), None, "{line}");
        }
    }

    #[test]
    fn debug_does_not_show_the_text() {
        let whole = reply(&["550 5.1.1 <kim@shop.example>: unknown"])
            .unwrap()
            .unwrap();
        assert_eq!(format!("{whole:?}"), "Reply(550 5.1.1)");
    }
}
