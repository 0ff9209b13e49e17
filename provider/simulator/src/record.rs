//! The witness: what the simulator took, in order. Ids alone, no recipient and no text.
//!
//! With a file, every call is one line, written before the answer, and every report that arrived
//! is noted too; a simulator started again on the file remembers both and reports what it still
//! owes.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pabal_common::clock::Timestamp;
use pabal_common::domain::id::MessageId;
use serde::{Deserialize, Serialize};

use crate::family::Family;
use crate::outcome::Outcome;
use crate::reports::{Item, Notation};

/// One message as the simulator took it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    /// By which vendor.
    pub family: Family,
    /// The caller's id of the message.
    pub message: MessageId,
    /// The vendor's id, as it stands in answers.
    pub vendor_id: String,
    /// When, in Unix milliseconds.
    pub at: Timestamp,
    /// In which call, counted over all vendors since the start.
    pub call: u64,
}

/// A message that was taken more than once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Duplicate {
    /// The caller's id of the message.
    pub message: MessageId,
    /// How often it was taken.
    pub times: u32,
}

/// [`Taken`], small.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) vendor: u64,
    pub(crate) message: MessageId,
    pub(crate) at: Timestamp,
    pub(crate) call: u64,
    pub(crate) family: Family,
    pub(crate) outcome: Outcome,
    /// Whether a report is to follow.
    pub(crate) owed: bool,
}

/// A report that arrived before a restart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reported {
    pub(crate) family: Family,
    pub(crate) vendor: u64,
    pub(crate) notation: Notation,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "lowercase")]
enum Line {
    Begun {
        epoch: u64,
    },
    Taken {
        family: Family,
        call: u64,
        at: Timestamp,
        first: u64,
        members: Vec<(MessageId, u8, bool)>,
    },
    Reported {
        family: Family,
        items: Vec<(u64, Notation)>,
    },
}

/// The record of one simulator.
pub(crate) struct Record {
    inner: Mutex<Inner>,
    calls: AtomicU64,
    epoch: u64,
}

struct Inner {
    entries: Vec<Entry>,
    next_vendor: u64,
    file: Option<File>,
}

impl Record {
    /// Opens the record, with what the file remembers; `now` makes vendor ids new at every start.
    pub(crate) fn open(path: Option<&Path>, now: Timestamp) -> io::Result<(Self, Vec<Reported>)> {
        let started = u64::try_from(now.millis()).unwrap_or(1);
        let mut inner = Inner {
            entries: Vec::new(),
            next_vendor: started << 20,
            file: None,
        };
        let (mut epoch, mut calls, mut reported) = (None, 0, Vec::new());
        if let Some(path) = path {
            let mut file = OpenOptions::new()
                .create(true)
                .read(true)
                .append(true)
                .open(path)?;
            let mut torn = false;
            let mut reader = BufReader::new(&file);
            let mut text = Vec::new();
            while reader.read_until(b'\n', &mut text)? > 0 {
                torn = text.last() != Some(&b'\n');
                match serde_json::from_slice(&text) {
                    Ok(Line::Begun { epoch: first }) => epoch = epoch.or(Some(first)),
                    Ok(Line::Taken {
                        family,
                        call,
                        at,
                        first,
                        members,
                    }) => {
                        calls = calls.max(call);
                        inner.remember(family, call, at, first, &members);
                    }
                    Ok(Line::Reported { family, items }) => {
                        reported.extend(items.into_iter().map(|(vendor, notation)| Reported {
                            family,
                            vendor,
                            notation,
                        }));
                    }
                    // A line torn by a kill: its call was never answered.
                    Err(error) => tracing::warn!(%error, "line of the record not read"),
                }
                text.clear();
            }
            if torn {
                file.write_all(b"\n")?;
            }
            inner.file = Some(file);
        }
        if epoch.is_none() {
            inner.write(&Line::Begun { epoch: started })?;
        }
        let record = Self {
            inner: Mutex::new(inner),
            calls: AtomicU64::new(calls),
            epoch: epoch.unwrap_or(started),
        };
        Ok((record, reported))
    }

