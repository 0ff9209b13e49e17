//! What the simulator does with a message: chosen by the last two digits of its recipient.

use std::fmt::Write as _;

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Taken, delivered, reported at once.
    Delivered,
    /// Fails: no such recipient.
    InvalidRecipient,
    /// Fails: device off or out of coverage.
    RecipientUnavailable,
    /// Fails: the recipient refuses.
    RecipientBlocked,
    /// Fails: filtered.
    Spam,
    /// Definitively refused in the answer.
    Refused,
    /// The vendor's door is closed for a while.
    ConnectionRefused,
    /// Throttled for a while.
    Throttled,
    /// Taken, answer lost, reported.
    AnswerLost,
    /// Taken, answer lost, never reported.
    AnswerLostUnreported,
    /// HTTP 500 after taking, reported.
    ErrorTaken,
    /// HTTP 500, not taken.
    ErrorNotTaken,
    /// Taken, unreadable answer, reported.
    Garbled,
    /// Reported late.
    ReportLate,
    /// Reported twice.
    ReportTwice,
    /// Reported before the answer.
    ReportEarly,
    /// Never reported.
    ReportNever,
    /// First a report nobody knows, then the right one.
    ReportUnknownFirst,
    /// Reported under the same id in another notation.
    ReportOtherNotation,
    /// Answered slowly.
    Slow,
    /// Answered slower than a client waits.
    TooSlow,
}

/// One row of the table: the recipient's last two digits, the outcome, and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The last two digits.
    pub digits: u8,
    /// What happens.
    pub outcome: Outcome,
    /// The same in words.
    pub sentence: &'static str,
}

const fn row(digits: u8, outcome: Outcome, sentence: &'static str) -> Row {
    Row {
        digits,
        outcome,
        sentence,
    }
}

impl Outcome {
    /// Every row; any other recipient is [`Outcome::Delivered`].
    pub const TABLE: [Row; 20] = [
        row(
            51,
            Self::InvalidRecipient,
            "fails as INVALID_RECIPIENT: by report, or in the answer of Alimtalk and TalkTalk",
        ),
        row(
            52,
            Self::RecipientUnavailable,
            "fails as RECIPIENT_UNAVAILABLE, likewise",
        ),
        row(
            53,
            Self::RecipientBlocked,
            "fails as RECIPIENT_BLOCKED, likewise",
        ),
        row(54, Self::Spam, "fails as SPAM, likewise"),
        row(
            55,
            Self::Refused,
            "definitively refused in the answer; not taken",
        ),
        row(
            60,
            Self::ConnectionRefused,
            "at first sight 429 and nothing taken, then the vendor's port refuses connections for 2.2 s, then fine",
        ),
        row(
            61,
            Self::Throttled,
            "429 with Retry-After: 1 for 1.5 s from first sight, then fine",
        ),
        row(
            62,
            Self::AnswerLost,
            "taken, the connection closes without an answer, reported as delivered 1 s later (TalkTalk never reports; the carriers' report bears an id nobody was told)",
        ),
        row(
            63,
            Self::AnswerLostUnreported,
            "taken, the connection closes without an answer, never reported (asking Kakao finds it delivered)",
        ),
        row(
            64,
            Self::ErrorTaken,
            "taken, HTTP 500, reported as delivered 1 s later (as for 62)",
        ),
        row(
            65,
            Self::ErrorNotTaken,
            "HTTP 500, not taken, never reported (asking Kakao does not find it)",
        ),
        row(
            66,
            Self::Garbled,
            "taken, unreadable 200, reported as delivered 1 s later (as for 62)",
        ),
        row(
            70,
            Self::ReportLate,
            "delivered, reported 5 s later; Alimtalk first answers 3005 here and up to 75; TalkTalk never reports, so 70 to 75 are plainly delivered there",
        ),
        row(71, Self::ReportTwice, "delivered, reported twice"),
        row(
            72,
            Self::ReportEarly,
            "delivered, reported before the answer",
        ),
        row(73, Self::ReportNever, "taken, never reported"),
        row(
            74,
            Self::ReportUnknownFirst,
            "delivered, first a report with an id nobody knows, then the right one",
        ),
        row(
            75,
            Self::ReportOtherNotation,
            "delivered, reported with the id in another notation",
        ),
        row(80, Self::Slow, "delivered, answered after 2 s"),
        row(
            81,
            Self::TooSlow,
            "taken, answered after 30 s, reported as delivered 1 s after taking (as for 62)",
        ),
    ];

    /// The outcome for a recipient: a number, or a TalkTalk user id that may end in digits.
    pub fn of_recipient(recipient: &str) -> Self {
        let [.., tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = recipient.as_bytes() else {
            return Self::Delivered;
        };
        Self::of_digits((tens - b'0') * 10 + (ones - b'0'))
    }

    /// The outcome for the last two digits.
    pub fn of_digits(digits: u8) -> Self {
        Self::TABLE
            .iter()
            .find(|row| row.digits == digits)
            .map_or(Self::Delivered, |row| row.outcome)
    }

    /// The row's digits; 0 for an ordinary delivery.
    pub fn digits(self) -> u8 {
        Self::TABLE
            .iter()
            .find(|row| row.outcome == self)
            .map_or(0, |row| row.digits)
    }

    /// What the recipient ends up with, if the vendor takes the message.
    pub(crate) const fn ending(self) -> Ending {
        match self {
            Self::InvalidRecipient => Ending::InvalidRecipient,
            Self::RecipientUnavailable => Ending::RecipientUnavailable,
            Self::RecipientBlocked => Ending::RecipientBlocked,
            Self::Spam => Ending::Spam,
            _ => Ending::Delivered,
        }
    }

    /// Whether even a vendor that answers finally leaves this one to a report.
    pub(crate) const fn is_about_reports(self) -> bool {
        matches!(
            self,
            Self::ReportLate
                | Self::ReportTwice
                | Self::ReportEarly
                | Self::ReportNever
                | Self::ReportUnknownFirst
                | Self::ReportOtherNotation
        )
    }
}

/// How a taken message ends; each family has a code for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Delivered,
    InvalidRecipient,
    RecipientUnavailable,
    RecipientBlocked,
    Spam,
}

/// The table as Markdown, for the documentation.
pub fn markdown_table() -> String {
    let mut text =
        String::from("| recipient ends in | what the simulated vendor does |\n|---|---|\n");
    for row in &Outcome::TABLE {
        let _ = writeln!(text, "| {} | {} |", row.digits, row.sentence);
    }
    text.push_str("| anything else | delivered, reported at once |\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_digits_and_its_outcome() {
        for row in &Outcome::TABLE {
            assert_eq!(Outcome::of_digits(row.digits), row.outcome);
            assert_eq!(row.outcome.digits(), row.digits);
            assert!(markdown_table().contains(&format!("| {} |", row.digits)));
        }
    }

    #[test]
    fn a_recipient_without_two_final_digits_is_an_ordinary_delivery() {
        for recipient in ["", "5", "user-a1", "01012345600", "한글", "51x"] {
            assert_eq!(Outcome::of_recipient(recipient), Outcome::Delivered);
        }
        assert_eq!(Outcome::of_recipient("user-51"), Outcome::InvalidRecipient);
    }
}
