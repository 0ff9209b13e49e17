//! What the vendors share: the table's rows turned into answers, reports and faults.

mod archive;
pub(crate) mod carrier;
pub(crate) mod fault;
pub(crate) mod kakao;
mod manner;
pub(crate) mod navertalk;
pub(crate) mod nhn;
pub(crate) mod rbm;
pub(crate) mod rcshub;
mod signature;
pub(crate) mod smpp;
pub(crate) mod smtp;
pub(crate) mod solapi;
pub(crate) mod talk;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use futures::future::join_all;
use pabal_common::clock::{Clock as _, SystemClock};
use pabal_common::domain::id::MessageId;
use secrecy::ExposeSecret as _;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::config::{AccountConfig, Pace, SimulatorConfig};
use crate::door::{Door, DoorState};
use crate::family::Family;
use crate::observer::Observer;
use crate::outcome::{Ending, Outcome};
use crate::record::{Record, Reported};
use crate::reports::{Item, Notation, Reports};
use crate::script::NextAnswer;
use archive::{Archive, REMEMBERED};
use fault::Fault;
use manner::{Manner, Sights};

/// How many forced answers may wait.
const SCRIPT: usize = 10_000;
/// Between the two reports of one message.
const BETWEEN_REPORTS: Duration = Duration::from_millis(100);

/// One message of a call, as far as the simulator cares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) message: MessageId,
    pub(crate) outcome: Outcome,
    /// Whether this vendor answers finally for it.
    pub(crate) immediate: bool,
}

/// What the answer says of one message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// Definitively not taken.
    Refused,
    /// Taken; a report may follow.
    Taken(u64),
    /// Taken and ended.
    Ended(u64, Ending),
}

/// One vendor behind its door.
pub(crate) struct Vendor {
    pub(crate) family: Family,
    pub(crate) account: AccountConfig,
    pub(crate) pace: Pace,
    pub(crate) door: Door,
    pub(crate) reports: Reports,
    pub(crate) record: Arc<Record>,
    /// What can be polled and asked for; empty at vendors that are not polled.
    pub(crate) archive: Mutex<Archive>,
    /// What callers gave along with their messages, to be given back; empty at vendors that do not.
    pub(crate) echoes: Mutex<HashMap<MessageId, solapi::CustomFields>>,
    max_waiting_reports: usize,
    observer: Option<Arc<dyn Observer>>,
    callback_base: watch::Receiver<Option<String>>,
    script: Mutex<VecDeque<NextAnswer>>,
    sights: Mutex<Sights>,
    early: Mutex<HashMap<u64, oneshot::Sender<()>>>,
}

impl Vendor {
    /// A vendor that goes on where its record stopped.
    pub(crate) fn new(
        family: Family,
        account: &AccountConfig,
        config: &SimulatorConfig,
        door: Door,
        record: Arc<Record>,
        reported: &[Reported],
        callback_base: watch::Receiver<Option<String>>,
    ) -> Self {
        let vendor = Self {
            family,
            account: account.clone(),
            pace: config.pace,
            door,
            reports: Reports::default(),
            archive: Mutex::new(Archive::new(record.epoch())),
            echoes: Mutex::default(),
            record,
            max_waiting_reports: config.max_waiting_reports,
            observer: config.observer.clone(),
            callback_base,
            script: Mutex::default(),
            sights: Mutex::default(),
            early: Mutex::default(),
        };
        vendor.restore(reported);
        vendor
    }

    /// The address to configure as the vendor's base URL.
    pub(crate) fn base_url(&self) -> String {
        format!("{}://{}", self.family.scheme(), self.door.address())
    }

    /// Where callbacks go.
    pub(crate) fn callback_base(&self) -> watch::Receiver<Option<String>> {
        self.callback_base.clone()
    }

    /// Forces the next answers.
    pub(crate) fn script(&self, answers: impl IntoIterator<Item = NextAnswer>) {
        let mut script = lock(&self.script);
        script.extend(answers);
        script.truncate(SCRIPT);
    }

