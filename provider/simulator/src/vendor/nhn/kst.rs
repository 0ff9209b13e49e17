//! Korean local time, as NHN writes and reads it.

use pabal_common::clock::Timestamp;
use time::format_description::BorrowedFormatItem;
use time::macros::{format_description, offset};
use time::{OffsetDateTime, PrimitiveDateTime};

const SECOND: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
const MINUTE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]");

/// `yyyy-MM-dd HH:mm:ss`
pub(super) fn second(at: Timestamp) -> String {
    let moment = OffsetDateTime::from_unix_timestamp(at.unix_seconds());
    let moment = moment.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let local = moment.to_offset(offset!(+9));
    local.format(SECOND).unwrap_or_default()
}

/// Unix seconds of `yyyy-MM-dd HH:mm:ss`.
pub(super) fn read_second(text: &str) -> Option<i64> {
    read(text, SECOND)
}

/// Unix seconds of `yyyy-MM-dd HH:mm`.
pub(super) fn read_minute(text: &str) -> Option<i64> {
    read(text, MINUTE)
}

fn read(text: &str, format: &[BorrowedFormatItem<'_>]) -> Option<i64> {
    let moment = PrimitiveDateTime::parse(text, format).ok()?;
    Some(moment.assume_offset(offset!(+9)).unix_timestamp())
}