    /// What tells this record's poll log from any other's.
    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Counts a call.
    pub(crate) fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Records the members of a call as taken; they get consecutive vendor ids from the one
    /// returned. If the file cannot be written, nothing is taken.
    pub(crate) fn take(
        &self,
        family: Family,
        call: u64,
        at: Timestamp,
        members: &[(MessageId, Outcome, bool)],
    ) -> io::Result<u64> {
        let mut inner = self.lock();
        let first = inner.next_vendor;
        if inner.file.is_some() {
            inner.write(&Line::Taken {
                family,
                call,
                at,
                first,
                members: members
                    .iter()
                    .map(|(message, outcome, owed)| (*message, outcome.digits(), *owed))
                    .collect(),
            })?;
        }
        for (message, outcome, owed) in members {
            let vendor = inner.next_vendor;
            inner.next_vendor += 1;
            inner.entries.push(Entry {
                vendor,
                message: *message,
                at,
                call,
                family,
                outcome: *outcome,
                owed: *owed,
            });
        }
        Ok(first)
    }

    /// Notes that reports arrived.
    pub(crate) fn reported(&self, family: Family, items: &[Item]) {
        let mut inner = self.lock();
        if inner.file.is_some() {
            let items = items.iter().map(|item| (item.vendor, item.notation));
            let line = Line::Reported {
                family,
                items: items.collect(),
            };
            if let Err(error) = inner.write(&line) {
                tracing::warn!(%error, "reports not noted; they will come again after a restart");
            }
        }
    }

    /// What one family took, oldest first.
    pub(crate) fn entries_of(&self, family: Family) -> Vec<Entry> {
        let inner = self.lock();
        let of_family = |entry: &&Entry| entry.family == family;
        inner.entries.iter().filter(of_family).copied().collect()
    }

    /// How many messages were taken.
    pub(crate) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// What was taken, oldest first, from the `after`-th on.
    pub(crate) fn taken(&self, after: usize, limit: usize) -> Vec<Taken> {
        let inner = self.lock();
        let page = inner.entries.iter().skip(after).take(limit);
        page.map(|entry| Taken {
            family: entry.family,
            message: entry.message,
            vendor_id: entry.family.vendor_id(entry.vendor),
            at: entry.at,
            call: entry.call,
        })
        .collect()
    }

    /// Which messages were taken more than once, by any vendor.
    pub(crate) fn duplicates(&self) -> Vec<Duplicate> {
        let mut times: HashMap<MessageId, u32> = HashMap::new();
        for entry in &self.lock().entries {
            *times.entry(entry.message).or_default() += 1;
        }
        let mut twice: Vec<_> = times
            .into_iter()
            .filter(|(_, times)| *times > 1)
            .map(|(message, times)| Duplicate { message, times })
            .collect();
        twice.sort_by_key(|duplicate| duplicate.message);
        twice
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remember(
        &mut self,
        family: Family,
        call: u64,
        at: Timestamp,
        first: u64,
        members: &[(MessageId, u8, bool)],
    ) {
        for (vendor, (message, digits, owed)) in (first..).zip(members) {
            self.next_vendor = self.next_vendor.max(vendor + 1);
            self.entries.push(Entry {
                vendor,
                message: *message,
                at,
                call,
                family,
                outcome: Outcome::of_digits(*digits),
                owed: *owed,
            });
        }
    }

    /// One `write` per line, so that a kill loses at most the line being written.
    fn write(&mut self, line: &Line) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        file.write_all(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

    #[test]
    fn a_record_survives_a_kill_and_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let message = MessageId::from_number(7);
        let first = {
            let (record, _) = Record::open(Some(&path), NOW).unwrap();
            let call = record.next_call();
            let members = [(message, Outcome::ReportTwice, true)];
            record.take(Family::Kakao, call, NOW, &members).unwrap()
        };
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"what\":\"tak").unwrap();
        drop(file);

        for times in 2..=3 {
            let (record, _) = Record::open(Some(&path), NOW).unwrap();
            assert_eq!(
                record.taken(0, 1)[0].vendor_id,
                Family::Kakao.vendor_id(first)
            );
            let members = [(message, Outcome::Delivered, true)];
            let call = record.next_call();
            let next = record.take(Family::Kakao, call, NOW, &members).unwrap();
            assert_eq!(next, first + u64::from(times) - 1);
            assert_eq!(record.duplicates(), [Duplicate { message, times }]);
        }
    }
}
