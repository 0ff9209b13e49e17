//! NHN Cloud's times: local Korean time without an offset, to the second or to the minute.

use pabal_common::clock::Timestamp;
use time::format_description::BorrowedFormatItem;
use time::macros::{format_description, offset};
use time::{OffsetDateTime, PrimitiveDateTime};

/// How precisely a query tells a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grain {
    /// `yyyy-MM-dd HH:mm:ss`
    Second,
    /// `yyyy-MM-dd HH:mm`
    Minute,
}

const SECOND: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
const MINUTE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]");

impl Grain {
    /// The grain in seconds.
    pub(super) const fn seconds(self) -> i64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
        }
    }

    /// This Unix second in NHN's notation; empty outside the years 1 to 9999.
    pub(super) fn write(self, seconds: i64) -> String {
        let format = match self {
            Self::Second => SECOND,
            Self::Minute => MINUTE,
        };
        let moment = OffsetDateTime::from_unix_timestamp(seconds).ok();
        let moment = moment.and_then(|moment| moment.checked_to_offset(offset!(+9)));
        moment
            .and_then(|moment| moment.format(format).ok())
            .unwrap_or_default()
    }
}

/// Reads `2018-08-10 10:06:42.0` and `2024-04-29T20:58:04`, to the second.
pub(super) fn read(text: &str) -> Option<Timestamp> {
    let second = text.trim().get(..19)?.replacen('T', " ", 1);
    let moment = PrimitiveDateTime::parse(&second, SECOND).ok()?;
    let seconds = moment.assume_offset(offset!(+9)).unix_timestamp();
    Some(Timestamp::from_millis(seconds.checked_mul(1000)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_documented_notations_are_korean_time() {
        let moment = Timestamp::parse_rfc3339("2018-08-10T01:06:42.000Z").unwrap();
        for text in [
            "2018-08-10 10:06:42.0",
            "2018-08-10 10:06:42",
            "2018-08-10T10:06:42",
            "2018-08-10T10:06:42.000+09:00",
        ] {
            assert_eq!(read(text), Some(moment), "{text}");
        }
        let second = moment.unix_seconds();
        assert_eq!(Grain::Second.write(second), "2018-08-10 10:06:42");
        assert_eq!(Grain::Minute.write(second), "2018-08-10 10:06");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(second in 0_i64..4_000_000_000) {
            let read = read(&Grain::Second.write(second));
            prop_assert_eq!(read.map(Timestamp::unix_seconds), Some(second));
        }

        #[test]
        fn no_text_and_no_number_make_it_panic(text in "\\PC{0,40}", second: i64) {
            let _ = read(&text);
            let _ = Grain::Second.write(second);
        }
    }
}
