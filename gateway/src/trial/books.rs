//! At the end every book must say the same: what the partner was promised, what the ledger and
//! the statistics hold, what the vendors took and what the partner was told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use pabal_common::clock::{Clock as _, SystemClock};
use serde_json::Value;

use super::endpoint::Memory;
use super::load::{Outbox, Sent};
use super::site::{Partner, Site};

const DAY: Duration = Duration::from_secs(86_400);
/// How often it is looked whether everything has ended.
const LOOK: Duration = Duration::from_millis(250);

/// How the messages ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// DELIVERED.
    pub delivered: usize,
    /// FAILED.
    pub failed: usize,
    /// EXPIRED.
    pub expired: usize,
    /// Accepted, and not ended.
    pub unended: usize,
    /// Accepted, and unknown to the ledger.
    pub lost: usize,
    /// Taken by a vendor more than once.
    pub doubled: usize,
    /// Of the expired, those whose recipient is plainly delivered: what was done to the program
    /// cost them their answer or their report.
    pub in_doubt: usize,
}

/// What the comparison of the books says.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// How the messages ended.
    pub outcome: Outcome,
    /// What must not be, with the messages concerned.
    pub violations: Vec<(String, Vec<String>)>,
    /// How long it took until everything had ended and was told.
    pub settled: Duration,
}

impl Verdict {
    /// Whether every book agrees.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }
}

/// What the same vendors took for other loads.
#[derive(Clone, Debug, Default)]
pub struct Others {
    messages: BTreeSet<String>,
}

impl Others {
    /// Adds the messages of a load.
    pub fn extend(&mut self, outbox: &Outbox) {
        self.messages.extend(outbox.accepted.keys().cloned());
    }
}

/// Waits until every accepted message has ended and the partner knows, but not longer than
/// `patience`; then compares the books. The program must be running. `others` are what
/// the same vendors took besides.
pub async fn close(
    site: &Site,
    partner: &Partner,
    outbox: &Outbox,
    others: &Others,
    patience: Duration,
) -> Verdict {
    let begun = Instant::now();
    let mut books = Books {
        site,
        partner,
        outbox,
        outcome: Outcome::default(),
        violations: Vec::new(),
    };
    books.wait(patience).await;
    let settled = begun.elapsed();
    let views = books.views().await;
    let memory = partner.endpoint.memory();

    books.violations.extend(outbox.faults.clone());
    books.violations.extend(memory.faults.clone());
    books.every_message_ended(&views);
    books.outcomes_fit_recipients(&views);
    books.partner_was_told(&views, &memory);
    books.vendors_took_once(&views, others);
    books.statistics_agree().await;
    books.reconciled();
    books.nothing_broke().await;
    Verdict {
        outcome: books.outcome,
        violations: books.violations,
        settled,
    }
}

struct Books<'a> {
    site: &'a Site,
    partner: &'a Partner,
    outbox: &'a Outbox,
    outcome: Outcome,
    violations: Vec<(String, Vec<String>)>,
}