    /// Whether the request shows the account's key in `header`, after `prefix`.
    pub(crate) fn is_authorised(&self, headers: &HeaderMap, header: &str, prefix: &str) -> bool {
        headers
            .get(header)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix(prefix))
            .is_some_and(|key| key == self.account.api_key.expose_secret())
    }

    /// Treats a call as its recipients' digits, or the script, say.
    pub(crate) async fn receive(&self, mut members: Vec<Member>) -> Result<Vec<Fate>, Fault> {
        let call = self.record.next_call();
        if self.door.state() == DoorState::Shut {
            // Came over a connection from before: nothing is taken, and it closes.
            return Err(Fault::throttled());
        }
        match self.manner(&mut members) {
            Manner::Answer(delay) => {
                let fates = self.take(call, &members, true).await?;
                sleep(delay).await;
                Ok(fates)
            }
            Manner::AnswerLate(delay) => {
                let fates = self.take(call, &members, false).await?;
                sleep(delay).await;
                Ok(fates)
            }
            Manner::Take(fault) => {
                self.take(call, &members, false).await?;
                Err(fault)
            }
            Manner::Leave(fault) => Err(fault),
            Manner::ShutDoor => {
                self.door.shut_for(self.pace.door_shut).await;
                Err(Fault::throttled())
            }
        }
    }

    /// Tells the observer that these reports go out now, and makes them visible to polls.
    pub(crate) fn announce(&self, items: &[Item]) {
        if let Some(observer) = &self.observer {
            observer.reports(&mut items.iter().map(|item| item.message));
        }
        self.archive(|archive| archive.publish(items, SystemClock.now()));
    }

    /// Makes visible to polls what is due; where a callback is to take it, that does.
    pub(crate) fn publish_due(&self) {
        if self.calls_back() {
            return;
        }
        let due = self.reports.take_due(REMEMBERED);
        if !due.is_empty() {
            self.announce(&due);
            self.settle(&due);
        }
    }

    /// Notes reports as arrived.
    pub(crate) fn settle(&self, items: &[Item]) {
        self.record.reported(self.family, items);
        self.wake_early(items);
    }

    /// Lets answers go that wait for these reports.
    pub(crate) fn wake_early(&self, items: &[Item]) {
        let mut early = lock(&self.early);
        if early.is_empty() {
            return;
        }
        for item in items {
            if let Some(waiting) = early.remove(&item.vendor) {
                let _ = waiting.send(());
            }
        }
    }

    async fn take(
        &self,
        call: u64,
        members: &[Member],
        answered: bool,
    ) -> Result<Vec<Fate>, Fault> {
        if self.reports.len() + members.len() > self.max_waiting_reports {
            return Err(Fault::throttled());
        }
        let now = SystemClock.now();
        let taken: Vec<_> = members
            .iter()
            .filter(|member| member.outcome != Outcome::Refused)
            .map(|member| {
                let owed = self.first_report(member, answered).is_some();
                (member.message, member.outcome, owed)
            })
            .collect();
        let first = match self.record.take(self.family, call, now, &taken) {
            Ok(first) => first,
            Err(error) => {
                tracing::error!(%error, "record not written, nothing taken");
                return Err(Fault::Error);
            }
        };
        if let Some(observer) = &self.observer {
            observer.took(&mut taken.iter().map(|(message, _, _)| *message));
        }
        let mut vendor_ids = first..;
        let mut fates = Vec::with_capacity(members.len());
        let mut reports = Vec::with_capacity(members.len());
        let mut awaited = Vec::new();
        for member in members {
            let taken = (member.outcome != Outcome::Refused).then(|| vendor_ids.next());
            let Some(vendor) = taken.flatten() else {
                fates.push(Fate::Refused);
                continue;
            };
            let delay = self.first_report(member, answered);
            self.archive(|archive| archive.remember(member, vendor, now, delay));
            fates.push(match delay {
                None if answered && self.ends_in_answer(member) => {
                    Fate::Ended(vendor, member.outcome.ending())
                }
                _ => Fate::Taken(vendor),
            });
            let Some(delay) = delay else { continue };
            if answered && member.outcome == Outcome::ReportEarly {
                awaited.extend(self.await_early(vendor));
            }
            reports.extend(reports_of(member, vendor, delay));
        }
        if !reports.is_empty() {
            self.reports.schedule(reports);
        }
        if !awaited.is_empty() {
            let _ = timeout(self.pace.early, join_all(awaited)).await;
        }
        Ok(fates)
    }

    /// When a member's first report is due, if one is.
    fn first_report(&self, member: &Member, answered: bool) -> Option<Duration> {
        if !self.family.reports() || (answered && self.ends_in_answer(member)) {
            return None;
        }
        match member.outcome {
            Outcome::AnswerLostUnreported | Outcome::ReportNever | Outcome::Refused => None,
            _ if !answered => Some(self.pace.lost_report),
            Outcome::ReportLate => Some(self.pace.late_report),
            Outcome::ReportEarly => Some(Duration::ZERO),
            _ => Some(self.pace.report),
        }
    }

    fn ends_in_answer(&self, member: &Member) -> bool {
        member.immediate && (!self.family.reports() || !member.outcome.is_about_reports())
    }

    fn await_early(&self, vendor: u64) -> Option<oneshot::Receiver<()>> {
        self.is_heard().then(|| {
            let (arrived, waiting) = oneshot::channel();
            let mut early = lock(&self.early);
            early.retain(|_, waiting| !waiting.is_closed());
            early.insert(vendor, arrived);
            waiting
        })
    }

    /// Whether callbacks take the reports that fall due.
    fn calls_back(&self) -> bool {
        self.family.callback().is_some() && self.callback_base.borrow().is_some()
    }

    /// Whether there is a way for reports to reach the caller.
    fn is_heard(&self) -> bool {
        self.family.is_polled() || self.family.callback().is_none() || self.calls_back()
    }

    fn archive(&self, change: impl FnOnce(&mut Archive)) {
        if self.family.is_polled() {
            change(&mut lock(&self.archive));
        }
    }

    fn restore(&self, reported: &[Reported]) {
        let entries = self.record.entries_of(self.family);
        let by_vendor: HashMap<_, _> = entries.iter().map(|entry| (entry.vendor, entry)).collect();
        let mut arrived = HashSet::new();
        for entry in &entries {
            let member = Member {
                message: entry.message,
                outcome: entry.outcome,
                immediate: false,
            };
            let delay = entry.owed.then_some(Duration::ZERO);
            self.archive(|archive| archive.remember(&member, entry.vendor, entry.at, delay));
        }
        for report in reported.iter().filter(|one| one.family == self.family) {
            let Some(entry) = by_vendor.get(&report.vendor) else {
                continue;
            };
            if report.notation != Notation::Unknown {
                arrived.insert(report.vendor);
            }
            let item = Item {
                vendor: entry.vendor,
                message: entry.message,
                ending: entry.outcome.ending(),
                notation: report.notation,
            };
            self.archive(|archive| archive.publish(&[item], entry.at));
        }
        let owed = entries
            .iter()
            .filter(|entry| entry.owed && !arrived.contains(&entry.vendor))
            .map(|entry| {
                let item = Item {
                    vendor: entry.vendor,
                    message: entry.message,
                    ending: entry.outcome.ending(),
                    notation: Notation::Usual,
                };
                (Duration::ZERO, item)
            });
        self.reports.schedule(owed);
    }
}

/// The reports of one member, the first after `delay`.
fn reports_of(
    member: &Member,
    vendor: u64,
    delay: Duration,
) -> impl Iterator<Item = (Duration, Item)> + use<> {
    let item = Item {
        vendor,
        message: member.message,
        ending: member.outcome.ending(),
        notation: Notation::Usual,
    };
    let (first, second) = match member.outcome {
        Outcome::ReportTwice => (item, Some(item)),
        Outcome::ReportUnknownFirst => {
            let unknown = Item {
                notation: Notation::Unknown,
                ..item
            };
            (unknown, Some(item))
        }
        Outcome::ReportOtherNotation => {
            let other = Item {
                notation: Notation::Other,
                ..item
            };
            (other, None)
        }
        _ => (item, None),
    };
    let second = second.map(|item| (delay + BETWEEN_REPORTS, item));
    std::iter::once((delay, first)).chain(second)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
