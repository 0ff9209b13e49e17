//! Settings of what the reporter does with reports, and of what keeps messages moving.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pabal_common::config::{Kind, Setting, Values};
use pabal_common::domain::report::VendorAccount;
use pabal_common::ledger::Overdue;

const DAY: Duration = Duration::from_secs(86_400);

const PREFETCH: &str = "reporter.prefetch";
const COMMIT_ITEMS: &str = "reporter.commit_items";
const COMMIT_BYTES: &str = "reporter.commit_bytes";
const COMMITS_AT_ONCE: &str = "reporter.commits_at_once";
const PARKED_PERIOD: &str = "reporter.parked_period";
const SMS_DEADLINE: &str = "reporter.sms_deadline";
const REPORT_DEADLINE: &str = "reporter.report_deadline";
const ASK_GRACE: &str = "reporter.ask_grace";
const PATROL_ROWS: &str = "reporter.patrol_rows";
const PATROL_PERIOD: &str = "reporter.patrol_period";
const MARGIN: &str = "reporter.margin";
const EXPRESS_MARGIN: &str = "reporter.express_margin";
const CALL_LIMIT: &str = "reporter.call_limit";
const RETENTION: &str = "reporter.retention";
const RETENTION_PERIOD: &str = "reporter.retention_period";

/// The settings of reports, patrol and retention.
pub const SETTINGS: &[Setting] = &[
    Setting::new(
        PREFETCH,
        Kind::count(1, 1_000),
        "64",
        "The most report frames in hand.",
    ),
    Setting::new(
        COMMIT_ITEMS,
        Kind::count(1, 4_096),
        "512",
        "The most reports in one transaction.",
    ),
    Setting::new(
        COMMIT_BYTES,
        Kind::Bytes {
            min: 1 << 10,
            max: 64 << 20,
        },
        "4MiB",
        "The most bytes of reports in one transaction.",
    ),
    Setting::new(
        COMMITS_AT_ONCE,
        Kind::count(1, 64),
        "1",
        "How many transactions with reports may be under way at once; the embedded ledger has one \
         writer.",
    ),
    Setting::new(
        PARKED_PERIOD,
        period(),
        "1s",
        "How often it is seen whether parked reports are due.",
    ),
    Setting::new(
        SMS_DEADLINE,
        deadline(),
        "25h",
        "How long after its claim an SMS may wait for its report before it is EXPIRED.",
    ),
    Setting::new(
        REPORT_DEADLINE,
        deadline(),
        "80h",
        "The same for every other type, of which EMAIL waits a day at most. A report without a message \
         is given up after the longer of the two.",
    ),
    Setting::new(
        ASK_GRACE,
        Kind::duration(Duration::from_millis(10), Duration::from_secs(3_600)),
        "5s",
        "How long past its deadline a message stays that its vendor can still be asked about.",
    ),
    Setting::new(
        PATROL_ROWS,
        Kind::count(1, 100_000),
        "5_000",
        "The most messages a second that each reporter looks over for lost ones.",
    ),
    Setting::new(
        PATROL_PERIOD,
        period(),
        "1s",
        "The time between two looks, and the shortest time between two rounds.",
    ),
    Setting::new(
        MARGIN,
        margin(),
        "2m",
        "How long a message of the ordinary or the bulk lane may stand still before it is taken for \
         lost.",
    ),
    Setting::new(
        EXPRESS_MARGIN,
        margin(),
        "15s",
        "The same for the express lane.",
    ),
    Setting::new(
        CALL_LIMIT,
        Kind::duration(Duration::from_millis(100), Duration::from_secs(3_600)),
        "60s",
        "The longest a vendor call can last in any sender, at least sender.call_limit. A claim \
         that is a minute older has lost its owner.",
    ),
    Setting::new(
        RETENTION,
        Kind::duration(DAY, DAY.saturating_mul(3_650)),
        "90d",
        "How long after its acceptance an ended message is kept. Day totals stay.",
    ),
    Setting::new(
        RETENTION_PERIOD,
        Kind::duration(Duration::from_secs(1), DAY),
        "1m",
        "How often old messages are deleted.",
    ),
];

const fn period() -> Kind {
    Kind::duration(Duration::from_millis(10), Duration::from_secs(60))
}

const fn deadline() -> Kind {
    Kind::duration(Duration::from_millis(100), DAY.saturating_mul(30))
}

