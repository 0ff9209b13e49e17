//! At the end every book must say the same: what the partner was promised, what the ledger and
//! the statistics hold, what the vendors took and what the partner was told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use pabal_common::clock::{Clock as _, SystemClock};
use serde_json::Value;

use crate::endpoint::Memory;
use crate::load::{Outbox, Sent};
use crate::trial::Trial;
use crate::world::{Partner, World};

/// Deadlines, margins and retries of the configuration together are far less.
const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
/// Of how many messages the history is shown when something is wrong with them.
const SHOWN: usize = 5;

/// How the messages ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) delivered: usize,
    pub(crate) failed: usize,
    pub(crate) expired: usize,
    pub(crate) unended: usize,
    /// Of the expired, those whose recipient is plainly delivered: what was done to the program
    /// cost them their answer or their report.
    pub(crate) in_doubt: usize,
}

/// Waits until every accepted message has ended and the partner knows, then compares the books.
/// The program must be running.
///
/// # Panics
/// If two of them disagree: with the messages concerned and their history.
pub(crate) async fn close(
    world: &World,
    partner: &Partner,
    outbox: &Outbox,
    trial: &mut Trial,
) -> Outcome {
    let begun = Instant::now();
    let mut books = Books {
        world,
        partner,
        outbox,
        violations: Vec::new(),
    };
    books.wait().await;
    let views = books.views().await;
    let memory = world.endpoint.memory();

    books.violations.extend(outbox.faults.clone());
    books.violations.extend(memory.faults.clone());
    let outcome = books.every_message_ended(&views);
    books.outcomes_fit_recipients(&views);
    books.partner_was_told(&views, &memory);
    books.vendors_took_once(&views);
    books.statistics_agree(&outcome).await;
    books.reconciled();
    books.nothing_broke().await;

    trial.tell(&format!(
        "accepted {} ({} lost answers, {} known before), taken {}, doubled {}, delivered {}, \
         failed {}, expired {} (in doubt {}), unended {}, webhooks {}, settled in {:.1} s",
        outbox.accepted.len(),
        outbox.lost_answers,
        outbox.known_before,
        world.simulator.taken_count(),
        world.simulator.duplicates().len(),
        outcome.delivered,
        outcome.failed,
        outcome.expired,
        outcome.in_doubt,
        outcome.unended,
        memory.deliveries,
        begun.elapsed().as_secs_f64(),
    ));
    books.judge(trial);
    outcome
}

struct Books<'a> {
    world: &'a World,
    partner: &'a Partner,
    outbox: &'a Outbox,
    violations: Vec<(String, Vec<String>)>,
}

