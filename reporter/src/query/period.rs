//! Days and times in requests.

use pabal_common::clock::{Day, Timestamp};
use pabal_common::domain::code::ErrorReason;
use pabal_common::http::{ApiError, Detail};
use time::{Date, Month};

/// The most days in one request.
pub(super) const MOST_DAYS: u64 = 92;

/// Days in Korea from `from` to `to`, both included.
///
/// # Errors
/// INVALID_VALUE for what is no day, INVALID_PERIOD for days out of order or too many.
pub(super) fn days(from: &str, to: &str) -> Result<(Day, Day), ApiError> {
    let (first, last) = (day("from", from)?, day("to", to)?);
    let count = i64::from(last.1) - i64::from(first.1) + 1;
    match u64::try_from(count) {
        Ok(count @ 1..=MOST_DAYS) if count > 0 => Ok((first.0, last.0)),
        Ok(count) if count > MOST_DAYS => Err(ApiError::new(ErrorReason::InvalidPeriod).detail(
            Detail::new("to", "maxDays")
                .limit(MOST_DAYS)
                .actual(count)
                .unit("DAY"),
        )),
        _ => Err(out_of_order()),
    }
}

/// A day, and its number in a count without gaps.
fn day(field: &'static str, text: &str) -> Result<(Day, i32), ApiError> {
    let refused = || wrong(field, "a day such as 2026-11-21");
    // Exactly this form: a signed or a longer year is no day here.
    let day = (text.len() == 10).then(|| Day::parse(text)).flatten();
    let day = day.ok_or_else(refused)?;
    let number = day.number();
    let part = |value: i32| u8::try_from(value).unwrap_or(0);
    let month = Month::try_from(part(number / 100 % 100)).map_err(|_| refused())?;
    let date = Date::from_calendar_date(number / 10_000, month, part(number % 100));
    Ok((day, date.map_err(|_| refused())?.to_julian_day()))
}

/// A time, where one is given.
///
/// # Errors
/// INVALID_VALUE.
pub(super) fn time(field: &'static str, text: Option<&str>) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = text else {
        return Ok(None);
    };
    // In a query an unescaped + of an offset arrives as a space.
    let at = Timestamp::parse_rfc3339(&text.replace(' ', "+"));
    at.map(Some)
        .ok_or_else(|| wrong(field, "an RFC 3339 time such as 2026-11-21T00:00:00Z"))
}

/// Refuses a period that ends before it begins.
///
/// # Errors
/// INVALID_PERIOD.
pub(super) fn in_order(from: Option<Timestamp>, to: Option<Timestamp>) -> Result<(), ApiError> {
    match (from, to) {
        (Some(from), Some(to)) if to <= from => Err(out_of_order()),
        _ => Ok(()),
    }
}

fn out_of_order() -> ApiError {
    ApiError::new(ErrorReason::InvalidPeriod)
        .detail(Detail::new("to", "notBefore").expected("from"))
}

fn wrong(field: &'static str, expected: &'static str) -> ApiError {
    ApiError::new(ErrorReason::InvalidValue).detail(Detail::new(field, "format").expected(expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(from: &str, to: &str) -> Option<ErrorReason> {
        days(from, to).err().map(|error| error.reason())
    }

    #[test]
    fn up_to_92_days_in_order_may_be_asked_for() {
        assert_eq!(reason("2026-11-21", "2026-11-21"), None);
        assert_eq!(reason("2026-08-22", "2026-11-21"), None);
        let invalid = Some(ErrorReason::InvalidPeriod);
        assert_eq!(reason("2026-08-21", "2026-11-21"), invalid);
        assert_eq!(reason("2026-11-22", "2026-11-21"), invalid);
        assert_eq!(reason("0001-01-01", "9999-12-31"), invalid);
    }

    #[test]
    fn what_is_no_day_is_refused_by_its_field() {
        for text in ["", "2026-11-31", "20261121", "2026-1-1", "+02026-1-01", "x"] {
            let error = days("2026-11-01", text).unwrap_err();
            assert_eq!(error.reason(), ErrorReason::InvalidValue, "{text}");
            assert_eq!(error.details()[0].field, "to");
        }
    }

    #[test]
    fn an_offset_may_come_unescaped() {
        let utc = time("from", Some("2026-11-20T15:00:00Z")).unwrap();
        assert_eq!(
            time("from", Some("2026-11-21T00:00:00 09:00")).unwrap(),
            utc
        );
        assert!(time("from", Some("2026-11-21")).is_err());
    }
}