const fn margin() -> Kind {
    Kind::duration(Duration::from_millis(100), DAY)
}

/// How reports are applied, lost messages found and old ones deleted.
#[derive(Clone, Debug)]
pub struct Config {
    /// The most report frames in hand.
    pub prefetch: u16,
    /// The most reports in one transaction.
    pub commit_items: usize,
    /// The most bytes of reports in one transaction.
    pub commit_bytes: usize,
    /// How many transactions with reports may be under way at once.
    pub commits_at_once: usize,
    /// How often parked reports are looked at.
    pub parked_period: Duration,
    /// How long after its claim a message may wait for its report.
    pub overdue: Overdue,
    /// How long past its deadline a message stays that its vendor can still be asked about.
    pub ask_grace: Duration,
    /// The most messages a second the patrol looks at.
    pub patrol_rows: u32,
    /// The time between two looks of the patrol.
    pub patrol_period: Duration,
    /// How long a message may stand still.
    pub margins: Margins,
    /// The longest a vendor call can last in any sender.
    pub call_limit: Duration,
    /// How long ended messages are kept.
    pub retention: Duration,
    /// How often old messages are deleted.
    pub retention_period: Duration,
    /// Which vendors can be asked for a lost answer; nobody, unless whoever composes the services
    /// knows better.
    pub askable: Askable,
}

/// How long a message may stand still before it is taken for lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Margins {
    /// In the express lane.
    pub express: Duration,
    /// In the ordinary lane, and in the bulk lane.
    pub ordinary: Duration,
}

impl Default for Margins {
    /// 15 s and 2 min.
    fn default() -> Self {
        Self {
            express: Duration::from_secs(15),
            ordinary: Duration::from_secs(120),
        }
    }
}

/// Which vendor accounts can be asked what became of a message.
#[derive(Clone)]
pub struct Askable(Arc<dyn Fn(&VendorAccount) -> bool + Send + Sync>);

impl Askable {
    /// Those for which `can` is true.
    pub fn by(can: impl Fn(&VendorAccount) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(can))
    }

    /// Whether this account can be asked.
    pub fn can(&self, account: &VendorAccount) -> bool {
        (self.0)(account)
    }
}

impl Default for Askable {
    /// None of them.
    fn default() -> Self {
        Self::by(|_| false)
    }
}

impl fmt::Debug for Askable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Askable")
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            prefetch: 64,
            commit_items: 512,
            commit_bytes: 4 << 20,
            commits_at_once: 1,
            parked_period: Duration::from_secs(1),
            overdue: Overdue::default(),
            ask_grace: Duration::from_secs(5),
            patrol_rows: 5_000,
            patrol_period: Duration::from_secs(1),
            margins: Margins::default(),
            call_limit: Duration::from_secs(60),
            retention: DAY * 90,
            retention_period: Duration::from_secs(60),
            askable: Askable::default(),
        }
    }
}

impl Config {
    /// From the settings in force.
    pub fn from_values(values: &Values) -> Self {
        let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self {
            prefetch: u16::try_from(values.count(PREFETCH)).unwrap_or(u16::MAX),
            commit_items: whole(values.count(COMMIT_ITEMS)),
            commit_bytes: whole(values.bytes(COMMIT_BYTES)),
            commits_at_once: whole(values.count(COMMITS_AT_ONCE)),
            parked_period: values.duration(PARKED_PERIOD),
            overdue: Overdue {
                sms: values.duration(SMS_DEADLINE),
                others: values.duration(REPORT_DEADLINE),
            },
            ask_grace: values.duration(ASK_GRACE),
            patrol_rows: u32::try_from(values.count(PATROL_ROWS)).unwrap_or(u32::MAX),
            patrol_period: values.duration(PATROL_PERIOD),
            margins: Margins {
                express: values.duration(EXPRESS_MARGIN),
                ordinary: values.duration(MARGIN),
            },
            call_limit: values.duration(CALL_LIMIT),
            retention: values.duration(RETENTION),
            retention_period: values.duration(RETENTION_PERIOD),
            askable: Askable::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_settings_are_those_of_the_configuration() {
        let values = Values::load(&[SETTINGS], &[], None, std::iter::empty(), &[]).unwrap();
        let (loaded, default) = (Config::from_values(&values), Config::default());
        assert_eq!(format!("{loaded:?}"), format!("{default:?}"));
    }
}