impl Books<'_> {
    /// Until as many have ended as were accepted, and as many were told.
    async fn wait(&self) {
        let accepted = self.outbox.accepted.len();
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let ended: usize = self.daily().await.values().map(|day| day.total).sum();
            if ended >= accepted && self.world.endpoint.taken() >= accepted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
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

    fn every_message_ended(&mut self, views: &HashMap<String, Value>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut unended = Vec::new();
        let mut lost = Vec::new();
        for sent in self.outbox.accepted.values() {
            let view = &views[&sent.message];
            if view["clientMsgId"] != sent.client.as_str() || view["type"] != sent.kind.name() {
                lost.push(sent.message.clone());
            }
            match view["status"].as_str() {
                Some("DELIVERED") => outcome.delivered += 1,
                Some("FAILED") => outcome.failed += 1,
                Some("EXPIRED") => {
                    outcome.expired += 1;
                    outcome.in_doubt += usize::from(sent.row < 50);
                }
                _ => unended.push(sent.message.clone()),
            }
        }
        outcome.unended = unended.len();
        self.expect_none("accepted, and not in the ledger as accepted", lost);
        self.expect_none("not ended", unended);
        outcome
    }

    /// A recipient that fails is never DELIVERED, another never FAILED; either may be EXPIRED,
    /// because its answer or report can be lost with the process.
    fn outcomes_fit_recipients(&mut self, views: &HashMap<String, Value>) {
        let misfit = |sent: &&Sent| {
            let fails = (51..=55).contains(&sent.row);
            match views[&sent.message]["status"].as_str() {
                Some("DELIVERED") => fails,
                Some("FAILED") => !fails,
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
        let foreign = memory
            .results
            .keys()
            .filter(|id| !accepted.contains_key(*id));
        let foreign = foreign.cloned().collect();
        self.expect_none("ended, and the partner was never told", untold);
        self.expect_none("told otherwise than queried", contradicted);
        self.expect_none("told, and never accepted", foreign);
    }

    fn vendors_took_once(&mut self, views: &HashMap<String, Value>) {
        let duplicates = self.world.simulator.duplicates();
        let twice = duplicates
            .iter()
            .map(|one| one.message.to_string())
            .collect();
        let taken: BTreeSet<String> = self
            .world
            .simulator
            .taken()
            .iter()
            .map(|one| one.message.to_string())
            .collect();
        let accepted = &self.outbox.accepted;
        let foreign = taken
            .iter()
            .filter(|id| !accepted.contains_key(*id))
            .cloned()
            .collect();
        let invented = accepted
            .keys()
            .filter(|id| views[*id]["status"] == "DELIVERED" && !taken.contains(*id))
            .cloned()
            .collect();
        self.expect_none("taken by a vendor more than once", twice);
        self.expect_none("taken by a vendor, and never accepted", foreign);
        self.expect_none("DELIVERED, and no vendor took it", invented);
    }

    /// By type: as many ended, were delivered and expired as the partner can count himself.
    async fn statistics_agree(&mut self, outcome: &Outcome) {
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
        let (success, failed, expired) = (
            sum(|day| day.success),
            sum(|day| day.failed),
            sum(|day| day.expired),
        );
        let counted = (
            outcome.delivered,
            outcome.failed + outcome.expired,
            outcome.expired,
        );
        if (success, failed, expired) != counted {
            self.violation(format!(
                "statistics say (delivered, failed, of those expired) {:?}, counted were {counted:?}",
                (success, failed, expired)
            ));
        }
    }

    /// `pabal reconcile` agrees, and knows no other messages.
    fn reconciled(&mut self) {
        let output = self.world.program.run(&["reconcile", "--json"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            self.violation(format!("reconcile: {} {said}", output.status));
        }
        let said: Value = serde_json::from_str(&said).unwrap_or_default();
        let rows = said["totals"].as_array().cloned().unwrap_or_default();
        let accepted: u64 = rows.iter().filter_map(|row| row["accepted"].as_u64()).sum();
        if accepted != self.outbox.accepted.len() as u64 {
            self.violation(format!("reconcile knows {accepted} messages: {said}"));
        }
    }

    /// No webhook was given up, and nothing panicked.
    async fn nothing_broke(&mut self) {
        let letters = self.get("/v1/webhooks/dead-letters").await;
        if letters["items"]
            .as_array()
            .is_none_or(|items| !items.is_empty())
        {
            self.violation(format!("dead letters: {letters}"));
        }
        let log = std::fs::read(&self.world.program.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        for line in log.lines().filter(|line| line.contains("panicked")) {
            self.violation(line.to_owned());
        }
    }

    /// The numbers of all days of the test, by type.
    async fn daily(&self) -> BTreeMap<String, Day> {
        let now = SystemClock.now();
        let (from, to) = (now.minus(DAY).kst_day(), now.plus(DAY).kst_day());
        let answer = self
            .get(&format!("/v1/stats/daily?from={from}&to={to}"))
            .await;
        let mut days: BTreeMap<String, Day> = BTreeMap::new();
        for row in answer["items"].as_array().into_iter().flatten() {
            let number = |name: &str| row[name].as_u64().unwrap_or_default() as usize;
            let day = days
                .entry(row["type"].as_str().unwrap_or_default().to_owned())
                .or_default();
            day.total += number("total");
            day.success += number("success");
            day.failed += number("failed");
            day.expired += number("expired");
        }
        days
    }

    async fn get(&self, path: &str) -> Value {
        let request = self.world.client.get(format!("{}{path}", self.world.base));
        match request.bearer_auth(&self.partner.token).send().await {
            Ok(answer) => answer.json().await.unwrap_or_default(),
            Err(error) => Value::String(error.to_string()),
        }
    }

    fn expect_none(&mut self, what: &str, messages: Vec<String>) {
        if !messages.is_empty() {
            self.violations
                .push((format!("{} {what}", messages.len()), messages));
        }
    }

    fn violation(&mut self, what: String) {
        self.violations.push((what, Vec::new()));
    }

    fn judge(self, trial: &Trial) {
        if self.violations.is_empty() {
            return;
        }
        for (what, messages) in &self.violations {
            println!("VIOLATION {what}: {}", messages.join(" "));
            for id in messages.iter().take(SHOWN) {
                let row = self
                    .outbox
                    .accepted
                    .get(id)
                    .map(|sent| (sent.kind.name(), sent.row));
                println!("--- {id} {row:?}");
                let shown = self.world.program.run(&["message", "show", id]);
                println!("{}", String::from_utf8_lossy(&shown.stdout));
                println!("{}", String::from_utf8_lossy(&shown.stderr));
            }
        }
        println!("--- the end of the log\n{}", self.world.log());
        let what: Vec<_> = self
            .violations
            .iter()
            .map(|(what, _)| what.as_str())
            .collect();
        panic!("seed {}: {}", trial.seed, what.join("; "));
    }
}

/// One type's numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Day {
    total: usize,
    success: usize,
    failed: usize,
    expired: usize,
}