impl Books<'_> {
    /// Until as many have ended as were accepted, and as many were told.
    async fn wait(&self, patience: Duration) {
        let accepted = self.outbox.accepted.len();
        let begun = Instant::now();
        while begun.elapsed() < patience {
            // The statistics are asked only when the partner knows enough.
            if self.partner.endpoint.taken() >= accepted {
                let ended: usize = self.daily().await.values().map(|day| day.total).sum();
                if ended >= accepted {
                    return;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What the query API says of every accepted message.
    async fn views(&self) -> HashMap<String, Value> {
        let view = async |id: &String| (id.clone(), self.get(&format!("/v1/messages/{id}")).await);
        futures::stream::iter(self.outbox.accepted.keys())
            .map(view)
            .buffer_unordered(16)
            .collect()
            .await
    }

    fn every_message_ended(&mut self, views: &HashMap<String, Value>) {
        let mut unended = Vec::new();
        let mut lost = Vec::new();
        for sent in self.outbox.accepted.values() {
            let view = &views[&sent.message];
            if view["clientMsgId"] != sent.client.as_str() || view["type"] != sent.kind.name() {
                lost.push(sent.message.clone());
                continue;
            }
            match view["status"].as_str() {
                Some("DELIVERED") => self.outcome.delivered += 1,
                Some("FAILED") => self.outcome.failed += 1,
                Some("EXPIRED") => {
                    self.outcome.expired += 1;
                    self.outcome.in_doubt += usize::from(sent.row < 50);
                }
                _ => unended.push(sent.message.clone()),
            }
        }
        self.outcome.unended = unended.len();
        self.outcome.lost = lost.len();
        self.expect_none("accepted, and not in the ledger as accepted", lost);
        self.expect_none("not ended", unended);
    }

    /// A recipient that fails is never DELIVERED, another never FAILED, but for want of a route until
    /// its validity ended; either may be EXPIRED, because its answer or report can be lost with the
    /// process.
    fn outcomes_fit_recipients(&mut self, views: &HashMap<String, Value>) {
        let misfit = |sent: &&Sent| {
            let fails = (51..=55).contains(&sent.row);
            let view = &views[&sent.message];
            match view["status"].as_str() {
                Some("DELIVERED") => fails,
                Some("FAILED") => !fails && !had_no_route(view),
                _ => false,
            }
        };
        let misfits = self.outbox.accepted.values().filter(misfit);
        let misfits = misfits.map(|sent| sent.message.clone()).collect();
        self.expect_none("ended otherwise than its recipient does", misfits);
    }

    fn partner_was_told(&mut self, views: &HashMap<String, Value>, memory: &Memory) {
        let (mut untold, mut contradicted) = (Vec::new(), Vec::new());
        for sent in self.outbox.accepted.values() {
            let view = &views[&sent.message];
            match memory.results.get(&sent.message).filter(|told| told.taken) {
                None if view["finalAt"].is_null() => {}
                None => untold.push(sent.message.clone()),
                Some(told)
                    if view["status"] != told.status.as_str()
                        || view["reason"].as_str() != told.reason.as_deref()
                        || told.client != sent.client =>
                {
                    contradicted.push(sent.message.clone());
                }
                Some(_) => {}
            }
        }
        let accepted = &self.outbox.accepted;
        let told = memory.results.keys();
        let foreign = told.filter(|id| !accepted.contains_key(*id)).cloned();
        let foreign = foreign.collect();
        self.expect_none("ended, and the partner was never told", untold);
        self.expect_none("told otherwise than queried", contradicted);
        self.expect_none("told, and never accepted", foreign);
    }

    fn vendors_took_once(&mut self, views: &HashMap<String, Value>, others: &Others) {
        let accepted = &self.outbox.accepted;
        let duplicates = self.site.simulator.duplicates();
        let twice: Vec<String> = duplicates
            .iter()
            .map(|one| one.message.to_string())
            .collect();
        let taken = self.site.simulator.taken();
        let taken: BTreeSet<String> = taken.iter().map(|one| one.message.to_string()).collect();
        let foreign = taken
            .iter()
            .filter(|id| !accepted.contains_key(*id) && !others.messages.contains(*id))
            .cloned()
            .collect();
        let invented = accepted
            .keys()
            .filter(|id| views[*id]["status"] == "DELIVERED" && !taken.contains(*id))
            .cloned()
            .collect();
        let unsent = accepted
            .keys()
            .filter(|id| had_no_route(&views[*id]) && taken.contains(*id))
            .cloned()
            .collect();
        self.outcome.doubled = twice.len();
        self.expect_none("taken by a vendor more than once", twice);
        self.expect_none("taken by a vendor, and never accepted", foreign);
        self.expect_none("DELIVERED, and no vendor took it", invented);
        self.expect_none("FAILED for want of a route, and a vendor took it", unsent);
    }

    /// By type: as many ended, were delivered and expired as the partner can count himself.
    async fn statistics_agree(&mut self) {
        let days = self.daily().await;
        let mut accepted: BTreeMap<&str, usize> = BTreeMap::new();
        for sent in self.outbox.accepted.values() {
            *accepted.entry(sent.kind.name()).or_default() += 1;
        }
        for (kind, count) in accepted {
            let total = days.get(kind).map_or(0, |day| day.total);
            if total != count {
                self.violation(format!(
                    "{kind}: statistics say {total}, accepted were {count}"
                ));
            }
        }
        let sum = |of: fn(&Day) -> usize| days.values().map(of).sum::<usize>();
        let said = [
            sum(|day| day.success),
            sum(|day| day.failed),
            sum(|day| day.expired),
        ];
        let outcome = self.outcome;
        let counted = [
            outcome.delivered,
            outcome.failed + outcome.expired,
            outcome.expired,
        ];
        if said != counted {
            self.violation(format!(
                "statistics say (delivered, failed, of those expired) {said:?}, counted were \
                 {counted:?}"
            ));
        }
    }

    /// `pabal reconcile` agrees, and knows no other messages of this partner.
    fn reconciled(&mut self) {
        let output = match self.site.program.run(&["reconcile", "--json"]) {
            Ok(output) => output,
            Err(error) => return self.violation(format!("reconcile: {error}")),
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
            self.violation(format!("reconcile: {} {text} {complaint}", output.status));
        }
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        let rows = said["totals"].as_array().cloned().unwrap_or_default();
        let own = rows
            .iter()
            .filter(|row| row["partner"] == *self.partner.name);
        let accepted: u64 = own.filter_map(|row| row["accepted"].as_u64()).sum();
        if accepted != self.outbox.accepted.len() as u64 {
            self.violation(format!("reconcile knows {accepted} messages: {text}"));
        }
    }

    /// No webhook was given up, and nothing panicked.
    async fn nothing_broke(&mut self) {
        let letters = self.get("/v1/webhooks/dead-letters").await;
        let none = letters["items"].as_array().is_some_and(Vec::is_empty);
        if !none {
            self.violation(format!("dead letters: {letters}"));
        }
        for path in &self.site.logs {
            let log = std::fs::read(path).unwrap_or_default();
            let log = String::from_utf8_lossy(&log).into_owned();
            for line in log.lines().filter(|line| line.contains("panicked")) {
                self.violation(format!("{}: {line}", path.display()));
            }
        }
    }

    /// The numbers of all days of the trial, by type.
    async fn daily(&self) -> BTreeMap<String, Day> {
        let now = SystemClock.now();
        let (from, to) = (now.minus(DAY).kst_day(), now.plus(DAY).kst_day());
        let path = format!("/v1/stats/daily?from={from}&to={to}");
        let answer = self.get(&path).await;
        let mut days: BTreeMap<String, Day> = BTreeMap::new();
        for row in answer["items"].as_array().into_iter().flatten() {
            let number = |name: &str| {
                let number = row[name].as_u64().unwrap_or_default();
                usize::try_from(number).unwrap_or(usize::MAX)
            };
            let kind = row["type"].as_str().unwrap_or_default().to_owned();
            let day = days.entry(kind).or_default();
            day.total += number("total");
            day.success += number("success");
            day.failed += number("failed");
            day.expired += number("expired");
        }
        days
    }

    /// Asks one reporter after the other until one answers.
    async fn get(&self, path: &str) -> Value {
        let mut said = Value::Null;
        for base in self.site.reporters.iter().cycle().take(8) {
            let request = self.site.client.get(format!("{base}{path}"));
            match request.bearer_auth(&self.partner.token).send().await {
                Ok(answer) if answer.status().is_server_error() => {}
                Ok(answer) => return answer.json().await.unwrap_or_default(),
                Err(error) => said = Value::String(error.to_string()),
            }
            tokio::time::sleep(LOOK).await;
        }
        said
    }

    fn expect_none(&mut self, what: &str, messages: Vec<String>) {
        if !messages.is_empty() {
            let what = format!("{} {what}", messages.len());
            self.violations.push((what, messages));
        }
    }

    fn violation(&mut self, what: String) {
        self.violations.push((what, Vec::new()));
    }
}

fn had_no_route(view: &Value) -> bool {
    view["reason"] == "ROUTE_DOWN"
}

/// One type's numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Day {
    total: usize,
    success: usize,
    failed: usize,
    expired: usize,
}
